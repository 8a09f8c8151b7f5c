"""A shard of port groups is released last, and only then does isthmus's mark come off."""

from dataclasses import replace
from typing import Any, cast

import pytest

from isthmus.app.keeper import Charge
from isthmus.app.standing import Standing, Word, say_word
from isthmus.core.design import OVSVAPP
from isthmus.model.faults import Refused


def charges(*elsewhere: str) -> list[Charge]:
    """The port groups of a deployment and the one host of it that is kept here; far sides play no part."""
    unreached = cast(Any, None)
    host = Charge("lab/esx1", OVSVAPP, unreached, unreached, tuple, unreached)
    stands_on_it = frozenset({host.name})
    groups = replace(host, name="lab/port-groups", released_after=stands_on_it, hosts_elsewhere=frozenset(elsewhere))
    return [groups, host]


def test_port_groups_are_released_after_the_hosts_that_stand_on_them() -> None:
    standing = Standing()
    with pytest.raises(Refused, match="release lab/esx1 first"):
        say_word(charges(), standing, "lab/port-groups", Word.RELEASED)
    assert standing.of("lab/port-groups") is None
    say_word(charges(), standing, "lab/esx1", Word.RELEASED)
    assert say_word(charges(), standing, "lab/port-groups", Word.RELEASED)["state"] == "released"


def test_hosts_are_resumed_after_the_port_groups_they_stand_on() -> None:
    standing = Standing()
    say_word(charges(), standing, "lab/esx1", Word.RELEASED)
    say_word(charges(), standing, "lab/port-groups", Word.RELEASED)
    with pytest.raises(Refused, match="resume lab/port-groups first"):
        say_word(charges(), standing, "lab/esx1", None)
    assert standing.of("lab/esx1") is Word.RELEASED
    say_word(charges(), standing, "lab/port-groups", None)
    assert say_word(charges(), standing, "lab/esx1", None)["state"] == "resumed"


def test_hosts_of_other_processes_need_the_operators_word() -> None:
    standing = Standing()
    say_word(charges("esx2"), standing, "lab/esx1", Word.RELEASED)
    with pytest.raises(Refused, match=r"esx2 are kept by other processes.*--everywhere"):
        say_word(charges("esx2"), standing, "lab/port-groups", Word.RELEASED)
    say_word(charges("esx2"), standing, "lab/port-groups", Word.RELEASED, everywhere=True)
    assert standing.of("lab/port-groups") is Word.RELEASED


def test_a_word_on_a_shard_that_is_no_more_is_known() -> None:
    standing = Standing()
    say_word(charges(), standing, "lab/esx1", Word.PAUSED)
    assert standing.of_others({"lab/esx1"}) == {}
    assert standing.of_others({"renamed/esx1"}) == {"lab/esx1": Word.PAUSED}


def test_a_shard_that_is_not_here_is_named_with_those_that_are() -> None:
    with pytest.raises(Refused, match="no shard 'esx9' here; there are: lab/esx1, lab/port-groups"):
        say_word(charges(), Standing(), "esx9", Word.PAUSED)
