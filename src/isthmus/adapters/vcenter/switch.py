"""One distributed switch as a Target: all its port groups and DV ports, and the four writes to them."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from pyVmomi import vim

from isthmus.adapters.vcenter import marks
from isthmus.adapters.vcenter.dvports import DvPorts, Write
from isthmus.adapters.vcenter.faults import faults_of
from isthmus.adapters.vcenter.fetched import FetchedPort, dv_port
from isthmus.adapters.vcenter.groups import group_config, port_group
from isthmus.adapters.vcenter.inventory import LiveInventory, Place
from isthmus.adapters.vcenter.portgroups import PortGroups
from isthmus.adapters.vcenter.reading import Properties, properties, properties_with
from isthmus.adapters.vcenter.session import Session
from isthmus.adapters.vcenter.tasks import IN_FLIGHT, Tasks
from isthmus.model.change import (
    AlterPortGroup,
    Change,
    CreatePortGroup,
    DisownPortGroup,
    Gate,
    Outcome,
    RemovePortGroup,
    Result,
    SetDvPort,
)
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import DvPortState, PortGroupState, SwitchMirror, TargetId

log = logging.getLogger(__name__)
PortGroup = vim.dvs.DistributedVirtualPortgroup
Work: TypeAlias = Callable[[], list[Result]]
FEW = 200  # ports that are always worth reading by key
READS = 3  # a port group made between the reading of groups and of ports makes a second look necessary


class Switch:
    """Reads and writes the distributed switch `uuid`.  Threads may share it."""

    def __init__(self, session: Session, tasks: Tasks, inventory: LiveInventory, dvs: Any, uuid: str) -> None:
        self.id = TargetId("dvs", uuid)
        self._session, self._inventory, self._dvs = session, inventory, dvs
        self._groups = PortGroups(session, tasks, dvs)
        self._ports = DvPorts(session, tasks, dvs, self._decoded, self._nameable)
        self._lock = threading.Lock()  # guards what follows
        self._known: dict[tuple[str, str, str], PortGroupState] = {}  # (key, name, version) never changes its content
        self._last: SwitchMirror | None = None
        self._place: Place | None = None  # where in what vCenter tells it was
        self._look_around = True  # what we did calls for a look at everything

    def observe(self) -> SwitchMirror:
        """Its port groups and ports, read now.  Raises Retry if they could not be read whole."""
        with faults_of(f"{self._session.place} switch {self.id.name}"):
            for _ in range(READS):
                with self._lock:
                    self._look_around = False
                try:
                    place = self._inventory.place()
                    groups = self._session.call(self._read_groups)
                    self._ports.read_all(self._inventory.read)  # the mirror, which knows the NICs, is up to the ports
                except BaseException:
                    with self._lock:
                        self._look_around = True
                    raise
                if (mirror := self._mirror(groups, place)) is not None:
                    return mirror
        raise Retry(f"switch {self.id.name}: its port groups change faster than they can be read")

    @property
    def tells(self) -> bool:
        """What changed since the last look, as far as anybody told us."""
        with self._lock:
            return self._last is not None and self._place is not None and not self._look_around

    def refresh(self, *, every_port: bool = False) -> SwitchMirror:
        """The same, where only what vCenter told to have changed is read now; all of it, if it cannot tell.

        It tells of changes of ports by events, which it folds, and of port groups by properties, which it does not.
        """
        with self._lock:
            last, place, look_around = self._last, self._place, self._look_around
        if last is None or place is None or look_around:
            return self.observe()
        now, told = self._inventory.told_since(place, self.id.name)
        if told is None:
            return self.observe()
        keys = self._ports.seen.doubtful | told
        with faults_of(f"{self._session.place} switch {self.id.name}"):
            if every_port or len(keys) > max(FEW, len(last.ports) // 2):
                self._ports.read_all(self._inventory.read)
            elif keys:
                self._ports.read(sorted(keys), self._inventory.read)
        return self._mirror(last.port_groups, now) or self.observe()

    def _mirror(self, groups: Mapping[str, PortGroupState], place: Place | None) -> SwitchMirror | None:
        """What was seen, unless a port is in a port group that was not."""
        ports = self._ports.seen.now()
        if not all(port.port_group in groups for port in ports.values()):
            return None
        mirror = SwitchMirror(DvsId(self.id.name), groups, ports)
        with self._lock:
            self._last, self._place = mirror, place
        return mirror

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Make these changes: each port group by itself, the ports of a host in one task, all at once."""
        by_host: dict[HostId | None, list[Write]] = defaultdict(list)
        work: list[tuple[Sequence[Change], Work]] = []
        for change in changes:
            if isinstance(change.action, SetDvPort):
                by_host[change.action.host].append((change, change.action))
            else:
                work.append(([change], lambda change=change: [self._group_change(change)]))  # type: ignore[misc]
        with self._lock:
            seen = self._last.ports if self._last is not None else {}
        for writes in by_host.values():
            work.append(([change for change, _ in writes], lambda writes=writes: self._ports.write(writes, seen)))  # type: ignore[misc]
        done = {result.change.id: result for results in self._all(work) for result in results}
        if any(_calls_for_a_look_around(change, seen) for change in changes):
            with self._lock:
                self._look_around = True
        return [done[change.id] for change in changes]

    def privileges_held(self, content: Any, asked: Sequence[str]) -> list[str]:
        """Which of these privileges this session has on the switch."""
        here = content.sessionManager.currentSession.key
        manager = content.authorizationManager
        held = manager.HasPrivilegeOnEntity(self._dvs, here, list(asked))
        return [privilege for privilege, has in zip(asked, held, strict=True) if has]

    def _all(self, work: Sequence[tuple[Sequence[Change], Work]]) -> list[list[Result]]:
        if len(work) < 2:
            return [self._attempt(*one) for one in work]
        with ThreadPoolExecutor(min(IN_FLIGHT, len(work)), thread_name_prefix="vcenter-write") as pool:
            return list(pool.map(lambda one: self._attempt(*one), work))

    def _attempt(self, changes: Sequence[Change], work: Work) -> list[Result]:
        try:
            with faults_of(f"{self._session.place} switch {self.id.name}"):
                return work()
        except (Retry, Refused) as fault:
            if not self._session.logged_in:  # nothing is known of these changes: it is we who were turned away
                return [Result(change, Outcome.UNREACHABLE, str(fault)) for change in changes]
            return [Result.failed(change, fault) for change in changes]

    def _group_change(self, change: Change) -> Result:
        match change.action:
            case CreatePortGroup() as action:
                detail = self._groups.create(action)
            case AlterPortGroup() as action:
                detail = self._groups.alter(action)
            case RemovePortGroup() as action:
                detail = self._groups.remove(action)
            case DisownPortGroup() as action:
                detail = self._groups.disown(action)
            case other:
                raise TypeError(f"a distributed switch does not take {type(other).__name__}")
        return Result(change, Outcome.DONE, detail)

    def _nameable(self, port: FetchedPort) -> bool:
        """Whether it is known what holds this port before the inventory caught up.  Where a VM is changes too often."""
        return self._inventory.knows(port.nic) and (port.nic is None or port.host is not None)

    def _decoded(self, port: FetchedPort) -> DvPortState:
        inventory = self._inventory
        return dv_port(port, inventory.nic_of, inventory.host_id, inventory.host_of)

    def _read_groups(self, content: Any) -> dict[str, PortGroupState]:
        """All port groups; the settings of a group are read again only when its version, name or switch changed.

        A group inherits from the switch, so the switch's own version is part of the key.
        """
        wanted = {
            type(self._dvs): ["config.configVersion", "config.uplinkPortgroup"],
            PortGroup: ["key", "name", "config.configVersion"],
        }
        read = properties_with(content, self._dvs, "portgroup", wanted)
        switch = read.pop(self._dvs)
        uplinks = frozenset(read[group]["key"] for group in switch.get("config.uplinkPortgroup") or () if group in read)
        base = str(switch.get("config.configVersion"))
        stale = [group for group, found in read.items() if _key(found, base) not in self._known]
        configs = properties(content, stale, {PortGroup: ["config"]}, lean=True)
        states: dict[str, PortGroupState] = {}
        known: dict[tuple[str, str, str], PortGroupState] = {}
        for group, found in read.items():
            if group in configs:
                state = _state(configs[group], found, uplinks)
            elif group in stale:
                continue  # removed meanwhile
            else:
                state = self._known[_key(found, base)]
            states[state.key] = state
            known[_key(found, base)] = state
        with self._lock:
            self._known = known
        self._groups.ids = {found["key"]: group._GetMoId() for group, found in read.items()}
        return states


def _calls_for_a_look_around(change: Change, seen: Mapping[str, DvPortState]) -> bool:
    """The ports of a group are not as they were, or a rival may have given the same tag to one that is open.

    After a claim it is for who claimed to look at everything before he opens.
    """
    if not isinstance(change.action, SetDvPort):
        return True
    port = seen.get(change.action.key)
    return change.action.gate is Gate.OPEN and port is not None and not port.blocked


def _state(read: Properties, found: Properties, uplinks: frozenset[str]) -> PortGroupState:
    config = group_config(read["config"])
    if (newer := marks.newer_schema(config.description)) is not None:
        log.warning("port group %s carries a mark of schema %d: left to the newer isthmus", config.key, newer)
    return port_group(config, found.get("name"), uplinks)


def _key(found: Properties, base: str) -> tuple[str, str, str]:
    return found["key"], f"{base}/{found.get('name')}", str(found.get("config.configVersion"))
