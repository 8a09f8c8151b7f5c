"""What of the lab's world can be proved without a wire: VID masks, moves, frames, the account of a ping, names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.netns.control import Stunned
from lab.netns.dvs import Access, Attached, HostSwitch, MacLearning, Policy, Trunk, Vlan, masks
from lab.netns.dvs_flows import changes, flows
from lab.netns.frames import Frame, checksum, rarp, vxlan
from lab.netns.inventory import Berth, DvPort, Inventory, Nic, NicId, Place, Switch, Uplink, Vm, ahead, uplinks, wiring
from lab.netns.moves import Moves, Timing, arrivals
from lab.netns.ping import Echo, PingResult
from lab.netns.process import Processes, end, start_time
from lab.netns.state import WorldState

vids = st.integers(1, 4094)


@given(vids, vids)
def test_masks_cover_a_range_of_vids_exactly(one: int, other: int) -> None:
    low, high = sorted((one, other))
    pairs = list(masks(low, high))
    assert {vid for vid in range(4096) if any(vid & mask == value for value, mask in pairs)} == set(
        range(low, high + 1)
    )


policies = st.builds(
    Policy,
    st.one_of(st.builds(Access, st.integers(0, 4094)), st.just(Trunk(((1, 4094),))), st.just(Trunk(((0, 9), (5, 20))))),
    blocked=st.booleans(),
    promiscuous=st.booleans(),
    forged_transmits=st.booleans(),
    mac_learning=st.none() | st.builds(MacLearning, st.booleans(), st.integers(1, 4096), st.booleans()),
)
switches = st.lists(policies, max_size=5).map(
    lambda found: HostSwitch(1600, tuple(Attached(n, f"00:50:56:00:00:0{n}", p) for n, p in enumerate(found)))
)


@given(switches, switches)
def test_changes_lead_from_any_switch_to_any_other_and_then_rest(before: HostSwitch, after: HostSwitch) -> None:
    held = dict(flows(before))
    for line in changes(held, flows(after)):
        _, verb, flow = line.split(" ", 2)
        match, _, actions = flow.partition(",actions=")
        if verb == "delete_strict":
            del held[flow]
        else:
            held[match] = actions
    assert held == flows(after)
    assert not changes(held, flows(after))


def inventory(host: str, powered_on: bool = True, connectee: NicId | None = None) -> Inventory:
    nic = Nic(NicId("vm-1", 4000), "00:50:56:00:00:01", True, "dvs", "7")
    port = DvPort("dvs", "7", connectee or nic.id, Policy(Access(11)))
    vm = Vm("vm-1", "a", host, powered_on, (nic,))
    return Inventory(
        {"h1": "esx1", "h2": "esx2"}, {"dvs": Switch("dvs", "tenant", 1600)}, {"vm-1": vm}, {("dvs", "7"): port}
    )


def test_a_port_that_names_another_nic_stays_closed() -> None:
    for connectee, ports in ((None, 1), (NicId("vm-1", 4001), 0), (NicId("vm-2", 4000), 0)):
        world = inventory("h1", connectee=connectee)
        switch = wiring(world, {"vm-1": Place("h1")}, {NicId("vm-1", 4000): 100}, {}).switches["h1", "dvs"]
        assert len(switch.ports) == ports


def passing(*nics: Policy | None) -> Policy | None:
    """What passes the cable of h1 whose NICs on the switch have these ports."""
    ports = {("dvs", str(n)): DvPort("dvs", str(n), None, policy, uplink_of="h1") for n, policy in enumerate(nics)}
    world = replace(inventory("h1"), ports={**inventory("h1").ports, **ports})
    found = uplinks(world, {"tenant": {"esx1": 1, "esx2": 2}})
    assert found.keys() <= {("h1", "dvs")}
    assert all(uplink.number == 1 for uplink in found.values())
    return found["h1", "dvs"].policy if found else None


def test_a_cable_lets_through_what_all_nics_of_the_host_on_that_switch_do() -> None:
    def trunk(*ranges: tuple[int, int]) -> Policy:
        return Policy(Trunk(ranges))

    assert passing() is None
    assert passing(trunk((0, 4094))) == trunk((0, 4094))
    for nics in ((trunk((0, 200)), trunk((100, 300), (5, 9))), (trunk((100, 300), (5, 9)), trunk((0, 200)))):
        found = passing(*nics)
        assert found is not None
        assert set(allowed(found.vlan)) == {*range(5, 10), *range(100, 201)}
    assert passing(trunk((1, 9)), trunk((10, 19))) == trunk()
    assert passing(Policy(Access(7)), Policy(Access(7))) == Policy(Access(7))
    assert passing(Policy(Access(7)), trunk((1, 9))) == trunk()
    assert passing(trunk((1, 9)), Policy(Trunk(((1, 9),)), blocked=True)) == Policy(Trunk(((1, 9),)), blocked=True)
    assert passing(trunk((1, 9)), None) is None


def test_a_host_whose_cable_goes_elsewhere_has_none_in_this_switch() -> None:
    port = DvPort("dvs", "1", None, Policy(Trunk(((0, 4094),))), uplink_of="h1")
    world = replace(inventory("h1"), ports={("dvs", "1"): port})
    assert uplinks(world, {"tenant": {"esx2": 2}, "other": {"esx1": 1}}) == {}
    assert uplinks(world, {"tenant": {"esx1": 1}}) == {("h1", "dvs"): Uplink(1, port.policy or Policy(Access(0)))}


def allowed(vlan: Vlan) -> list[int]:
    assert isinstance(vlan, Trunk)
    return [vid for low, high in vlan.ranges for vid in range(low, high + 1)]


def test_an_announced_move_is_pre_copied_stunned_and_goes_on_at_its_destination() -> None:
    moves = Moves(Timing(precopy=1.0, stun=0.5))
    assert moves.places(inventory("h1"), 0.0) == {"vm-1": Place("h1")}
    moves.announce("vm-1", "h1", "h2", 0.0)
    assert moves.places(inventory("h1"), 0.9) == {"vm-1": Place("h1")}
    assert moves.next_time(0.9) == 1.0
    assert moves.places(inventory("h1"), 1.0) == {"vm-1": Place("h1", "h2")}
    assert moves.places(inventory("h1"), 1.5) == {"vm-1": Place("h2")}
    assert moves.places(inventory("h2"), 1.6) == {"vm-1": Place("h2")}
    assert moves.next_time(1.6) is None


def test_vcenter_may_overtake_a_move_or_announce_none() -> None:
    for announced in (True, False):
        moves = Moves(Timing(precopy=1.0, stun=0.5))
        moves.places(inventory("h1"), 0.0)
        if announced:
            moves.announce("vm-1", "h1", "h2", 0.0)
        assert moves.places(inventory("h2"), 0.1) == {"vm-1": Place("h1", "h2")}
        assert moves.places(inventory("h2"), 0.59) == {"vm-1": Place("h1", "h2")}
        assert moves.places(inventory("h2"), 0.61) == {"vm-1": Place("h2")}


def test_a_move_that_fails_or_is_never_confirmed_ends_where_vcenter_has_the_vm() -> None:
    moves = Moves(Timing(precopy=1.0, stun=0.5))
    for undo_at in (0.5, 1.2, 1.7):
        moves.announce("vm-1", "h1", "h2", 0.0)
        moves.places(inventory("h1"), undo_at)
        moves.cancel("vm-1")
        assert moves.places(inventory("h1"), undo_at) == {"vm-1": Place("h1")}
    moves.announce("vm-1", "h1", "h2", 0.0)
    assert moves.places(inventory("h1"), 60.0) == {"vm-1": Place("h1")}


def test_a_vm_that_moves_to_another_switch_is_in_its_berth_from_the_end_of_the_stun_until_vcenter_shows_it() -> None:
    before = inventory("h1")
    world = replace(before, switches={**before.switches, "there": Switch("there", "rack2", 1600)})
    berths = {"vm-1": Berth("there", 22)}
    for place, (bridge, vid) in {
        Place("h1"): (("h1", "dvs"), 11),
        Place("h1", "h2"): (("h1", "dvs"), 11),
        Place("h2"): (("h2", "there"), 22),
    }.items():
        seen = ahead(world, {"vm-1": place}, berths)
        switches = wiring(seen, {"vm-1": place}, {NicId("vm-1", 4000): 100}, {}).switches
        assert {at: [p.policy for p in switch.ports] for at, switch in switches.items() if switch.ports} == {
            bridge: [Policy(Access(vid))]
        }
    arrived = replace(world, vms=inventory("h2").vms)
    assert ahead(arrived, {"vm-1": Place("h2")}, berths) == arrived


def test_a_vm_that_is_off_changes_its_host_without_a_stun() -> None:
    moves = Moves()
    moves.places(inventory("h1", powered_on=False), 0.0)
    assert moves.places(inventory("h2", powered_on=False), 0.1) == {"vm-1": Place("h2")}
    assert moves.places(inventory("h2"), 0.2) == {"vm-1": Place("h2")}


def test_only_a_vm_that_goes_on_elsewhere_arrives() -> None:
    here, stunned, there = Place("h1"), Place("h1", "h2"), Place("h2")
    assert arrivals({"vm-1": here}, {"vm-1": stunned}) == []
    assert arrivals({"vm-1": stunned}, {"vm-1": there}) == ["vm-1"]
    assert arrivals({"vm-1": stunned}, {"vm-1": here}) == []
    assert arrivals({}, {"vm-1": there}) == []


def test_a_frame_survives_its_bytes() -> None:
    for frame in (
        rarp("00:50:56:00:00:01"),
        Frame("ff:ff:ff:ff:ff:ff", "00:50:56:00:00:01", 0x88B5, b"x" * 46, vid=11),
    ):
        assert Frame.parse(frame.to_bytes()) == frame
        assert vxlan(frame) is None


def test_a_vxlan_frame_tells_its_vni_its_vteps_and_the_inner_tag() -> None:
    inner = Frame("00:50:56:00:00:02", "00:50:56:00:00:01", 0x88B5, b"x" * 46, vid=11)
    ip = bytes.fromhex("45000000000000004011 0000 c0000201 c0000202".replace(" ", ""))
    header = bytes.fromhex("c000 12b5 0000 0000 08000000 00138800".replace(" ", ""))
    outer = Frame("00:50:56:01:00:02", "00:50:56:01:00:01", 0x0800, ip + header + inner.to_bytes())
    found = vxlan(outer)
    assert found is not None
    assert (str(found.local), str(found.remote), found.vni, found.inner) == ("192.0.2.1", "192.0.2.2", 5000, inner)


def test_a_packet_with_its_checksum_in_it_sums_to_zero() -> None:
    packet = bytes.fromhex("0800 0000 1234 0001 abcd ef")
    summed = packet[:2] + checksum(packet).to_bytes(2, "big") + packet[4:]
    assert checksum(summed) == 0


def test_a_request_is_excused_by_a_stun_only_if_it_was_sent_in_it() -> None:
    echoes = tuple(Echo(sent / 100, None if 20 <= sent < 31 or sent == 50 else sent / 100) for sent in range(100))
    result = PingResult(echoes, 0)
    assert (result.sent, result.received, result.lost) == (100, 88, 12)
    assert result.longest_gap_ms == pytest.approx(120)
    assert result.lost_beyond([]) == 12
    assert result.lost_beyond([Stunned("vm-1", 0.2, 0.30)]) == 1
    assert result.lost_beyond([Stunned("vm-1", 0.2, 0.275)]) == 3
    assert result.lost_beyond([Stunned("vm-1", 0.215, 0.30)]) == 2
    assert result.lost_beyond([Stunned("vm-1", 0.2, None)]) == 12


def test_an_unanswered_end_is_part_of_the_longest_gap() -> None:
    echoes = tuple(Echo(sent / 100, sent / 100 if sent < 10 else None) for sent in range(100))
    assert PingResult(echoes, 0).longest_gap_ms == pytest.approx(900)


@pytest.mark.parametrize("name", ["", "a-b", "Demo", "../x", "1a", "a" * 13])
def test_a_world_refuses_a_name_that_could_be_taken_for_another_ones(name: str) -> None:
    with pytest.raises(ValueError, match="a world's name"):
        WorldState(name)


def test_a_process_of_the_record_is_ended_and_a_stranger_with_its_pid_is_not(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "processes")
    started = processes.start("sleeper", ["sleep", "60"], tmp_path / "log")
    spared = processes.start("stranger", ["sleep", "60"], tmp_path / "log")
    lines = processes.record.read_text().splitlines()
    recorded_before_a_reboot = lines[1].replace(str(start_time(spared.pid)), "1")
    processes.record.write_text(f"{lines[0]}\n{recorded_before_a_reboot}\n")
    processes.stop_all()
    assert start_time(started.pid) is None
    assert start_time(spared.pid) is not None
    end([Processes(tmp_path / "other").adopt(spared.pid, "stranger")])
    assert start_time(spared.pid) is None
