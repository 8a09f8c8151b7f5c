"""Makes what designs stand on, step by step.  Law: what exists is written only while it carries our own mark.

A port group made on a switch that is not ours is our own all the same.  What is written replaces what is there at that
moment, not what the plan saw: what passed the uplinks or a trunk goes on passing, unless nobody may be using it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyVmomi import vim

from isthmus.adapters.vcenter import marks, naming
from isthmus.adapters.vcenter.facts import pnics_of
from isthmus.adapters.vcenter.faults import faults_of, ident, one_line, said
from isthmus.adapters.vcenter.ground import find_switch, ground, vlan_of
from isthmus.adapters.vcenter.portgroups import FIRST_PORTS, accepted
from isthmus.adapters.vcenter.reading import all_of, properties
from isthmus.adapters.vcenter.session import Session
from isthmus.adapters.vcenter.tasks import Tasks
from isthmus.adapters.vcenter.vlans import carried, is_trunk, trunk_of
from isthmus.model.faults import Refused, Retry
from isthmus.model.ground import (
    Carried,
    JoinHost,
    MakeSwitch,
    MakeTrunk,
    NarrowUplinks,
    SetSwitch,
    SetTrunk,
    Step,
    WidenUplinks,
)
from isthmus.model.observed import MOST_LEARNED

PortGroup = vim.dvs.DistributedVirtualPortgroup
Dvs = vim.DistributedVirtualSwitch
Vmware = vim.dvs.VmwareDistributedVirtualSwitch


class Preparing:
    """Carries out steps on one vCenter."""

    def __init__(self, session: Session, tasks: Tasks) -> None:
        self._session, self._tasks = session, tasks
        self._made: dict[str, Any] = {}  # by name: what later steps of the same run refer to

    def carry_out(self, step: Step) -> str:
        """Do it; a word on what was done.  Raises Retry or Refused, also for what is not as the plan saw it."""
        place = f"distributed switch {one_line(step.switch, 80)}"
        with faults_of(place), accepted(place):
            try:
                return self._carry_out(step)
            except vim.fault.DuplicateName as fault:
                raise Refused(f"{place}: that name belongs to {ident(fault.object)}; rename one") from fault
            except (vim.fault.AlreadyExists, vim.fault.HostConfigFault) as fault:
                raise Retry(f"{place}: {said(fault)}") from fault

    def _carry_out(self, step: Step) -> str:
        match step.does:
            case MakeSwitch() as make:
                return self._make(step.switch, make)
            case MakeTrunk() as make:
                return self._make_trunk(self._switch(step), make)
            case SetTrunk() as wanted:
                return self._set_trunk(self._switch(step), step.owner, wanted)
        dvs = self._switch(step)
        config = self._ours(dvs, step.owner)
        match step.does:
            case SetSwitch(mtu=mtu):
                spec = Vmware.ConfigSpec(maxMtu=max(mtu, config.maxMtu or 0), linkDiscoveryProtocolConfig=_lldp())
                self._reconfigure(dvs, config, spec)
            case WidenUplinks(key=key, lets=lets):
                group, there = self._uplinks(config, key)
                self._let_through(group, there, carried(vlan_of(there)) | lets)
            case NarrowUplinks(key=key, lets=lets):
                group, there = self._uplinks(config, key)
                self._refuse_users(config.uuid, step.owner, lets)
                self._let_through(group, there, lets)
            case JoinHost() as join:
                self._reconfigure(dvs, config, self._joined(config, join))
        return "done"

    def _make(self, name: str, make: MakeSwitch) -> str:
        names = [f"uplink{number}" for number in range(1, make.uplinks + 1)]
        config = Vmware.ConfigSpec(
            name=naming.escaped(name),
            description=marks.prepared(make.mark),
            maxMtu=make.mtu,
            linkDiscoveryProtocolConfig=_lldp(),
            uplinkPortPolicy=Dvs.NameArrayUplinkPortPolicy(uplinkPortName=names),
        )
        folder, spec = self._network_folder(make.datacenter), Dvs.CreateSpec(configSpec=config)
        dvs = self._made[name] = self._tasks.run(lambda _: folder.CreateDVS_Task(spec), "make switch")
        if make.carries is not None:
            for group in self._config(dvs).uplinkPortgroup:
                self._let_through(group, self._config(group), make.carries)
        return f"made {dvs._GetMoId()}"

    def _network_folder(self, datacenter: str) -> Any:
        centers = self._session.call(lambda content: all_of(content, {vim.Datacenter: ["name", "networkFolder"]}))
        named = [found["networkFolder"] for found in centers.values() if naming.plain(found["name"]) == datacenter]
        if len(named) != 1:
            raise Refused(f"there are {len(named)} datacenters named {one_line(datacenter, 80)}: rename one")
        return named[0]

    def _switch(self, step: Step) -> Any:
        if step.switch not in self._made:
            if step.dvs is None:
                raise Retry("is not made yet")
            self._made[step.switch], _ = find_switch(self._session, step.dvs)
        return self._made[step.switch]

    def _config(self, managed: Any) -> Any:
        read = self._session.call(lambda content: properties(content, [managed], {type(managed): ["config"]}))
        if managed not in read:
            raise Retry(f"{ident(managed)} is gone")
        return read[managed]["config"]

    def _ours(self, managed: Any, owner: str) -> Any:
        """Its configuration, if it still says that it is ours."""
        config = self._config(managed)
        _must_be_ours(managed, config, owner)
        return config

    def _uplinks(self, config: Any, key: str) -> tuple[Any, Any]:
        """An uplink port group of this switch and its configuration, whose trunk can be written."""
        group, there = self._group(config.uplinkPortgroup, key)
        if not is_trunk(vlan_of(there)):
            raise Refused(f"uplink port group {key} is no VLAN trunk any more: it is left alone")
        return group, there

    def _group(self, groups: Sequence[Any] | None, key: str) -> tuple[Any, Any]:
        """The one of these with that key, which need not be the id of its object, and its configuration."""
        read = self._session.call(lambda content: properties(content, groups or (), {PortGroup: ["config"]}))
        found = next(((group, known["config"]) for group, known in read.items() if known["config"].key == key), None)
        if found is None:
            raise Retry(f"port group {key} is gone")
        return found

    def _refuse_users(self, uuid: str, owner: str, lets: Carried) -> None:
        for switch in ground(self._session, (), {uuid}).switches:
            if users := switch.users_beside(owner, lets.vids):
                others = one_line(", ".join(users), 200)
                raise Refused(f"its uplinks are left as they are, for more may be in use by now: {others}")

    def _let_through(self, group: Any, there: Any, carries: Carried) -> None:
        policy = Vmware.VmwarePortConfigPolicy(vlan=trunk_of(carries))
        self._set_group(group, PortGroup.ConfigSpec(configVersion=there.configVersion, defaultPortConfig=policy))

    def _reconfigure(self, dvs: Any, config: Any, spec: Any) -> None:
        spec.configVersion = config.configVersion
        self._tasks.run(lambda _: dvs.ReconfigureDvs_Task(spec), "set switch")

    def _set_group(self, group: Any, spec: Any) -> None:
        self._tasks.run(lambda _: group.ReconfigureDVPortgroup_Task(spec), "set port group")

    def _joined(self, config: Any, join: JoinHost) -> Any:
        """A member's physical NICs are written as a whole, so those that it has are written again as they are."""
        host = self._session.object(vim.HostSystem, join.host.rpartition("/")[2])
        member = next((one for one in config.host or () if one.config.host == host), None)
        had = None if member is None else pnics_of(member.config)
        if had != join.had:
            raise Retry(f"host {join.name}: its NICs on the switch changed since they were read")
        backing = member.config.backing if member is not None else None
        kept = list(backing.pnicSpec or ()) if isinstance(backing, vim.dvs.HostMember.PnicBacking) else []
        new = [vim.dvs.HostMember.PnicSpec(pnicDevice=nic) for nic in join.nics if nic not in (had or ())]
        change = vim.dvs.HostMember.ConfigSpec(
            operation="add" if member is None else "edit",
            host=host,
            backing=vim.dvs.HostMember.PnicBacking(pnicSpec=[*kept, *new]),
        )
        return Vmware.ConfigSpec(host=[change])

    def _make_trunk(self, dvs: Any, wanted: MakeTrunk) -> str:
        spec = _new_trunk(wanted)
        made = self._tasks.run(lambda _: dvs.CreateDVPortgroup_Task(spec), "make trunk")
        return f"made {made._GetMoId()}"

    def _set_trunk(self, dvs: Any, owner: str, wanted: SetTrunk) -> str:
        read = self._session.call(lambda content: properties(content, [dvs], {Dvs: ["portgroup"]}))
        group, config = self._group(read.get(dvs, {}).get("portgroup"), wanted.key)
        _must_be_ours(group, config, owner)
        before = carried(vlan_of(config)) if is_trunk(vlan_of(config)) else Carried()
        setting = _trunk_setting(before | Carried(wanted.vids))
        spec = PortGroup.ConfigSpec(configVersion=config.configVersion, defaultPortConfig=setting)
        self._set_group(group, spec)
        return f"set {wanted.key}"


def _must_be_ours(managed: Any, config: Any, owner: str) -> None:
    maker = marks.maker(config.description)
    if maker is None or maker.owner != owner:
        raise Refused(f"{ident(managed)} carries no mark of isthmus prepare any more: it is left alone")


def _new_trunk(wanted: MakeTrunk) -> Any:
    return PortGroup.ConfigSpec(
        name=naming.escaped(wanted.name),
        description=marks.prepared(wanted.mark),
        type=PortGroup.PortgroupType.earlyBinding,
        numPorts=FIRST_PORTS,
        autoExpand=True,
        defaultPortConfig=_trunk_setting(Carried(wanted.vids)),
    )


def _trunk_setting(carries: Carried) -> Any:
    """What an appliance needs: to send with other VMs' MACs, and to get frames for MACs that are not on this host."""
    learning = Vmware.MacLearningPolicy(
        inherited=False, enabled=True, allowUnicastFlooding=True, limit=MOST_LEARNED, limitPolicy="ALLOW"
    )
    macs = Vmware.MacManagementPolicy(
        inherited=False, allowPromiscuous=False, macChanges=False, forgedTransmits=True, macLearningPolicy=learning
    )
    return Vmware.VmwarePortConfigPolicy(
        vlan=trunk_of(carries), blocked=vim.BoolPolicy(inherited=False, value=False), macManagementPolicy=macs
    )


def _lldp() -> Any:
    return vim.host.LinkDiscoveryProtocolConfig(protocol="lldp", operation="both")
