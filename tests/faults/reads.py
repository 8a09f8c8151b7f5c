"""Which reads failed last, and what a write takes away although what may speak against it was not read whole.

Law: judged by what the far sides hold and what the sources last answered; no thought of the core is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from isthmus.model.change import Change, Forget, Gate, RemoveHostPortGroup, RemovePortGroup, SetDvPort
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import TargetId
from isthmus.model.place import PlaceKind
from lab.wire.world import Lab

SOURCES = frozenset({"intent", "inventory"})


@dataclass
class Reads:
    """The reads of all processes of a trial."""

    lab: Lab
    failing: set[str] = field(default_factory=set)
    """Targets and sources whose last read failed."""
    wanted: Intent = field(default_factory=lambda: Intent({}))
    """The intent's last good answer."""

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """A read under way: note whether it fails."""
        try:
            yield
        except (Retry, Refused):
            self.failing.add(name)
            raise
        self.failing.discard(name)

    def intent(self) -> Intent:
        """The intent, its answer noted."""
        with self.noted("intent"):
            self.wanted = self.lab.intent.read()
        return self.wanted

    def doubts(self, change: Change) -> set[str]:
        """What was not read whole and may speak against taking away what this change, not made yet, takes away."""
        match change.action:
            case RemovePortGroup(dvs=dvs):
                against = {str(change.target), *SOURCES, *self._mapping(self.lab.vcenter.switches[dvs].hosts)}
            case RemoveHostPortGroup(host=host):
                against = {str(change.target), *SOURCES, *self._mapping({host})}
            case SetDvPort(dvs=dvs, key=key, gate=Gate.CLOSE | Gate.BARE as gate):
                against = {str(change.target)}
                if self.lab.design.place is PlaceKind.DV_PORT:
                    against |= self._closing(dvs, key, takes_tag=gate is Gate.BARE)
            case Forget(entries=entries):
                vnis = {vni for entry in entries if (vni := entry.vni) is not None}
                against = {str(change.target), *self._worn_at(change.target)}
                if not vnis <= {network.vni for network in self.wanted.networks.values()}:
                    against |= SOURCES
            case _:
                against = set()
        return self.failing & against

    def _mapping(self, hosts: set[HostId]) -> set[str]:
        """Where the VID of a port group may still be mapped, if it has one."""
        if self.lab.design.place is PlaceKind.DV_PORT:
            return set()
        return {str(nve.id) for nve in self.lab.nves.values() if not hosts.isdisjoint(nve.hosts)}

    def _closing(self, dvs: DvsId, key: str, *, takes_tag: bool) -> set[str]:
        """An unwanted port is closed on the word of both sources; a tag comes off only if the NVE has no use for it."""
        switch = self.lab.vcenter.switches[dvs]
        port = switch.ports.get(key)
        if port is None or port.nic is None:
            return set()
        vm = self.lab.vcenter.vms[port.nic.vm]
        mark = switch.port_groups[port.port_group].mark
        network = None if mark is None else self.wanted.networks.get(mark.network)
        mac = vm.nics[port.nic.key].mac
        ports = {(p.vm, p.mac, p.network) for p in self.wanted.ports.values()}
        listed = network is None or not network.ports_listed or (vm.id, mac, network.id) in ports
        against = set(SOURCES) if network is None or not listed else set()
        if takes_tag and port.vlan is not None:
            against.add(str(self.lab.nves[vm.host].id))
        return against

    def _worn_at(self, nve: TargetId) -> set[str]:
        """The switches on which the tags that an NVE maps may be worn."""
        (hosts,) = [set(each.hosts) for each in self.lab.nves.values() if each.id == nve]
        found = {str(TargetId("dvs", s.id)) for s in self.lab.vcenter.switches.values() if s.hosts & hosts}
        if self.lab.design.place is PlaceKind.HOST_PORT_GROUP:
            return {str(t) for t in self.lab.targets if t.kind == "vss" and t.name.rpartition("/")[0] in hosts}
        return found
