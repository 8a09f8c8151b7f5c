"""Handing back takes our marks off port groups and touches nothing else."""

from isthmus.core.design import OVSVAPP
from isthmus.core.release import hand_back
from isthmus.model.change import DisownPortGroup
from isthmus.model.intent import Intent
from isthmus.model.inventory import Inventory
from isthmus.model.names import NetworkId
from isthmus.model.observed import Access, Mirror, Observed, OwnerMark, PortGroupState, SwitchMirror, Unknown
from isthmus.model.shard import Duty, Shard, VidPool, World
from isthmus.model.tags import Vid, Vni
from tests.core.town import DVS, ESX1, HOSTS, SWITCH, Town


def handed_back(town: Town, duties: Duty = Duty.PORT_GROUPS, *, unknown: bool = False) -> list[str]:
    shard = Shard("s", None, (DVS,), frozenset({ESX1}), {}, duties)
    mirror: Mirror = SwitchMirror(DVS, town.groups, town.ports)
    observed = Observed({SWITCH: Unknown("gone", mirror) if unknown else mirror})
    world = World(shard, Intent({}), Inventory(HOSTS, {}, town.nics))
    plan = hand_back(OVSVAPP, world, observed, VidPool(), 0.0).plan
    assert all(isinstance(change.action, DisownPortGroup) for change in plan.changes)
    return [change.action.key for change in plan.changes if isinstance(change.action, DisownPortGroup)]


def test_every_port_group_of_ours_loses_its_mark_and_no_foreign_one_is_touched() -> None:
    town = Town().network("red").network("blue").vm("a", "red")
    town.settle()
    by_hand = PortGroupState("pg-x", "x", Access(Vid(100)), False, "0")
    other = PortGroupState("pg-y", "y", Access(Vid(101)), False, "0", OwnerMark("other", NetworkId("y"), Vni(9)))
    town.groups |= {"pg-x": by_hand, "pg-y": other}
    assert handed_back(town) == ["pg-blue", "pg-red"]


def test_a_shard_that_writes_no_port_groups_has_nothing_to_hand_back() -> None:
    assert handed_back(Town().network("red"), Duty.TAGS) == []


def test_a_switch_that_cannot_be_read_is_not_written() -> None:
    assert handed_back(Town().network("red"), unknown=True) == []
