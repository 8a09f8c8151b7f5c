"""A vCenter that is only remembered proves nothing: NVEs may be told again from it, and nothing is taken away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isthmus.model.names import NetworkId, NicId, VmId
from tests.core.town import ESX2, SWITCH, Town, gates, kinds


def gone(town: Town) -> None:
    del town.nics[NicId(VmId("a"), 4000)]


@pytest.mark.parametrize(
    "happens",
    [
        lambda town: town.nic("a", powered_on=False),
        lambda town: town.nic("a", host=ESX2),
        lambda town: town.nic("a", connected=False),
        lambda town: town.networks.pop(NetworkId("red")),
        gone,
    ],
    ids=["powered off", "moved", "disconnected", "its network unwanted", "gone"],
)
def test_while_vcenter_is_only_remembered_nothing_is_taken_away_whatever_the_inventory_and_the_intent_say(
    happens: Callable[[Town], None],
) -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "blue")
    town.settle()
    known = town.maps()
    happens(town)
    assert town.think().plan, "seen, it is followed"
    town.unknown = {SWITCH}
    assert kinds(town.think()) == []
    assert town.maps() == known
    town.unknown = set()
    town.settle()
    assert len(town.maps()) == 1


def test_while_vcenter_is_only_remembered_no_port_is_claimed_opened_or_closed() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("closed", "red").vm("wrong", "red").vm("b", "blue")
    town.settle()
    town.tag("closed", town.open_with("a"), blocked=True)
    town.tag("wrong", town.open_with("b"), blocked=False)
    town.vm("new", "red")
    town.nic("a", powered_on=False)
    assert {port for port, _ in gates(town.think())} == {"a", "closed", "wrong", "new"}
    town.unknown = {SWITCH}
    assert gates(town.think()) == []
