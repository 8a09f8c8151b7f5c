"""Any history of networks and VMs above leaves that are slow, hang, fail and come back: nothing leaks, nothing lasts.

An SDN that watches takes a VLAN for free when a look that is younger than the end of its network sees nobody wear it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.app.keeper import Pass
from isthmus.core.design import VDS_LEAF, VDS_STATIC, Design
from isthmus.core.handover import handover
from isthmus.model.names import NetworkId
from isthmus.model.nve import LeafBinding
from isthmus.model.observed import Access
from tests.faults.racks import HEALTHY, Ailment, Racks, racks

LEAVES = ("leaf1", "leaf2", "leaf3")
NETWORKS = ("blue", "green", "white")
CALLS = st.sampled_from([0.2, 0.9, 2.0, 8.0, 30.0, 150.0])
AILMENTS = st.one_of(
    st.just(HEALTHY), st.builds(Ailment, CALLS, CALLS, st.just(False), st.booleans()), st.just(Ailment(1.0, 1.0, True))
)
STEPS = st.one_of(
    st.tuples(st.just("ails"), st.sampled_from(LEAVES), AILMENTS),
    st.tuples(
        st.sampled_from(["network", "renumber", "boot", "move", "robbed"]),
        st.sampled_from(LEAVES),
        st.sampled_from(NETWORKS),
    ),
    st.tuples(st.just("news"), st.integers(1, 30), st.sampled_from([0.3, 1.0, 2.0])),
    st.tuples(st.just("quiet"), st.just(0), st.sampled_from([0.5, 5.0, 40.0])),
)


class History:
    """What happens, and what an SDN makes of what it is shown."""

    def __init__(self, site: Racks) -> None:
        self.site = site
        self.ids: dict[str, str] = {}
        """The networks that there are, by name; none ever has the id of another."""
        self.had: dict[str, list[int]] = {}
        """Their VNIs; those that a network had are its own until it goes."""
        self.came = 0
        self.ended: dict[tuple[str, int], float] = {}
        """When a network went that had a VNI, by shard."""
        self.wrong: list[str] = []
        site.loop.looked = self.looked

    def looked(self, last: Pass) -> None:
        name = last.world.shard.name
        look = handover(last.world, last.observed, last.thought, last.now)
        assert look is not None
        for (shard, vni), since in list(self.ended.items()):
            if shard == name and look.whole and look.at > since and vni not in look.vnis:
                del self.ended[shard, vni]
                self.wrong.extend(f"{self.site.clock.now}: {place} has {vni}" for place in self.wearing(name, vni))

    def wearing(self, shard: str, vni: int) -> list[str]:
        lab = self.site.lab
        switches = [lab.vcenter.switches[dvs] for dvs in lab.loops[shard].shard.switches]
        groups = [group for switch in switches for group in switch.port_groups.values()]
        worn = [g.name for g in groups if g.mark and g.mark.vni == vni and isinstance(g.vlan, Access)]
        leaves = [leaf for leaf in self.site.leaves.values() if leaf.id in lab.loops[shard].targets]
        holding = [leaf for leaf in leaves if any(isinstance(e, LeafBinding) and e.vni == vni for e in leaf.holds)]
        return worn + [str(leaf.id) for leaf in holding]

    def network(self, leaf: str, name: str) -> None:
        """It comes, or goes with its VMs."""
        lab = self.site.lab
        if name not in self.ids:
            self.came += 1
            self.ids[name] = f"{name} {self.came}"
            self.had[name] = [int(lab.intent.add_network(self.ids[name]).vni)]
            return
        for vm in [vm for vm, _ in lab.guests() if vm.name.startswith(name)]:
            lab.vcenter.destroy(vm.id)
        self.ended |= {(shard, vni): self.site.clock.now for vni in self.had.pop(name) for shard in lab.loops}
        lab.intent.remove_network(self.ids.pop(name))

    def renumber(self, leaf: str, name: str) -> None:
        """It is given another VNI."""
        if name in self.ids:
            intent = self.site.lab.intent
            intent.renumber(self.ids[name])
            self.had[name].append(int(intent.networks[NetworkId(self.ids[name])].vni))

    def boot(self, leaf: str, name: str) -> None:
        """A VM of a network below a leaf comes, or goes."""
        lab, vm = self.site.lab, f"{name}@{leaf}"
        if any(guest.name == vm for guest, _ in lab.guests()):
            lab.vcenter.destroy(lab.vm(vm).id)
        elif name in self.ids and lab.is_offered(self.ids[name], lab.host(f"esx-{leaf}")):
            lab.boot(vm, f"esx-{leaf}", self.ids[name])

    def move(self, leaf: str, name: str) -> None:
        """A VM moves below the leaf, where its switch reaches as far."""
        lab, vm = self.site.lab, f"{name}@leaf1"
        if lab.design is VDS_STATIC and any(guest.name == vm for guest, _ in lab.guests()):
            lab.migrate(vm, to=f"esx-{leaf}")

    def robbed(self, leaf: str, name: str) -> None:
        """A hand takes a binding off the leaf."""
        if any(isinstance(entry, LeafBinding) for entry in self.site.leaves[leaf].holds):
            self.site.rob(leaf)

    def step(self, kind: str, what: object, how: object) -> None:
        """One thing that happens."""
        site = self.site
        if kind == "ails":
            assert isinstance(how, Ailment)
            site.leaves[str(what)].inner.faults.heal()
            how.befall(site.leaves[str(what)])
        elif kind == "news":
            assert isinstance(what, int)
            for _ in range(what):
                site.loop.wake()
                site.clock.advance(float(str(how)))
        elif kind == "quiet":
            site.clock.advance(float(str(how)))
        else:
            happen: Callable[[str, str], None] = getattr(self, kind)
            happen(str(what), str(how))


@pytest.mark.slow
@pytest.mark.parametrize("design", [VDS_STATIC, VDS_LEAF], ids=lambda design: design.name)
@settings(max_examples=12, deadline=None)
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
def test_whatever_leaves_suffer_nothing_leaks_and_all_is_right_when_they_are_back(
    design: Design, steps: Sequence[tuple[str, object, object]]
) -> None:
    with racks(design, LEAVES, listening=False) as site:
        history = History(site)
        for step in steps:
            history.step(*step)
        site.listening = True
        for leaf in LEAVES:
            history.step("ails", leaf, HEALTHY)
        site.clock.advance(700)
        site.loop.look_at_everything()
        site.clock.advance(10)
        assert not history.wrong
        assert not site.conditions()
        assert all(seat.last is not None and seat.last.settled for seat in site.loop.seats.values())
        wanted = {int(network.vni) for network in site.lab.intent.networks.values()}
        for leaf in site.leaves.values():
            assert {int(entry.vni) for entry in leaf.holds if isinstance(entry, LeafBinding)} == wanted
        assert not history.ended, "each VLAN is free in the end"
