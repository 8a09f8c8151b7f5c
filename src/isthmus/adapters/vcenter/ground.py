"""What there is in a vCenter for designs to stand on: hosts with the uses of their physical NICs, distributed switches.

Law: reads only, and only the hosts and switches that are asked for: a host's network is a large thing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from isthmus.adapters.vcenter import marks
from isthmus.adapters.vcenter.facts import pnics_of
from isthmus.adapters.vcenter.faults import faults_of, one_line
from isthmus.adapters.vcenter.groups import group_config, port_group
from isthmus.adapters.vcenter.naming import plain
from isthmus.adapters.vcenter.reading import Properties, all_of, properties
from isthmus.adapters.vcenter.session import Session
from isthmus.adapters.vcenter.vlans import carried, is_trunk
from isthmus.model.faults import Refused
from isthmus.model.ground import Ground, GroupFound, HostFound, NicUse, SwitchFound, UplinkFound
from isthmus.model.names import DvsId, HostId

Discovery = vim.host.LinkDiscoveryProtocolConfig
PortGroup = vim.dvs.DistributedVirtualPortgroup
PNIC = "config.network.pnic"
VSWITCH = "config.network.vswitch"
PROXY = "config.network.proxySwitch"
OPAQUE = "config.network.opaqueSwitch"  # NSX's own
VNIC = "config.network.vnic"
GROUPS = "config.network.portgroup"
SERVICES = "config.virtualNicManagerInfo.netConfig"
HOST_PATHS = ("name", "runtime.connectionState", PNIC, VSWITCH, PROXY, OPAQUE, VNIC, GROUPS, SERVICES)
SWITCH_PATHS = ("name", "uuid", "config", "portgroup")


@dataclass(frozen=True, slots=True)
class _Vmk:
    """An interface of the host's own, and the switch it is on."""

    device: str
    switch: str
    management: bool


def ground(session: Session, hosts: Collection[str], switches: Collection[str]) -> Ground:
    """These hosts, by name, these switches, by name or uuid, and the hosts that are members of them."""
    with faults_of(session.place):
        return session.call(lambda content: _ground(session, content, hosts, switches))


def _ground(session: Session, content: Any, hosts: Collection[str], switches: Collection[str]) -> Ground:
    found_hosts: dict[Any, str] = {}
    found_switches: dict[Any, str] = {}
    members: set[Any] = set()
    centers = all_of(content, {vim.Datacenter: ["name"]})
    for center, name in ((center, plain(known.get("name"))) for center, known in centers.items()):
        for dvs, known in all_of(content, {vim.DistributedVirtualSwitch: ["name", "uuid"]}, center).items():
            if plain(known.get("name")) in switches or known.get("uuid") in switches:
                found_switches[dvs] = name
        for host, known in all_of(content, {vim.HostSystem: ["name"]}, center).items():
            found_hosts[host] = name
            if plain(known.get("name")) in hosts:
                members.add(host)
    read = properties(content, list(found_switches), {vim.DistributedVirtualSwitch: SWITCH_PATHS})
    for known in read.values():
        members |= {member.config.host for member in known["config"].host or () if member.config.host is not None}
    networks = properties(content, [host for host in found_hosts if host in members], {vim.HostSystem: HOST_PATHS})
    instance = session.instance
    vmks = {host: _vmks(known) for host, known in networks.items()}
    return Ground(
        tuple(host_found(instance, host, known, vmks[host], found_hosts[host]) for host, known in networks.items()),
        tuple(
            _switch(content, instance, known, found_switches[dvs], standing_on(known, networks, vmks))
            for dvs, known in read.items()
        ),
    )


def find_switch(session: Session, name_or_uuid: str) -> tuple[Any, dict[str, Any]]:
    """A distributed switch and its name and uuid.  Raises Refused if there is none, or more than one of that name."""
    with faults_of(session.place):
        switches = session.call(lambda content: all_of(content, {vim.DistributedVirtualSwitch: ["name", "uuid"]}))
    for dvs, found in switches.items():
        if found.get("uuid") == name_or_uuid:
            return dvs, found
    named = [(dvs, found) for dvs, found in switches.items() if plain(found.get("name")) == name_or_uuid]
    if len(named) == 1:
        return named[0]
    if named:
        uuids = ", ".join(sorted(str(found["uuid"]) for _, found in named))
        raise Refused(f"{session.place}: several distributed switches are named {name_or_uuid}; give a uuid: {uuids}")
    names = ", ".join(sorted(one_line(plain(found.get("name")), 80) for found in switches.values()))
    raise Refused(
        f"{session.place}: there is no distributed switch {one_line(name_or_uuid, 80)!r}; "
        + (f"there are: {names}" if names else "it has none, or none that this user may see")
    )


# --- hosts --------------------------------------------------------------------------------------------------------


def host_found(instance: str, host: Any, known: Properties, vmks: Sequence[_Vmk], datacenter: str) -> HostFound:
    """A host, out of its properties."""
    devices = {pnic.key: pnic.device for pnic in known.get(PNIC) or ()}
    nics: dict[str, NicUse | None] = dict.fromkeys(devices.values())
    for switch, shown, dvs, keys in _switches_of(known):
        here = [vmk for vmk in vmks if vmk.switch == switch]
        for key in keys:
            if key in devices:
                nics[devices[key]] = NicUse(
                    shown,
                    dvs,
                    tuple(vmk.device for vmk in here),
                    tuple(vmk.device for vmk in here if vmk.management),
                    last=len(keys) == 1,
                )
    connected = known.get("runtime.connectionState") == "connected"
    return HostFound(HostId(f"{instance}/{host._GetMoId()}"), plain(known.get("name")), datacenter, connected, nics)


def _switches_of(known: Properties) -> Iterator[tuple[str, str, DvsId | None, Sequence[str]]]:
    """The switches of a host: name or uuid, how it is shown, uuid of a distributed one, keys of its physical NICs."""
    for switch in known.get(VSWITCH) or ():
        yield switch.name, f"standard switch '{one_line(switch.name, 80)}'", None, list(switch.pnic or ())
    for proxy in known.get(PROXY) or ():
        shown = f"distributed switch '{one_line(plain(proxy.dvsName), 80)}'"
        yield proxy.dvsUuid, shown, DvsId(proxy.dvsUuid), list(proxy.pnic or ())
    for opaque in known.get(OPAQUE) or ():
        yield opaque.key, f"opaque switch '{one_line(opaque.name or opaque.key, 80)}'", None, list(opaque.pnic or ())


def _vmks(known: Properties) -> list[_Vmk]:
    switch_of = {group.spec.name: group.spec.vswitchName for group in known.get(GROUPS) or ()}
    # vSphere API: a selected interface is named by the key of its candidate, which ends in the interface's own key.
    managing = {
        key.partition(".")[2]
        for service in known.get(SERVICES) or ()
        if service.nicType == "management"
        for key in service.selectedVnic or ()
    }
    return [
        _Vmk(
            vnic.device,
            vnic.spec.distributedVirtualPort.switchUuid
            if vnic.spec.distributedVirtualPort is not None
            else switch_of.get(vnic.spec.portgroup or vnic.portgroup, ""),
            vnic.key in managing,
        )
        for vnic in known.get(VNIC) or ()
    ]


# --- switches -----------------------------------------------------------------------------------------------------


def standing_on(
    switch: Properties, networks: Mapping[Any, Properties], vmks: Mapping[Any, Sequence[_Vmk]]
) -> tuple[str, ...]:
    """The hosts' own interfaces on a switch, in words."""
    uuid, by_host = switch["uuid"], defaultdict[str, list[str]](list)
    for host, known in networks.items():
        for vmk in vmks[host]:
            if vmk.switch == uuid:
                by_host[one_line(plain(known.get("name")), 80)].append(vmk.device)
    # Every host has an interface somewhere, by which it is managed: one that shows none does not tell.
    silent = sum(not vmks.get(member.config.host) for member in switch["config"].host or ())
    return (
        *(f"{device} of {name}" for name, devices in sorted(by_host.items()) for device in devices),
        *([f"interfaces of {silent} hosts that tell of none"] if silent else ()),
    )


def _switch(content: Any, instance: str, known: Properties, datacenter: str, vmkernel: tuple[str, ...]) -> SwitchFound:
    config = known["config"]
    groups = properties(content, list(known.get("portgroup") or ()), {PortGroup: ["name", "config"]})
    uplink_keys = frozenset(groups[one]["config"].key for one in config.uplinkPortgroup or () if one in groups)
    uplinks, others = [], []
    for found in groups.values():
        state = port_group(group_config(found["config"]), found.get("name"), uplink_keys)
        if state.is_uplink:
            vlan = vlan_of(found["config"])
            uplinks.append(UplinkFound(state.key, state.name, carried(vlan), is_trunk(vlan)))
        else:
            others.append(GroupFound(state, marks.maker(found["config"].description)))
    return SwitchFound(
        id=DvsId(known["uuid"]),
        name=plain(known.get("name")),
        datacenter=datacenter,
        maker=marks.maker(config.description),
        mtu=getattr(config, "maxMtu", None) or 1500,
        lldp=_speaks_lldp(getattr(config, "linkDiscoveryProtocolConfig", None)),
        uplinks=len(getattr(config.uplinkPortPolicy, "uplinkPortName", None) or ()),
        uplink_groups=tuple(uplinks),
        members={
            HostId(f"{instance}/{member.config.host._GetMoId()}"): pnics_of(member.config)
            for member in config.host or ()
            if member.config.host is not None
        },
        vmkernel=vmkernel,
        groups=tuple(others),
    )


def vlan_of(config: Any) -> Any:
    """What a port group's configuration says of VLANs."""
    return getattr(config.defaultPortConfig, "vlan", None)


def _speaks_lldp(discovery: Any) -> bool:
    return discovery is not None and discovery.protocol == "lldp" and discovery.operation == "both"
