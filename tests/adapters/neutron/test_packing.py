"""All of Neutron's networks and ports come whole in one message that a broker takes, or not at all."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest

from isthmus.adapters.neutron.facts import facts_in
from isthmus.adapters.neutron.packing import packed, unpacked
from isthmus.model.faults import Retry
from tests.adapters.neutron.test_malformed import ANSWER
from tests.adapters.neutron.test_meaning import binding, port

BROKER = 16 << 20
"""Bytes of a message that RabbitMQ 4 takes."""


def test_an_answer_comes_as_it_was() -> None:
    assert unpacked(packed(ANSWER)) == ANSWER
    assert set(facts_in(packed(ANSWER)).networks) == {"red", "blue"}


def test_an_answer_of_which_anything_is_missing_or_changed_is_a_failed_read() -> None:
    whole = packed(ANSWER)
    for end in range(len(whole)):
        with pytest.raises(Retry, match="same release"):
            facts_in(whole[:end])
    for at in range(len(whole) - 4):  # of the last ones some bits mean nothing
        with pytest.raises(Retry, match="same release"):
            facts_in(f"{whole[:at]}{'A' if whole[at] != 'A' else 'B'}{whole[at + 1 :]}")


@pytest.mark.parametrize("other", [ANSWER, None, 7, "", "nonsense", packed("nonsense"), packed(None)], ids=repr)
def test_what_another_release_answers_is_a_failed_read(other: Any) -> None:
    with pytest.raises(Retry, match="same release"):
        facts_in(other)


def test_fifty_thousand_ports_fit_into_a_message() -> None:
    """Each with ids of its own: what is random about a port cannot be packed."""
    dice = random.Random(1)

    def name() -> str:
        return str(uuid.UUID(int=dice.getrandbits(128), version=4))

    networks = [(name(), name(), f"dvportgroup-{number}") for number in range(500)]
    ports = []
    for _ in range(2000):
        network, segment, group = dice.choice(networks)
        mac = "fa:16:3e:" + ":".join(f"{dice.randrange(256):02x}" for _ in range(3))
        address = ".".join(["10", *(str(dice.randrange(256)) for _ in range(3))])
        bound = binding(f"compute-{dice.randrange(60)}", segment, ours=True, dvs_id=networks[0][0], pg_id=group)
        ports.append(port(name(), network, bound, mac=mac, device=name(), addresses=[address]))
    assert len(packed(ports)) / len(ports) * 50_000 < BROKER
