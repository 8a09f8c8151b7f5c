"""The writing ends of the in-memory vCenter: a distributed switch, and a standard switch of one host.

Law: the server decides.  A stale version, another holder, a name in use or a NIC plugged in stop a write here, at the
last moment, whatever the writer believed.
"""

from __future__ import annotations

from collections.abc import Sequence

from isthmus.model.change import (
    Action,
    AddHostPortGroup,
    AlterHostPortGroup,
    AlterPortGroup,
    Change,
    CreatePortGroup,
    DisownPortGroup,
    Gate,
    Outcome,
    PortGroupSpec,
    RemoveHostPortGroup,
    RemovePortGroup,
    Result,
    SetDvPort,
)
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import DvsId, HostId
from isthmus.model.observed import (
    Access,
    DvPortState,
    HostPortGroupState,
    MacLearning,
    NoVlan,
    OwnerMark,
    PortGroupState,
    StandardSwitchMirror,
    SwitchMirror,
    TargetId,
)
from lab.wire.faults import Faults
from lab.wire.vcenter import VCenter
from lab.wire.vsphere import DistributedSwitch, NameBacking, Port, PortGroup, StandardPortGroup


class SwitchTarget:
    """A distributed switch: its port groups and DV ports."""

    def __init__(self, vcenter: VCenter, dvs: DvsId) -> None:
        self._vcenter = vcenter
        self._dvs = dvs
        self.faults = Faults(f"switch {dvs}", vcenter.clock)
        self.writes = 0

    @property
    def id(self) -> TargetId:
        """By the switch's uuid."""
        return TargetId("dvs", self._dvs)

    @property
    def _switch(self) -> DistributedSwitch:
        return self._vcenter.switches[self._dvs]

    def observe(self) -> SwitchMirror:
        """All port groups, and all ports that are connected or override something."""
        with self._vcenter.faults.call("observe"), self.faults.call("observe"):
            groups = {group.key: _group_state(group) for group in self._switch.port_groups.values()}
            ports = {
                port.key: self._port_state(port)
                for port in self._switch.ports.values()
                if port.cookie is not None or port.overrides
            }
            return SwitchMirror(self._dvs, groups, ports)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Make them one by one."""
        return [_result(change, self._faults_then(change.action)) for change in changes]

    def _faults_then(self, action: Action) -> Retry | Refused | None:
        kind = type(action).__name__
        try:
            with self._vcenter.faults.call(kind), self.faults.call(kind):
                self._make(action)
                self.writes += 1
        except (Retry, Refused) as fault:
            return fault
        return None

    def _make(self, action: Action) -> None:
        match action:
            case CreatePortGroup(_, spec):
                self._create(spec)
            case AlterPortGroup(_, key, version, spec):
                self._alter(key, version, spec)
            case RemovePortGroup(_, key, mark):
                group = self._group(key)
                if group.mark != mark:
                    raise Refused(f"port group {key} does not carry our mark")
                if any(port.port_group == key and port.cookie is not None for port in self._switch.ports.values()):
                    raise Retry(f"port group {key}: ResourceInUse")
                del self._switch.port_groups[key]
                for port in [port for port in self._switch.ports.values() if port.port_group == key]:
                    del self._switch.ports[port.key]
            case DisownPortGroup(_, key, mark):
                group = self._group(key)
                if group.mark != mark:
                    raise Refused(f"port group {key} does not carry our mark")
                group.mark, group.handed_back = None, mark
            case SetDvPort():
                self._set_port(action)
            case _:
                raise AssertionError(f"not for a distributed switch: {action}")

    def _create(self, spec: PortGroupSpec) -> None:
        found = self._switch.group_named(spec.name)
        if found is None:
            group = self._vcenter.add_port_group(self._dvs, spec.name, NoVlan(), override=True)
            group.mark = spec.mark
            _shape(group, spec)
        elif found.mark is None and (was := found.handed_back) and _one_object(was, spec.mark):
            found.mark = was
        elif found.mark != spec.mark:
            whose = "not ours" if found.mark is None else f"marked {found.mark}"
            raise Refused(f"port group {spec.name!r} exists and is {whose}")

    def _alter(self, key: str, version: str, spec: PortGroupSpec) -> None:
        group = self._group(key)
        if str(group.version) != version:
            raise Retry(f"port group {key}: ConcurrentAccess")
        if (held := group.mark or group.handed_back) is None or not _one_object(held, spec.mark):
            raise Refused(f"port group {key} does not carry our mark")
        group.mark = spec.mark
        _shape(group, spec)
        group.version += 1

    def _set_port(self, write: SetDvPort) -> None:
        port = self._switch.ports.get(write.key)
        if port is None:
            raise Retry(f"port {write.key}: NotFound")
        if port.conflict:
            raise Refused(f"port {write.key}: InvalidState")
        if port.cookie != write.cookie:
            raise Retry(f"port {write.key} is held by another NIC now")
        if str(port.version) != write.version:
            raise Retry(f"port {write.key}: ConcurrentAccess")
        group = self._switch.port_groups[port.port_group]
        if write.gate is not Gate.BARE and not (group.vlan_override and group.block_override):
            raise Refused(f"port {write.key}: its port group does not allow overrides")
        if write.gate is Gate.BARE:
            port.vlan = port.blocked = None
        else:
            port.vlan = None if write.vid is None else Access(write.vid)
            port.blocked = write.gate is not Gate.OPEN
        port.version += 1

    def _group(self, key: str) -> PortGroup:
        if key not in self._switch.port_groups:
            raise Retry(f"port group {key}: NotFound")
        return self._switch.port_groups[key]

    def _port_state(self, port: Port) -> DvPortState:
        vm = None if port.nic is None else self._vcenter.vms[port.nic.vm]
        return DvPortState(
            port.key,
            port.port_group,
            str(port.version),
            self._switch.vlan_of(port),
            self._switch.is_blocked(port),
            vlan_own=port.vlan is not None,
            blocked_own=port.blocked is not None,
            nic=port.nic,
            host=None if vm is None else vm.host,
            cookie=port.cookie,
            connected=port.cookie is not None,
            conflict=port.conflict,
        )


class StandardSwitchTarget:
    """A standard switch of one host: port groups by name, no versions, no marks."""

    def __init__(self, vcenter: VCenter, host: HostId, vswitch: str) -> None:
        self._vcenter = vcenter
        self._host = host
        self._vswitch = vswitch
        self.faults = Faults(f"vSwitch {vswitch} of {host}", vcenter.clock)
        self.writes = 0

    @property
    def id(self) -> TargetId:
        """By host and name."""
        return TargetId("vss", f"{self._host}/{self._vswitch}")

    def observe(self) -> StandardSwitchMirror:
        """All its port groups; a host that is disconnected tells nothing."""
        with self._vcenter.faults.call("observe"), self.faults.call("observe"):
            if not self._vcenter.hosts[self._host].connected:
                raise Retry(f"host {self._host} is disconnected")
            switch = self._vcenter.hosts[self._host].standard[self._vswitch]
            groups = {
                group.name: HostPortGroupState(group.name, group.vlan, self._users(group.name))
                for group in switch.port_groups.values()
            }
            return StandardSwitchMirror(self._host, self._vswitch, groups, ours=not switch.has_uplinks)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Make them one by one: the calls are synchronous, and after a lost answer the outcome is unknown."""
        results = []
        for change in changes:
            fault: Retry | Refused | None = None
            try:
                kind = type(change.action).__name__
                with self._vcenter.faults.call(kind), self.faults.call(kind):
                    self._make(change.action)
                    self.writes += 1
            except (Retry, Refused) as raised:
                fault = raised
            results.append(_result(change, fault))
        return results

    def _make(self, action: Action) -> None:
        groups = self._vcenter.hosts[self._host].standard[self._vswitch].port_groups
        match action:
            case AddHostPortGroup(_, _, name, vid):
                # vSphere API: AlreadyExists for a name that is taken on this host, on whatever switch.
                if self._vcenter.standard_group(self._host, name) is not None:
                    raise Retry(f"port group {name!r}: AlreadyExists")
                groups[name] = StandardPortGroup(name, Access(vid))
            case AlterHostPortGroup(_, _, name, vid):
                if name not in groups:
                    raise Retry(f"port group {name!r}: NotFound")
                groups[name].vlan = Access(vid)  # no version: the last writer wins
            case RemoveHostPortGroup(_, _, name):
                if name not in groups:
                    raise Retry(f"port group {name!r}: NotFound")
                if self._users(name):
                    raise Retry(f"port group {name!r}: ResourceInUse")
                del groups[name]
            case _:
                raise AssertionError(f"not for a standard switch: {action}")
        self._vcenter.changed(self._host)

    def _users(self, name: str) -> int:
        return sum(vm.host == self._host and nic.backing == NameBacking(name) for vm, nic in self._vcenter.nics())


def _shape(group: PortGroup, spec: PortGroupSpec) -> None:
    """The settings that isthmus owns, as the spec says; all others stay."""
    group.vlan = NoVlan() if spec.vid is None else Access(spec.vid)
    group.blocked = spec.gated
    group.vlan_override = group.block_override = True
    group.reset_at_disconnect = group.early_binding = True
    for name in ("forged_transmits", "promiscuous", "mac_changes"):
        if (asked := getattr(spec.security, name)) is not None:
            setattr(group, name, asked)


def _group_state(group: PortGroup) -> PortGroupState:
    return PortGroupState(
        group.key,
        group.name,
        group.vlan,
        group.blocked,
        str(group.version),
        group.mark,
        group.vlan_override,
        group.block_override,
        group.reset_at_disconnect,
        group.early_binding,
        group.is_uplink,
        group.forged_transmits,
        group.promiscuous,
        MacLearning() if group.mac_learning else None,
        group.mac_changes,
        group.handed_back if group.mark is None else None,
    )


def _result(change: Change, fault: Retry | Refused | None) -> Result:
    return Result(change, Outcome.DONE) if fault is None else Result.failed(change, fault)


def _one_object(held: OwnerMark, wanted: OwnerMark) -> bool:
    return (held.owner, held.network) == (wanted.owner, wanted.network)
