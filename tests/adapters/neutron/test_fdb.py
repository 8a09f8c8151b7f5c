"""KVM hosts and network nodes hear who is behind our leaves, as often as it takes, and never a lie for long."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.neutron.facts import Binding, Facts, NeutronNetwork, NeutronPort, Tunnelling
from isthmus.adapters.neutron.fdb import FLOOD, Announcer
from isthmus.model.handover import Member
from isthmus.model.names import Mac, NetworkId

RED, BLUE = NetworkId("red"), NetworkId("blue")
A, B = Mac("00:50:56:00:00:0a"), Mac("00:50:56:00:00:0b")
LEAF1, LEAF2 = "192.0.2.1", "192.0.2.2"


class Kvm:
    """A stock agent: deaf to networks that it has no port in, and forgetful when it starts."""

    def __init__(self, *networks: NetworkId) -> None:
        self.networks = set(networks)
        self.unicast: dict[tuple[NetworkId, str], str] = {}
        self.flood: dict[NetworkId, set[str]] = {}
        self.arp: dict[tuple[NetworkId, str], str] = {}

    def hear(self, method: str, entries: Mapping[str, Any]) -> None:
        for name, told in entries.items():
            network = NetworkId(name)
            if network not in self.networks:
                continue
            assert told["segment_id"] == {"red": 70001, "blue": 70002}[network]
            for vtep, ports in told["ports"].items():
                for mac, address in ports:
                    self._hear(method, network, vtep, mac)
                    if mac != FLOOD[0] and ":" not in address:
                        self._answer(method, network, mac, address)

    def _answer(self, method: str, network: NetworkId, mac: str, address: str) -> None:
        if method == "add_fdb_entries":
            self.arp[network, address] = mac
        else:
            self.arp.pop((network, address), None)  # whosever it was

    def _hear(self, method: str, network: NetworkId, vtep: str, mac: str) -> None:
        flood = self.flood.setdefault(network, set())
        match method, mac == FLOOD[0]:
            case "add_fdb_entries", True:
                flood.add(vtep)
            case "remove_fdb_entries", True:
                flood.discard(vtep)
            case "add_fdb_entries", False:
                self.unicast[network, mac] = vtep
            case "remove_fdb_entries", False:
                self.unicast.pop((network, mac), None)  # whichever VTEP it was


class World:
    def __init__(self) -> None:
        self.kvm = Kvm(RED)
        self.deaf = False
        self.said = self.entries = 0
        self.kept: list[Any] = []
        self.announcer = Announcer(self._cast, self._keep)
        self.started = "1"
        self.now = 0.0

    def _keep(self, rows: list[Any]) -> None:
        self.kept = json.loads(json.dumps(rows))

    def restarts(self, *others: str) -> None:
        """isthmus does.  Another process keeps the leaves `others` now."""
        self.announcer = Announcer(self._cast, self._keep)
        self.announcer.recall(self.kept, {LEAF1, LEAF2} - {*others})

    def _cast(self, host: str, method: str, entries: Mapping[str, Any]) -> None:
        assert host == "kvm"
        self.said += 1
        self.entries += sum(len(ports) for told in entries.values() for ports in told["ports"].values())
        if not self.deaf:
            self.kvm.hear(method, entries)

    def facts(self, *networks: NetworkId, status: str = "ACTIVE") -> Facts:
        ports = tuple(port_in(network, status) for network in networks)
        known = {n: NeutronNetwork(n, n, 1450, vni, "vxlan") for n, vni in ((RED, 70001), (BLUE, 70002))}
        return Facts(
            known, (), ports, (Tunnelling("kvm", "192.0.2.9", self.started),), frozenset(), held=(), fabric=True
        )

    def announce(self, members: Iterable[Member], *networks: NetworkId) -> None:
        self.announcer.announce(self.facts(*networks or (RED,)), members, self.now)


def port_in(network: NetworkId, status: str) -> NeutronPort:
    binding = Binding("kvm", active=True, failed=False, segments=("vxlan",), ours=False)
    return NeutronPort(
        f"p-{network}", network, "fa:16:3e:00:00:01", "vm", "compute:nova", True, status, (), (), (binding,)
    )


ADDRESSES = {A: "10.0.0.5", B: "10.0.0.6"}


def at(mac: Mac, vtep: str, network: NetworkId = RED, address: str = "") -> Member:
    return Member(network, mac, vtep, (address or ADDRESSES.get(mac, "10.0.0.7"),))


def test_a_kvm_host_with_a_port_in_the_network_learns_where_its_vms_are() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    assert world.kvm.unicast == {(RED, A): LEAF1, (RED, B): LEAF2}
    assert world.kvm.flood == {RED: {LEAF1, LEAF2}}


def test_a_vm_that_moved_is_known_at_its_new_leaf_and_the_empty_leaf_gets_no_more_broadcasts() -> None:
    world = World()
    world.announce([at(A, LEAF1)])
    world.announce([at(A, LEAF2)])
    assert world.kvm.unicast == {(RED, A): LEAF2}
    assert world.kvm.flood == {RED: {LEAF2}}


@pytest.mark.parametrize("order", [1, -1])
def test_a_vm_that_moved_is_never_unknown_in_whatever_order_that_is_heard(order: int) -> None:
    """Its MAC is not taken back from the old leaf: that would take it from the new one."""
    world = World()
    world.announce([at(A, LEAF1)])
    heard: list[tuple[str, Mapping[str, Any]]] = []
    world.announcer.cast = lambda host, method, entries: heard.append((method, entries))
    world.announce([at(A, LEAF2)])
    assert len(heard) == 2
    for method, entries in heard[::order]:
        world.kvm.hear(method, entries)
        assert (RED, A) in world.kvm.unicast
    assert world.kvm.unicast == {(RED, A): LEAF2}
    assert world.kvm.flood == {RED: {LEAF2}}


def test_a_vm_that_went_is_forgotten() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF1)])
    world.announce([at(B, LEAF1)])
    assert world.kvm.unicast == {(RED, B): LEAF1}
    world.announce([])
    assert (world.kvm.unicast, world.kvm.flood) == ({}, {RED: set()})


def test_a_vm_that_went_while_isthmus_was_down_is_forgotten() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    world.restarts()
    world.announce([at(B, LEAF2)])
    assert (world.kvm.unicast, world.kvm.flood) == ({(RED, B): LEAF2}, {RED: {LEAF2}})


def test_what_is_behind_a_leaf_that_was_not_looked_at_since_a_restart_stays_told() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    world.restarts()
    world.announcer.announce(world.facts(RED), [at(B, LEAF2)], world.now, {LEAF1})
    assert world.kvm.unicast == {(RED, A): LEAF1, (RED, B): LEAF2}
    world.announcer.announce(world.facts(RED), [at(A, LEAF2), at(B, LEAF2)], world.now, {LEAF1})
    assert world.kvm.unicast == {(RED, A): LEAF2, (RED, B): LEAF2}
    world.announce([at(A, LEAF2), at(B, LEAF2)])
    assert world.kvm.flood == {RED: {LEAF2}}


@pytest.mark.parametrize("nonsense", [3, [[]], [["kvm", "red", "1", 5]], {"a": 1}])
def test_nonsense_that_was_kept_is_nothing(nonsense: Any) -> None:
    world = World()
    world.kept = nonsense
    world.restarts()
    world.announce([at(A, LEAF1)])
    assert world.kvm.unicast == {(RED, A): LEAF1}


def test_an_agent_that_starts_anew_is_told_everything() -> None:
    world = World()
    world.announce([at(A, LEAF1)])
    world.kvm, world.started = Kvm(RED), "2"
    world.announce([at(A, LEAF1)])
    assert world.kvm.unicast == {(RED, A): LEAF1}


def test_what_an_agent_was_not_ready_to_hear_is_said_again() -> None:
    world = World()
    world.deaf = True
    world.announce([at(A, LEAF1)])
    world.deaf, world.now = False, 2.5
    world.announce([at(A, LEAF1)])
    assert world.kvm.unicast == {(RED, A): LEAF1}


def test_what_stays_so_is_said_seldom() -> None:
    world = World()
    for world.now in range(3600):
        world.announce([at(A, LEAF1)])
    assert world.said < 25


def test_nobody_is_told_of_networks_that_are_not_his() -> None:
    world = World()
    world.announce([at(A, LEAF1, BLUE)])
    assert world.said == 0
    world.announcer.announce(world.facts(BLUE, status="DOWN"), [at(A, LEAF1, BLUE)], 0.0)
    assert world.said == 0, "its port is not wired yet, so it would not listen"


places = st.dictionaries(
    st.tuples(st.sampled_from([A, B]), st.sampled_from([RED, BLUE])), st.sampled_from([LEAF1, LEAF2])
)


@given(st.lists(st.tuples(places, st.sets(st.sampled_from([RED, BLUE])), st.booleans(), st.booleans()), max_size=8))
def test_after_any_history_an_agent_that_hears_knows_what_is_so_and_nothing_else(
    history: list[tuple[dict[tuple[Mac, NetworkId], str], set[NetworkId], bool, bool]],
) -> None:
    world = World()
    for moment, (vms, networks, restarted, forgot) in enumerate(history):
        if forgot:
            world.restarts()
        world.now += 1000.0 * moment
        if restarted:
            world.kvm, world.started = Kvm(), str(moment)
        # Who has no port in a network any more forgets it whole.
        world.kvm.networks = networks
        world.kvm.unicast = {key: vtep for key, vtep in world.kvm.unicast.items() if key[0] in networks}
        world.kvm.flood = {network: vteps for network, vteps in world.kvm.flood.items() if network in networks}
        world.kvm.arp = {key: mac for key, mac in world.kvm.arp.items() if key[0] in networks}
        members = [at(mac, vtep, network) for (mac, network), vtep in vms.items()]
        world.announcer.announce(world.facts(*sorted(networks)), members, world.now)
        here = {key: vtep for key, vtep in vms.items() if key[1] in networks}
        assert world.kvm.unicast == {(network, mac): vtep for (mac, network), vtep in here.items()}
        assert world.kvm.arp == {(network, ADDRESSES[mac]): mac for mac, network in here}
        flood = {network: vteps for network, vteps in world.kvm.flood.items() if vteps}
        assert flood == {n: {v for (_, o), v in here.items() if o == n} for n in {n for _, n in here}}


def test_a_leaf_that_another_took_the_place_of_is_heard_of_no_more() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    world.now += 10
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    world.restarts()
    world.announce([at(A, "192.0.2.3"), at(B, LEAF2)])
    assert world.kvm.unicast == {(RED, A): "192.0.2.3", (RED, B): LEAF2}
    assert world.kvm.flood == {RED: {"192.0.2.3", LEAF2}}


def test_who_is_behind_a_leaf_that_another_process_keeps_now_is_not_taken_back() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    world.now += 10
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    world.restarts(LEAF2)
    world.announce([at(A, LEAF1)])
    assert world.kvm.flood == {RED: {LEAF1, LEAF2}}


def test_an_agent_whose_port_is_on_a_vlan_of_the_provider_is_told_nothing() -> None:
    world = World()
    facts = world.facts(RED)
    [port] = facts.ports
    here = replace(port, bindings=(replace(port.bindings[0], segments=("vlan 300",)),))
    world.announcer.announce(replace(facts, ports=(here,)), [at(A, LEAF1)], 0.0)
    assert world.said == 0


def test_an_agent_that_is_gone_is_forgotten() -> None:
    world = World()
    world.announce([at(A, LEAF1)])
    empty = replace(world.facts(), ports=(), tunnelling=())
    world.announcer.announce(empty, [at(A, LEAF1)], 10.0)
    assert (world.announcer.next_at(), world.kept) == (None, [])


def test_what_one_vm_more_changes_is_said_and_not_the_whole_network() -> None:
    world = World()
    many = [at(Mac(f"00:50:56:00:{number >> 8:02x}:{number & 255:02x}"), LEAF1) for number in range(16, 1016)]
    for world.now in range(600):
        world.announce(many)
    world.entries = 0
    for _ in range(200):
        world.now += 0.1
        world.announce([*many, at(A, LEAF2)])
    assert world.kvm.unicast[RED, A] == LEAF2
    assert world.entries <= 5 * 2, "its VTEP and itself, at once and four times more"


def test_who_starts_is_told_everything_for_minutes_until_he_listens() -> None:
    world = World()
    world.announce([at(A, LEAF1)])
    for seconds in (10, 40, 100, 200):
        world.kvm, world.deaf, world.started, began = Kvm(RED), True, str(seconds), world.now
        while world.now < began + seconds:
            world.now += 1
            world.announce([at(A, LEAF1)])
        world.deaf = False
        for _ in range(62):
            world.now += 1
            world.announce([at(A, LEAF1)])
        assert world.kvm.unicast == {(RED, A): LEAF1}, seconds


def test_a_mac_that_neutron_has_behind_an_agents_vtep_now_is_not_taken_back() -> None:
    """To an agent a MAC is in one place, whichever VTEP a removal names."""
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF1)])
    world.kvm.unicast[RED, A] = "192.0.2.21"  # as l2population says
    moved = replace(port_in(RED, "ACTIVE"), id="moved", mac=str(A))
    facts = world.facts(RED)
    world.announcer.announce(replace(facts, ports=(*facts.ports, moved)), [], world.now)
    assert world.kvm.unicast == {(RED, A): "192.0.2.21"}
    assert world.kvm.flood == {RED: set()}


def test_a_vm_of_ours_that_is_off_is_taken_back_though_its_port_stays() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF1)])
    bound = Binding("compute-1", active=True, failed=False, segments=("vxlan",), ours=True)
    its = replace(port_in(RED, "DOWN"), id="its", mac=str(A), bindings=(bound,))
    facts = world.facts(RED)
    world.announcer.announce(replace(facts, ports=(*facts.ports, its)), [at(B, LEAF1)], world.now)
    assert world.kvm.unicast == {(RED, B): LEAF1}


AT_KVM = Binding("kvm", active=True, failed=False, segments=("vxlan",), ours=False)


@pytest.mark.parametrize(
    "other",
    [
        {"bindings": (replace(AT_KVM, active=False),)},
        {"bindings": (replace(AT_KVM, host="no-tunnel"),)},
        {"bindings": (replace(AT_KVM, segments=("vlan 300",)),)},
        {"network": BLUE},
        {"network": BLUE, "mac": "00:50:56:00:00:0c"},
    ],
    ids=["prepared at KVM", "no tunnel", "a provider's VLAN", "MAC in another network", "address in another network"],
)
def test_a_vm_that_went_is_taken_back_with_its_address_though_a_port_is_like_it_behind_no_vtep_there(
    other: Mapping[str, Any],
) -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF1)])
    like_it = replace(port_in(RED, "DOWN"), id="its", mac=str(A), addresses=(ADDRESSES[A],), bindings=(AT_KVM,))
    facts = world.facts(RED)
    facts = replace(facts, ports=(*facts.ports, replace(like_it, **other)))
    world.announcer.announce(facts, [at(B, LEAF1)], world.now)
    assert world.kvm.unicast == {(RED, B): LEAF1}
    assert world.kvm.arp == {(RED, ADDRESSES[B]): B}


def test_an_agent_whose_last_port_in_a_network_is_down_and_that_listens_still_forgets_who_is_there() -> None:
    world = World()
    world.announce([at(A, LEAF1), at(B, LEAF2)])
    world.announcer.announce(world.facts(RED, status="DOWN"), [at(A, LEAF1), at(B, LEAF2)], world.now)
    assert (world.kvm.unicast, world.kvm.flood, world.kvm.arp) == ({}, {RED: set()}, {})


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("is_ours", [True, False], ids=["behind a leaf of ours", "told of by others"])
def test_an_address_that_another_vm_has_now_is_answered_for_in_whatever_order_that_is_heard(
    order: int, is_ours: bool
) -> None:
    """To an agent an address is one MAC's, whichever MAC a removal names."""
    world = World()
    world.announce([at(A, LEAF1)])
    bound = Binding("compute-1", active=True, failed=False, segments=("vxlan",), ours=True)
    its = replace(port_in(RED, "ACTIVE"), id="its", mac=str(B), addresses=(ADDRESSES[A],), bindings=(bound,))
    facts = world.facts(RED)
    facts = replace(facts, ports=(*facts.ports, its))
    heard: list[tuple[str, Mapping[str, Any]]] = []
    world.announcer.cast = lambda host, method, entries: heard.append((method, entries))
    if not is_ours:
        world.kvm.arp[RED, ADDRESSES[A]] = str(B)
    for _ in range(300):
        world.announcer.announce(facts, [at(B, LEAF2, address=ADDRESSES[A])] if is_ours else [], world.now)
        for method, entries in heard[::order]:
            world.kvm.hear(method, entries)
        heard.clear()
        world.now += 0.1
        assert world.kvm.arp == {(RED, ADDRESSES[A]): B}
        assert world.kvm.unicast == ({(RED, B): LEAF2} if is_ours else {})


def test_each_change_is_said_five_times_and_then_no_more_however_busy_a_network_is() -> None:
    world = World()
    said: Counter[tuple[str, str]] = Counter()
    sizes: list[int] = []

    def cast(host: str, method: str, entries: Mapping[str, Any]) -> None:
        macs = [mac for told in entries.values() for ports in told["ports"].values() for mac, _ in ports]
        said.update((method, mac) for mac in macs)
        sizes.append(len(macs) if method == "remove_fdb_entries" else 0)

    world.announcer.cast = cast
    vms = [Mac(f"00:50:56:00:00:{number:02x}") for number in range(70)]
    for step, first in enumerate(range(60)):
        for tenth in range(100):  # one goes and another comes each 10 s
            world.now = step * 10 + tenth / 10
            world.announce([at(mac, LEAF1) for mac in vms[first : first + 10]])
    gone = vms[:57]
    assert {said["remove_fdb_entries", mac] for mac in gone} == {5}
    assert max(sizes) <= 4


class TwoProcesses:
    """Each tells the same KVM host who is behind a leaf of its own."""

    def __init__(self) -> None:
        self.old, self.new = World(), World()
        self.new.kvm = self.old.kvm
        self.facts = self.old.facts(RED)

    def passes(self, seconds: float, old: Collection[Mac], new: Collection[Mac], seen: Collection[Mac]) -> float:
        """How long the KVM host does not know A.  `old` and `new` are behind the leaves; the old one's process has
        `seen` in vCenter behind the new one."""
        lost, end = 0.0, self.old.now + seconds
        while self.old.now < end:
            there = {LEAF1: {(RED, str(mac)) for mac in seen}}
            self.old.announcer.announce(self.facts, [at(mac, LEAF1) for mac in old], self.old.now, (), there)
            self.new.announcer.announce(self.facts, [at(mac, LEAF2) for mac in new], self.old.now)
            lost += 0.1 * (self.old.kvm.unicast.get((RED, A)) is None)
            self.old.now += 0.1
        return lost


@pytest.mark.parametrize("late", [0.1, 1.0, 3.0])
def test_a_vm_that_moved_to_a_host_of_another_process_is_not_taken_back_after_that_one_told_of_it(late: float) -> None:
    two = TwoProcesses()
    two.passes(100.0, old=[A], new=[], seen=[])
    lost = two.passes(late, old=[A], new=[A], seen=[])
    lost += two.passes(100.0, old=[], new=[A], seen=[A])
    assert (lost, two.old.kvm.unicast) == (0.0, {(RED, A): LEAF2})
    assert two.old.kvm.flood == {RED: {LEAF2}}


def test_a_vm_that_is_started_on_a_host_of_another_process_is_not_taken_back_again() -> None:
    two = TwoProcesses()
    two.passes(100.0, old=[A], new=[], seen=[])
    two.passes(1.0, old=[], new=[], seen=[])
    assert two.old.kvm.unicast == {}
    assert two.passes(100.0, old=[], new=[A], seen=[A]) == 0.0


def test_a_vm_that_was_elsewhere_by_a_look_from_another_leaf_is_taken_back_from_this_one() -> None:
    """That look may be older than it was here."""
    world = World()
    world.announce([at(A, LEAF1)])
    world.announcer.announce(world.facts(RED), [], world.now, (), {LEAF2: {(RED, str(A))}})
    assert world.kvm.unicast == {}


steps = st.lists(st.tuples(st.dictionaries(st.sampled_from([A, B]), st.sampled_from([LEAF1, LEAF2])), st.floats(0, 8)))


@given(steps, st.randoms(use_true_random=False))
def test_whatever_overtakes_what_an_agent_knows_what_is_so_a_second_later(
    history: list[tuple[dict[Mac, str], float]], dice: Random
) -> None:
    """An agent works on several messages at once: each takes up to 0.4 s."""
    world = World()
    under_way: list[tuple[float, str, Mapping[str, Any]]] = []
    world.announcer.cast = lambda _, method, entries: under_way.append(
        (world.now + dice.uniform(0, 0.4), method, entries)
    )

    def passes(seconds: float, members: list[Member]) -> None:
        end = world.now + seconds
        while world.now < end:
            world.announce(members)
            world.now += 0.05
            for message in sorted((due for due in under_way if due[0] <= world.now), key=lambda due: due[0]):
                under_way.remove(message)
                world.kvm.hear(*message[1:])

    for vms, seconds in history:
        passes(seconds, [at(mac, vtep) for mac, vtep in vms.items()])
    last = history[-1][0] if history else {}
    passes(1.0, [at(mac, vtep) for mac, vtep in last.items()])
    assert world.kvm.unicast == {(RED, mac): vtep for mac, vtep in last.items()}
    assert world.kvm.arp == {(RED, ADDRESSES[mac]): mac for mac in last}
    assert world.kvm.flood.get(RED, set()) == set(last.values())
