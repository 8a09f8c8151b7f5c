"""The designs with leaves, wired as the program wires them: a simulated vCenter, and leaves in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.app import report, wiring
from isthmus.app.check import check
from isthmus.app.cli import main
from isthmus.app.conditions import Condition, conditions_of
from isthmus.app.looking import keepers_of
from isthmus.app.settings import load
from isthmus.core.guard import Agreed
from isthmus.model.change import Change
from isthmus.model.names import Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast
from isthmus.model.observed import SwitchMirror, Unknown
from isthmus.model.tags import Vid, Vni
from lab.netns.admin import Admin
from lab.netns.dvs import Access, Policy
from lab.netns.vcenter import Login
from lab.vcenter import Simulator
from tests.app.leaf_site import CANARY, VTEPS, MemoryLeaf, host_table, leaf_table, topology, until

pytestmark = pytest.mark.sim
RED, BLUE = Vni(70001), Vni(70002)
MISFIT = "switch leaf2 has no port swp1; there are: swp7.  Correct 'ports'"


class Site:
    """A vCenter with a switch per rack, a leaf above each, and the program, wired but not running."""

    def __init__(self, folder: Path, vcenter: Simulator, deployments: str) -> None:
        self.folder = folder
        (folder / "password").write_text(CANARY)
        (folder / "isthmus.toml").write_text(
            f'[vcenter.vc1]\nurl = "{vcenter.url}"\nuser = "{vcenter.user}"\npassword_file = "password"\n'
            f'ca_file = "{vcenter.ca_file}"\n[intent]\nfile = "intent.yaml"\n[status]\nstate = "state"\n' + deployments
        )
        self.admin = Admin(Login(vcenter.url, vcenter.user, CANARY, str(vcenter.ca_file)))
        self.want()
        self.start()

    def start(self) -> None:
        """As at the start of the program: nothing was ever read.  What leaves hold stays."""
        held = {target: leaf.entries for target, leaf in MemoryLeaf.made.items()}
        MemoryLeaf.held, MemoryLeaf.made = held, {}
        self.wiring = wiring.wire(load(self.folder / "isthmus.toml", {}), time.monotonic)
        self.keepers = keepers_of(self.wiring)

    def want(self, **vnis: int) -> None:
        entries = [{"name": name, "id": name, "vni": int(vni)} for name, vni in vnis.items()]
        (self.folder / "intent.yaml").write_text(json.dumps({"networks": entries}))
        if hasattr(self, "wiring"):
            self.wiring.intent.woken()

    def keep(self, *, agreed: bool = False) -> None:
        for _ in range(3):
            for keeper in self.keepers:
                done = keeper.keep(self.wiring.sight.tick(), said=Agreed() if agreed else None)
                assert done.last is not None, done.reason

    def settle(self) -> None:
        """Until every shard is; the vCenter tells of its changes in its own time."""
        until(lambda: bool(self.keep() or all(self.last(keeper).settled for keeper in self.keepers)))

    def last(self, keeper: Any) -> Any:
        return keeper.keep(self.wiring.sight.tick(), write=False)

    def seen(self) -> dict[str, Any]:
        passes = {keeper.name: (keeper.charge.design, self.last(keeper).last) for keeper in self.keepers}
        assert all(last for _, last in passes.values())
        return passes

    def vids(self, network: str) -> dict[str, int]:
        """The VID that the port groups of a network have, by name, as an administrator sees them."""
        return {
            name: self.admin.port_group(name).config.defaultPortConfig.vlan.vlanId
            for name in self.admin.port_group_names()
            if name.partition(" (")[0] == network
        }

    def leaf(self, name: str) -> MemoryLeaf:
        return MemoryLeaf.made[f"unix:/nowhere/{name}"]


STATIC = (
    '[deployment.fabric]\ndesign = "vds-static"\ndvs = ["rack1", "rack2"]\nvids = "101-199"\n'
    + leaf_table("fabric", "leaf1")
    + leaf_table("fabric", "leaf2")
    + host_table("fabric", "esx1.lab", "leaf1")
    + host_table("fabric", "esx2.lab", "leaf2")
)
PER_LEAF = "".join(
    f'[deployment.rack{n}]\ndesign = "vds-leaf"\ndvs = "rack{n}"\nvids = "{vids}"\n'
    + leaf_table(f"rack{n}", f"leaf{n}")
    + host_table(f"rack{n}", f"esx{n}.lab", f"leaf{n}")
    for n, vids in ((1, "101-109"), (2, "201-209"))
)


Make = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr("isthmus.adapters.leaf.hwvtep.HwvtepTarget", MemoryLeaf)
    for store in ("made", "held", "misfits"):
        monkeypatch.setattr(MemoryLeaf, store, {})
    with ExitStack() as over:

        def make(deployments: str, uplink_vlans: tuple[int, int] = (0, 4094), strangers: Sequence[str] = ()) -> Site:
            vcenter = over.enter_context(Simulator(topology(uplink_vlans, strangers), password=CANARY))
            made = Site(tmp_path, vcenter, deployments)
            over.callback(made.admin.close)
            over.callback(lambda: made.wiring.close())
            return made

        yield make


def test_a_static_fabric_has_one_vid_for_a_network_on_every_switch_and_leaf(site: Make) -> None:
    made = site(STATIC)
    made.want(red=RED, blue=BLUE)
    made.settle()
    red, blue = made.vids("red"), made.vids("blue")
    assert set(red) == {"red (rack1)", "red (rack2)"}
    assert len(set(red.values())) == len(set(blue.values())) == 1
    assert set(red.values()) != set(blue.values())
    vid = Vid(red["red (rack1)"])
    other = {"leaf1": VTEPS["leaf2"], "leaf2": VTEPS["leaf1"]}
    for name in VTEPS:
        entries = made.leaf(name).entries.values()
        assert LeafBinding(vid, RED) in entries
        assert other[name] not in {v for e in entries if isinstance(e, LeafFlood) for v in e.vteps}, "nobody is there"

    made.admin.create_vm("a", "esx1.lab", ["red (rack1)"], ["00:50:56:00:00:01"])
    made.admin.create_vm("b", "esx2.lab", ["red (rack2)"], ["00:50:56:00:00:02"])
    for vm in ("a", "b"):
        made.admin.power_on(vm)
    at2 = LeafUnicast(RED, mac_of(2), VTEPS["leaf2"])
    until(lambda: bool(made.keep() or at2 in made.leaf("leaf1").entries.values()))
    assert LeafFlood(RED, frozenset({VTEPS["leaf2"]})) in made.leaf("leaf1").entries.values()
    assert LeafFlood(RED, frozenset({VTEPS["leaf1"]})) in made.leaf("leaf2").entries.values()
    assert LeafUnicast(RED, mac_of(1), VTEPS["leaf1"]) in made.leaf("leaf2").entries.values()
    [row] = report.matching(report.ports(made.seen()), "a")
    assert (row["leaf"], row["vid"], row["vni"], row["vtep"]) == ("leaf1", int(vid), int(RED), VTEPS["leaf1"])
    assert (row["wired"], row["peers"], row["why"]) == (True, [VTEPS["leaf2"]], "")


def mac_of(number: int) -> Mac:
    return Mac(f"00:50:56:00:00:{number:02x}")


def test_a_name_too_long_for_vcenter_is_told_apart_by_switch_all_the_same(site: Make) -> None:
    made = site(PER_LEAF)
    made.want(**{"x" * 80: RED})
    made.settle()
    ours = {name for name in made.admin.port_group_names() if name.startswith("xxx")}
    assert len(ours) == 2
    assert all(len(name) <= 80 for name in ours)


def test_per_leaf_a_network_has_a_vid_of_each_leaf_and_each_reaches_the_others_members(
    site: Make,
) -> None:
    made = site(PER_LEAF)
    made.want(red=RED)
    made.settle()
    red = made.vids("red")
    assert red["red (rack1)"] in range(101, 110)
    assert red["red (rack2)"] in range(201, 210)
    made.admin.create_vm("a", "esx1.lab", ["red (rack1)"], ["00:50:56:00:00:01"])
    made.admin.power_on("a")
    a = LeafUnicast(RED, mac_of(1), VTEPS["leaf1"])
    until(lambda: bool(made.keep() or a in made.leaf("leaf2").entries.values()))
    assert LeafBinding(Vid(red["red (rack1)"]), RED) in made.leaf("leaf1").entries.values()
    assert LeafBinding(Vid(red["red (rack2)"]), RED) in made.leaf("leaf2").entries.values()
    assert a not in made.leaf("leaf1").entries.values(), "an entry for a MAC below itself would lead away from it"
    rows = {row["leaf"]: row for row in report.leaves(made.seen(), made.wiring.config)}
    assert rows["leaf1"]["vids"] == [red["red (rack1)"]]
    assert rows["leaf2"]["vids"] == [red["red (rack2)"]]
    assert {(row["state"], row["networks"], row["vtep"]) for row in rows.values()} == {
        ("ready", 1, vtep) for vtep in VTEPS.values()
    }
    [network] = report.networks(made.seen())
    assert network["vids"] == {"leaf1": red["red (rack1)"], "leaf2": red["red (rack2)"]}
    assert {row["host"]: row["nve"] for row in report.hosts(made.seen())} == {"esx1.lab": "ready", "esx2.lab": "ready"}


def test_a_leaf_that_takes_its_time_is_shown_as_it_was_seen_last(site: Make) -> None:
    made = site(PER_LEAF)
    made.want(red=RED)
    made.settle()

    def state(*, passing: bool) -> str:
        seen = {}
        for name, (design, last) in made.seen().items():
            asked = {
                t: Unknown("asked", m, passing) if t.kind == "leaf" else m for t, m in last.observed.targets.items()
            }
            seen[name] = design, replace(last, observed=replace(last.observed, targets=asked))
        [found] = {row["state"] for row in report.leaves(seen, made.wiring.config)}
        return str(found)

    assert (state(passing=True), state(passing=False)) == ("ready", "unknown: asked")


def test_a_port_group_retagged_by_hand_is_put_right_and_a_deleted_network_goes_from_everywhere(
    site: Make,
) -> None:
    made = site(STATIC)
    made.want(red=RED, blue=BLUE)
    made.settle()
    before = made.vids("red")
    made.admin.set_port_group("red (rack1)", Policy(Access(made.vids("blue")["blue (rack1)"])))
    assert made.vids("red") != before
    until(lambda: bool(made.keep() or made.vids("red") == before))
    made.want(blue=BLUE)
    until(lambda: bool(made.keep(agreed=True) or not made.vids("red")))
    for name in VTEPS:
        assert {e.vni for e in made.leaf(name).observe().entries.values() if isinstance(e, LeafBinding)} == {BLUE}
    assert len(made.vids("blue")) == 2


def test_one_leaf_that_is_not_as_configured_stops_no_other(site: Make) -> None:
    made = site(STATIC)
    made.want(red=RED)
    made.settle()
    MemoryLeaf.misfits["unix:/nowhere/leaf2"] = MISFIT
    made.leaf("leaf1").entries.clear()
    made.keep()
    assert any(isinstance(entry, LeafBinding) for entry in made.leaf("leaf1").entries.values())
    rows = {row["leaf"]: row["state"] for row in report.leaves(made.seen(), made.wiring.config)}
    assert rows == {"leaf1": "ready", "leaf2": f"unknown: {MISFIT}"}
    found = [finding for finding in check(made.wiring) if finding.is_error]
    assert [(finding.place, finding.what) for finding in found] == [("deployment.fabric.leaf.leaf2", MISFIT)]


def test_with_a_leaf_that_was_never_read_what_is_there_goes_on_and_nothing_new_begins(site: Make) -> None:
    made = site(STATIC)
    made.want(red=RED)
    made.settle()
    red = made.vids("red")
    MemoryLeaf.misfits["unix:/nowhere/leaf2"] = MISFIT
    made.start()
    made.want(red=RED, blue=BLUE)
    made.keep()
    assert made.vids("red") == red
    assert not made.vids("blue"), "leaf2 may hold any VID for somebody else"
    assert {e.vni for e in made.leaf("leaf1").entries.values() if isinstance(e, LeafBinding)} == {RED}
    [keeper] = made.keepers
    assert any("leaf:leaf2" in unmet.reason for unmet in made.last(keeper).last.thought.unmet)
    MemoryLeaf.misfits.clear()
    until(lambda: bool(made.keep() or len(made.vids("blue")) == 2))


def test_a_tunnel_that_a_leaf_finds_down_is_a_warning_and_stops_nothing(site: Make) -> None:
    made = site(STATIC)
    made.want(red=RED)
    made.settle()
    made.leaf("leaf1").warnings = ("switch leaf1 finds its tunnel to 192.0.2.2 down",)
    [keeper] = made.keepers
    done = made.last(keeper)
    assert done.settled
    assert Condition("warning", "leaf:leaf1", "switch leaf1 finds its tunnel to 192.0.2.2 down") in conditions_of(done)
    rows = {row["leaf"]: row["warnings"] for row in report.leaves(made.seen(), made.wiring.config)}
    assert rows == {"leaf1": ["switch leaf1 finds its tunnel to 192.0.2.2 down"], "leaf2": []}


def test_a_pair_is_told_alike_and_by_each_members_words(site: Make) -> None:
    alone = leaf_table("fabric", "leaf1")
    made = site(STATIC.replace(alone, leaf_table("fabric", "leaf1", ["one", "two"])))
    made.want(red=RED)
    (keeper,) = made.keepers
    assert not plan_of(keeper, made), "no leaf learns a VID before a port group wears it"
    made.settle()
    one, two = made.leaf("one"), made.leaf("two")
    assert one.entries == two.entries != {}
    two.entries.clear()
    [mend] = [change for change in plan_of(keeper, made) if change.target.name == "leaf1"]
    assert list(keeper.words(mend)) == [
        "# unix:/nowhere/one",
        "vtep-ctl something for unix:/nowhere/one",
        "# unix:/nowhere/two",
        "vtep-ctl something for unix:/nowhere/two",
    ]
    made.settle()
    assert one.entries == two.entries


def plan_of(keeper: Any, site: Site) -> Sequence[Change]:
    done = keeper.keep(site.wiring.sight.tick(), write=False)
    return tuple(change for change in done.last.plan.changes if change.target.kind == "leaf")


def test_check_names_uplinks_that_carry_too_little_and_an_mtu_that_is_too_small(site: Make) -> None:
    made = site(STATIC.replace('vids = "101-199"', 'vids = "101-199"\nreserved = "150"'), (0, 120))
    made.want(red=RED)
    found = [finding for finding in check(made.wiring) if finding.is_error]
    assert [finding.place for finding in found] == [f"deployment.fabric: distributed switch 'rack{n}'" for n in (1, 2)]
    assert {finding.what for finding in found} == {
        "its uplinks do not carry VIDs 121-149,151-199 of the pool: networks with them end at their host"
    }
    (made.folder / "intent.yaml").write_text(json.dumps({"networks": [{"name": "red", "vni": 7, "mtu": 8000}]}))
    made.wiring.intent.woken()
    assert sum("its MTU is 1600, 8000 is needed" in finding.what for finding in check(made.wiring)) == 2


def test_a_member_below_no_leaf_is_named_and_nothing_is_written(site: Make) -> None:
    made = site(STATIC, strangers=["esx3.lab"])
    made.want(red=RED)
    [found] = [finding for finding in check(made.wiring) if finding.is_error]
    assert found.what == "members of dvs 'rack1' below no leaf of this deployment: esx3.lab"
    assert "give each a host table with leaf and ports" in found.remedy
    [keeper] = made.keepers
    assert "members below no leaf of deployment 'fabric': esx3.lab" in made.last(keeper).reason
    assert not made.vids("red")


def test_a_port_says_what_its_own_leaf_lacks_and_why_and_not_what_another_lacks(site: Make) -> None:
    made = site(STATIC)
    made.want(red=RED)
    made.settle()
    for number in (1, 2):
        made.admin.create_vm(f"vm{number}", f"esx{number}.lab", [f"red (rack{number})"], [mac_of(number)])
        made.admin.power_on(f"vm{number}")
    until(lambda: bool(made.keep() or len(report.ports(made.seen())) == 2))
    made.settle()
    made.leaf("leaf1").entries.clear()
    made.leaf("leaf1").foreign[Vid(3000)] = RED
    made.keep()
    rows = {row["vm"]: row for row in report.ports(made.seen())}
    assert (rows["vm1"]["wired"], rows["vm1"]["behind"]) == (False, "NVE")
    assert rows["vm1"]["why"] == (
        "the write to leaf:leaf1 failed and is not tried again as it is: VNI 70001 of leaf:leaf1 is taken by something "
        "that is not ours"
    )
    assert rows["vm2"]["wired"], rows["vm2"]["why"]


def test_below_a_leaf_of_another_controller_port_groups_are_all_that_is_written(
    site: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    external = '[deployment.fabric.leaf.leaf2]\ndriver = "external"\nvtep = "192.0.2.2"\n'
    made = site(STATIC.replace(leaf_table("fabric", "leaf2"), external))
    made.want(red=RED)
    assert main(["plan", "--config", str(made.folder / "isthmus.toml")]) == 2
    planned = capsys.readouterr().out
    assert "fabric: what a VID means at leaf2 is another controller's to say" in planned
    assert "leaf:leaf2" not in planned
    made.settle()
    made.admin.create_vm("a", "esx2.lab", ["red (rack2)"], ["00:50:56:00:00:01"])
    made.admin.power_on("a")
    made.settle()
    assert set(MemoryLeaf.made) == {"unix:/nowhere/leaf1"}
    assert len(set(made.vids("red").values())) == 1
    seen = made.seen()
    rows = {row["leaf"]: row for row in report.leaves(seen, made.wiring.config)}
    assert (rows["leaf1"]["state"], rows["leaf2"]["state"]) == ("ready", "external")
    hosts = {row["host"]: row["nve"] for row in report.hosts(seen)}
    assert hosts == {"esx1.lab": "ready", "esx2.lab": "external"}
    (port,) = report.ports(seen)
    assert port["wired"], port["why"]
    told = [found for found in check(made.wiring) if found.place == "deployment.fabric.leaf.leaf2"]
    said = "another controller tells it what a VID means: it is neither read nor written"
    assert [found.what for found in told] == [said]
    flood = [entry for entry in made.leaf("leaf1").entries.values() if isinstance(entry, LeafFlood)]
    assert flood == [LeafFlood(RED, frozenset({"192.0.2.2"}))], "where its VMs are reached is known"


def many(count: int = 12) -> dict[str, int]:
    return {f"net{number}": 70100 + number for number in range(count)}


def bindings(site: Site) -> int:
    return sum(isinstance(entry, LeafBinding) for name in VTEPS for entry in site.leaf(name).entries.values())


def test_an_emptied_intent_takes_no_network_from_a_leaf_before_an_operator_agrees(site: Make) -> None:
    made = site(STATIC)
    made.want(**many())
    made.settle()
    assert bindings(made) == 24
    made.want()
    made.keep()
    [keeper] = made.keepers
    held = made.last(keeper).last.held
    assert len([change for change in held if change.target.kind == "leaf"]) == 24
    assert bindings(made) == 24
    assert len(made.vids("net0")) == 2
    made.keep(agreed=True)
    assert bindings(made) == 0
    assert not made.vids("net0")


def test_released_and_resumed_it_takes_its_port_groups_up_again_and_no_leaf_forgets_a_network_meanwhile(
    site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = site(STATIC)
    made.want(**many())
    made.settle()
    made.admin.create_vm("a", "esx1.lab", ["net0 (rack1)"], [mac_of(1)])
    made.admin.power_on("a")
    at1 = LeafUnicast(Vni(70100), mac_of(1), VTEPS["leaf1"])
    until(lambda: bool(made.keep() or at1 in made.leaf("leaf2").entries.values()))
    before = {name: made.vids(name) for name in many()}
    [keeper] = made.keepers
    for _ in range(3):
        keeper.keep(made.wiring.sight.tick(), release=True)
    left: list[tuple[int, bool]] = []
    make = MemoryLeaf._make

    def counting(leaf: MemoryLeaf, change: Change) -> None:
        make(leaf, change)
        left.append((bindings(made), at1 in made.leaf("leaf2").entries.values()))

    monkeypatch.setattr(MemoryLeaf, "_make", counting)
    plan = made.last(keeper).last.plan
    assert {type(change.action).__name__ for change in plan.changes} == {"AlterPortGroup"}
    assert len(plan.changes) == 24
    made.settle()
    assert set(left) <= {(24, True)}
    assert (bindings(made), at1 in made.leaf("leaf2").entries.values()) == (24, True)
    assert {name: made.vids(name) for name in many()} == before
    assert not [name for name in made.admin.port_group_names() if name.count("net0") > 1]


def test_a_port_that_is_disabled_is_closed_in_vcenter_and_opened_again_when_enabled(site: Make) -> None:
    made = site(STATIC)
    made.want(red=RED)
    made.settle()
    vm = made.admin.create_vm("a", "esx1.lab", ["red (rack1)"], [mac_of(1)])
    made.admin.power_on("a")
    networks = [{"id": "red", "name": "red", "vni": int(RED)}]
    for up, why in (
        (False, "the port is administratively down"),
        (True, ""),
        (False, "the port is administratively down"),
    ):
        ports = [{"network": "red", "vm": vm.config.instanceUuid, "mac": mac_of(1), "admin_up": up}]
        (made.folder / "intent.yaml").write_text(json.dumps({"networks": networks, "ports": ports}))
        made.wiring.intent.woken()
        made.settle()
        [row] = report.ports(made.seen())
        assert row["why"] == why
        switches = [
            mirror for mirror in made.seen()["fabric"][1].observed.targets.values() if isinstance(mirror, SwitchMirror)
        ]
        closed = {port.blocked for mirror in switches for port in mirror.ports.values() if port.nic is not None}
        assert closed == {not up}
