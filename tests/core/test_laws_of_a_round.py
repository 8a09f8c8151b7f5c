"""What a round promises beyond one port: reserved tags, the guard, moves that never end, twins, allowed pairs."""

from dataclasses import replace

from isthmus.core.flows import flows
from isthmus.core.guard import Limits, held_back, not_asked
from isthmus.core.segments import Segment
from isthmus.model.change import AlterPortGroup, Change, Forget, Gate, Learn, Plan, PortGroupSpec, SetDvPort
from isthmus.model.flow import FlowPort
from isthmus.model.intent import AllowedPair, Network, Peer, Port
from isthmus.model.inventory import Move
from isthmus.model.names import NetworkId, NicId, PortId, VmId, mac
from isthmus.model.observed import Access, DvPortState, NoVlan, OwnerMark, PortGroupState
from isthmus.model.shard import VidPool
from isthmus.model.tags import Vid, VidSet, Vni
from tests.core.town import DVS, ESX1, ESX2, SWITCH, Town, gates


def test_a_vid_that_a_port_of_a_foreign_port_group_wears_is_not_given_out_and_is_left_if_worn() -> None:
    town = Town(pool=VidPool(VidSet.of("100-101"))).network("red").vm("a", "red")
    town.groups["pg-x"] = PortGroupState("pg-x", "x", NoVlan(), False, "0")
    for vid in (100, 101):
        theirs = DvPortState("x", "pg-x", "0", Access(Vid(vid)), False, vlan_own=True, connected=True)
        town.ports["x"] = theirs
        town.settle()
        assert town.open_with("a") == 201 - vid
        assert town.ports["x"] == theirs


def test_a_port_whose_network_is_gone_is_closed_only_within_the_guards_limit() -> None:
    town = Town().network("red")
    for name in "abc":
        town.vm(name, "red")
    town.settle()
    town.networks.clear()
    plan = town.think().plan
    assert {c.action.gate for c in plan.changes if isinstance(c.action, SetDvPort) and c.guarded} == {Gate.CLOSE}
    allowed, held = held_back(plan, Limits(few=2, share=0.0), total=100)
    assert not allowed
    assert set(held) == set(plan.changes), "what would follow a closing is held with it"
    assert held_back(plan, Limits(few=3, share=0.0), total=100) == (plan, ())


def asking(number: int, *after: int, asks: bool = True, guarded: bool = False) -> Change:
    """A change that waits for an operator's word, or one that does not."""
    group = AlterPortGroup(DVS, f"pg-{number}", "0", PortGroupSpec("x", OwnerMark("isthmus", NetworkId("x"), Vni(7))))
    return Change(number, SWITCH, group, "", frozenset(after), guarded, asks=asks)


def test_what_asks_for_a_word_waits_whether_or_not_the_guard_holds_the_rest() -> None:
    plan = Plan((asking(0), asking(1, 0, asks=False), asking(2, asks=False, guarded=True), asking(3, asks=False)))
    for limits, held in ((Limits(1), {0, 1}), (Limits(0, 0.0), {0, 1, 2})):
        allowed, waiting = held_back(plan, limits, total=1)
        assert {change.id for change in waiting} == held
        assert {change.id for change in allowed.changes} == {0, 1, 2, 3} - held


def test_an_operators_word_is_no_answer_to_what_he_was_not_asked_about() -> None:
    shown, later, other = asking(0), asking(1), asking(2, asks=False, guarded=True)
    asked = frozenset({(shown.target, shown.action)})
    allowed, held = not_asked(Plan((shown, later, other)), asked)
    assert allowed.changes == (shown, other)
    assert held == (later,)


def test_a_powered_off_vms_port_is_closed_whatever_the_guard_says() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    town.nic("a", powered_on=False)
    allowed, held = held_back(town.think().plan, Limits(few=0, share=0.0), total=1)
    assert allowed
    assert not held


def test_a_move_that_never_ended_is_forgotten() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    town.moves = (Move("a", ESX2, 0.0),)
    town.settle(ESX2)
    assert town.maps(ESX2)
    town.moves = (Move("a", ESX2, -600.0),)
    town.settle(ESX2)
    assert town.maps(ESX2) == set()


def test_of_two_nics_that_one_port_names_none_is_wired() -> None:
    town = Town().network("red").vm("a", "red")
    town.networks[NetworkId("red")] = replace(town.networks[NetworkId("red")], ports_listed=True)
    nic = town.nics[NicId(VmId("a"), 4000)]
    town.listed[PortId("p")] = Port(PortId("p"), NetworkId("red"), VmId("a"), nic.mac)
    twin = replace(nic, id=NicId(VmId("a"), 4001), port_key="a2", cookie=77)
    town.nics[twin.id] = twin
    town.ports["a2"] = replace(town.ports["a"], key="a2", nic=twin.id, cookie=77)
    thought = town.think()
    assert gates(thought) == []
    assert sum("two NICs of one VM identity" in unmet.reason for unmet in thought.unmet) == 2


def test_a_member_that_comes_or_goes_outside_vsphere_changes_its_own_network_only() -> None:
    """A DHCP server, say: nothing is written about any other network, nor to any port."""
    town = Town().network("red").network("blue")
    for name, network in (("a", "red"), ("b", "red"), ("x", "blue"), ("y", "blue")):
        town.vm(name, network, on=ESX1 if name in "ax" else ESX2)
    town.settle(ESX2)
    town.settle()
    server = Peer(NetworkId("red"), "192.0.2.77", mac("fa:16:3e:00:00:01"), ("10.0.0.2",))
    for peers in ((server,), ()):
        before = dict(town.flows[ESX1])
        town.peers = peers
        thought = town.think()
        assert thought.plan
        assert {type(change.action) for change in thought.plan.changes} <= {Learn, Forget}
        town.settle()
        after = town.flows[ESX1]
        changed = [after.get(key, before.get(key)) for key in before.keys() | after.keys()]
        changed = [entry for entry in changed if before.get(entry.key) != after.get(entry.key)]
        assert changed
        assert {int(entry.vni) for entry in changed} == {5001}


def test_a_vm_may_speak_from_its_own_mac_and_its_allowed_pairs_and_from_no_other() -> None:
    town = Town().network("red").vm("a", "red")
    town.networks[NetworkId("red")] = replace(town.networks[NetworkId("red")], ports_listed=True)
    nic, vrrp = town.nics[NicId(VmId("a"), 4000)], mac("00:00:5e:00:01:07")
    pairs = (AllowedPair(vrrp),)
    town.listed[PortId("p")] = Port(PortId("p"), NetworkId("red"), VmId("a"), nic.mac, allowed_pairs=pairs)
    town.settle()
    heard = {key.match.src for key in town.flows[ESX1] if getattr(key, "table", None) == 0 and key.match.src}  # type: ignore[union-attr]
    assert heard == {nic.mac, vrrp}


def test_a_mac_on_the_move_is_sent_to_both_hosts_ahead_of_what_was_learnt() -> None:
    network, vid, moving = Network(NetworkId("red"), Vni(5001)), Vid(100), mac("00:50:56:00:00:01")
    segment = Segment(network, (vid,), {}, {moving: ("192.0.2.2", "192.0.2.3")}, ("192.0.2.2", "192.0.2.3"))
    made = [flow for flow in flows([segment]) if flow.match.dst == moving]
    assert [(flow.table, flow.priority > 90) for flow in made] == [(2, True)]
    assert FlowPort.VXLAN in {getattr(action, "port", None) for action in made[0].actions}
