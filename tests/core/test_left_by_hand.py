"""Which changes only undo what another hand did, so that they may be left: none that keeps anybody out of a network."""

from __future__ import annotations

from dataclasses import replace

from isthmus.model.change import Gate, Hand, SetDvPort
from isthmus.model.observed import Access, NoVlan
from isthmus.model.shard import Duty
from isthmus.model.tags import Vid
from tests.core.town import Town


def undone(town: Town) -> list[Hand | None]:
    return [change.undoes for change in town.think().plan.changes]


def test_opening_a_port_that_wears_its_tag_may_undo_a_hand() -> None:
    town = Town().network("red").vm("a", "red").vm("b", "red")
    town.settle()
    town.tag("a", town.open_with("a"), blocked=True)
    assert undone(town) == [Hand.CLOSED_PORT]


def test_taking_anothers_tag_off_or_closing_what_should_be_closed_undoes_nothing_that_may_be_left() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("x", "blue")
    town.settle()
    town.tag("a", town.open_with("x"), blocked=False)
    assert set(undone(town)) == {None}
    town = Town().network("red").vm("a", "red")
    town.nic("a", powered_on=False)
    town.tag("a", 105, blocked=False)
    writes = [change for change in town.think().plan.changes if isinstance(change.action, SetDvPort)]
    assert [change.undoes for change in writes if change.action.gate is not Gate.OPEN] == [None] * len(writes)  # type: ignore[union-attr]


def test_settings_of_a_closed_port_group_may_be_left_unless_its_ports_could_not_be_closed() -> None:
    town = Town().network("red")
    town.duties = Duty.PORT_GROUPS
    closed = town.groups["pg-red"]
    for drifted, hand in (
        (replace(closed, vlan=Access(Vid(7))), Hand.PORT_GROUP),
        (replace(closed, reset_at_disconnect=False), Hand.PORT_GROUP),
        (replace(closed, block_override=False), None),
        (replace(closed, vlan_override=False), None),
        (replace(closed, blocked=False), None),
        (replace(closed, blocked=False, vlan=Access(Vid(7))), None),
    ):
        town.groups["pg-red"] = drifted
        assert undone(town) == [hand], drifted
    town.groups["pg-red"] = closed
    assert isinstance(closed.vlan, NoVlan)
    assert undone(town) == []
