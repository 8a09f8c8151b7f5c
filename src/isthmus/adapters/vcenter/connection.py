"""One vCenter: its inventory, its switches as targets, and the checks before anything is written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable

from pyVmomi import vmodl

from isthmus.adapters.vcenter.faults import said
from isthmus.adapters.vcenter.ground import find_switch, ground
from isthmus.adapters.vcenter.hints import neighbours
from isthmus.adapters.vcenter.inventory import LiveInventory
from isthmus.adapters.vcenter.pinning import movers
from isthmus.adapters.vcenter.preflight import (
    WRITING,
    Finding,
    privileges,
    tenant_switch,
    trunk_port_group,
    wired_switch,
)
from isthmus.adapters.vcenter.preparing import Preparing
from isthmus.adapters.vcenter.session import Session, VcenterSettings
from isthmus.adapters.vcenter.switch import Switch
from isthmus.adapters.vcenter.tasks import Tasks
from isthmus.model.faults import Refused
from isthmus.model.ground import Ground, Step
from isthmus.model.inventory import Neighbour
from isthmus.model.names import ClusterId, HostId
from isthmus.model.tags import VidSet

log = logging.getLogger(__name__)


class Vcenter:
    """Two sessions: one to read and write, one whose thread waits for changes.  Nothing is sent before it is asked."""

    def __init__(
        self,
        settings: VcenterSettings,
        clock: Callable[[], float] = time.monotonic,
        only_hosts: frozenset[str] | None = None,
        machines: frozenset[str] = frozenset(),
    ) -> None:
        self.settings = settings
        credentials = settings.credentials(clock)
        self.session = Session(settings, clock=clock, credentials=credentials)
        self._tasks = Tasks(self.session, clock=clock)
        self.inventory = LiveInventory(
            settings,
            clock=clock,
            only_hosts=only_hosts,
            machines=machines,
            idle_work=self.session.keep_alive,
            credentials=credentials,
        )
        self._preparing = Preparing(self.session, self._tasks)
        self._switches: dict[str, Switch] = {}  # by uuid: a name may go to another
        self._looking = threading.Lock()

    @property
    def instance(self) -> str:
        """The vCenter's own id: the first half of its HostIds and ClusterIds."""
        return self.session.instance

    def switch(self, name_or_uuid: str) -> Switch:
        """The distributed switch of this name or uuid.  Raises Refused, with the names there are, if there is none."""
        with self._looking:  # who asks at the same time waits for one answer
            if name_or_uuid not in self._switches:
                dvs, found = find_switch(self.session, name_or_uuid)
                uuid = str(found["uuid"])
                made = Switch(self.session, self._tasks, self.inventory, dvs, uuid)
                return self._switches.setdefault(uuid, made)
            return self._switches[name_or_uuid]

    def preflight(
        self, switch: str, *, vids: VidSet, mtu: int = 0, trunk: str | None = None, wired: bool = False
    ) -> list[Finding]:
        """What keeps a design from standing on this switch: `trunk` names the appliances' port group.

        `wired`: its uplinks lead to leaf switches, and must carry the VIDs; else they must not.
        Raises Refused or Retry if the vCenter cannot be asked at all.
        """
        try:
            target = self.switch(switch)
        except Refused as missing:
            return [Finding(f"{self.settings.place}", str(missing), "correct the switch's name in the configuration")]
        mirror = target.observe()
        dvs = self.inventory.read().switches[mirror.dvs]
        findings = wired_switch(mirror, dvs, vids, mtu) if wired else tenant_switch(dvs, vids, mtu)
        if trunk is not None:
            findings += trunk_port_group(mirror, dvs, trunk, vids)
        return findings + self._missing_privileges(target, switch)

    def _missing_privileges(self, target: Switch, switch: str) -> list[Finding]:
        """Best effort: a vCenter that does not say what the user may do is not held against it."""
        try:
            held = self.session.raw(lambda content: target.privileges_held(content, WRITING))
        except vmodl.MethodFault as unasked:
            log.info("%s: privileges on %s are not known: %s", self.settings.place, target.id, said(unasked))
            return []
        return privileges(f"distributed switch {switch}", held)

    def movers(self, bios_uuid: str) -> tuple[str, ...]:
        """What may take this VM off its host, in words.  Best effort: nothing if the user may not see it."""
        places = self.inventory.machine_places(bios_uuid)
        try:
            found = self.session.raw(lambda content: movers(content, places))
        except vmodl.MethodFault as unasked:
            log.info("%s: the rules of a cluster are not known: %s", self.settings.place, said(unasked))
            return ()
        return tuple(dict.fromkeys(what for whats in found.values() for what in whats))

    def ground(self, hosts: Collection[str], switches: Collection[str]) -> Ground:
        """What there is of these hosts, by name, and of these switches, by name or uuid, with all their members."""
        return ground(self.session, hosts, switches)

    def prepare(self, step: Step) -> str:
        """Do one thing to the ground; a word on what was done."""
        return self._preparing.carry_out(step)

    def neighbours(self, nics: Iterable[tuple[HostId, str]]) -> dict[HostId, dict[str, Neighbour]]:
        """What these physical NICs hear by LLDP or CDP; nothing is said of a host that cannot be asked now."""
        return neighbours(self.session, nics)

    def clusters(self) -> dict[ClusterId, str]:
        """The clusters and their names."""
        return self.inventory.clusters()

    def close(self) -> None:
        """Log out of both sessions."""
        self.inventory.close()
        self.session.close()
