"""What each part of a configuration allows but all together do not.  It is named here, and reported by settings.py."""

from __future__ import annotations

from collections.abc import Iterator

from isthmus.app.config import (
    OPEN_VSWITCH,
    ApplianceConfig,
    Config,
    ContrailConfig,
    DeploymentConfig,
    ExternalLeafConfig,
    HostConfig,
    NgsLeafConfig,
)
from isthmus.app.toml import KeyPath
from isthmus.core.design import (
    CONTRAIL,
    OVSVAPP,
    OVSVAPP_PORT,
    VDS_LEAF,
    VDS_STATIC,
    IntentFrom,
    NveKind,
    TagScope,
    unfit_switch,
)
from isthmus.model.names import ovsdb

Misfit = tuple[KeyPath, str]
BUILT = (CONTRAIL, OVSVAPP, OVSVAPP_PORT, VDS_STATIC, VDS_LEAF)
SAID = {
    IntentFrom.FILE: "'file' in [intent]",
    IntentFrom.NEUTRON: "[intent.neutron]",
    IntentFrom.CONTRAIL: "[intent.contrail]",
}
"""How each source of intent is configured."""
OF_AN_APPLIANCE = frozenset({"vtep", "bios_uuid", *ApplianceConfig.model_fields})
"""Keys of a host that has an appliance."""
NO_APPLIANCE = "hosts below leaves have no appliance: take it out"
NOT_WITH_LEAVES = {
    "reuse": "a port group has its VID on every host, so there is nothing to use again: take it out",
    "trunk_port_group": NO_APPLIANCE,
    "appliance": NO_APPLIANCE,
    "by_hand": "the VLAN of a port group is the tag of all its VMs, so it is always put right: take it out",
}


def misfits(config: Config) -> Iterator[Misfit]:
    """Each with its place and its remedy."""
    yield from _intent(config)
    if not config.vcenter:
        yield ("vcenter",), "no vCenter: add a [vcenter.NAME] table or set GOVC_URL"
        return
    for name, vcenter in config.vcenter.items():
        if vcenter.password_file and vcenter.password_env:
            yield ("vcenter", name, "password_env"), "password_file is given too: keep one of them"
        if vcenter.ca_file and not vcenter.ca_file.is_file():
            yield ("vcenter", name, "ca_file"), f"there is no file {vcenter.ca_file}"
    for name, deployment in config.deployment.items():
        yield from _deployment(config, name, deployment)
        if deployment.design.nve.on_each_host:
            yield from _with_appliances(config, name, deployment)
        else:
            yield from _with_leaves(name, deployment)
        yield from _neutron_hosts(name, deployment)
        yield from _neutron_agents(name, deployment)
    yield from _between_deployments(config)
    if config.leader is not None:
        for name, deployment in config.deployment.items():
            if deployment.design.nve is not NveKind.VROUTER:
                # Their appliances and leaves have locks of their own, which a standby would take by looking.
                yield ("leader",), f"is for design 'contrail' alone, and deployment '{name}' is of another"


def _intent(config: Config) -> Iterator[Misfit]:
    neutron, source = config.intent.neutron, config.intent.source
    if source is None:
        tables = "a table [intent.neutron], or [intent.contrail]"
        yield ("intent",), f"say where wanted networks come from: 'file', {tables}, and one of them only"
    if config.intent.contrail is not None:
        yield from _contrail(config.intent.contrail)
    if neutron is not None and (neutron.url_file is None) == (neutron.url_env is None):
        yield ("intent", "neutron"), "give 'url_file' or 'url_env': what holds Neutron's transport_url"
    if neutron is not None:
        yield from _neutron_names(config)
    for name, deployment in config.deployment.items():
        at: KeyPath = ("deployment", name)
        if source is not None and source not in deployment.design.intents:
            said = " or ".join(sorted(SAID[intent] for intent in deployment.design.intents))
            yield (*at, "design"), f"'{deployment.design.name}' does not take its networks from there: say {said}"
        for key in sorted({"domain", "compute"} & deployment.model_fields_set if neutron is None else ()):
            yield (*at, key), "is for networks from Neutron, and these come from elsewhere: take it out"
        if neutron is not None and deployment.design.nve.on_each_host and deployment.domain is not None:
            yield (*at, "domain"), f"design '{deployment.design.name}' has VIDs of its own on each host: take it out"


def _contrail(contrail: ContrailConfig) -> Iterator[Misfit]:
    at: KeyPath = ("intent", "contrail")
    if contrail.password_file is not None and contrail.password_env is not None:
        yield (*at, "password_env"), "password_file is given too: keep one of them"
    if contrail.bus_url_file is not None and contrail.bus_url_env is not None:
        yield (*at, "bus_url_env"), "bus_url_file is given too: keep one of them"
    if contrail.user is None:
        for key in sorted({"password_file", "password_env", "keystone"} & contrail.model_fields_set):
            yield (*at, key), "is for a user, and none is named: say 'user', or take it out"


def _neutron_names(config: Config) -> Iterator[Misfit]:
    """A domain is one deployment, and a host is in one domain: Neutron knows both by their names alone."""
    domains: dict[str, str] = {}
    hosts: dict[str, str] = {}
    for name, deployment in config.deployment.items():
        domain = deployment.domain or name
        if domains.setdefault(domain, name) != name:
            what = f"mapping domain '{domain}' is deployment '{domains[domain]}': give one of them another 'domain'"
            yield ("deployment", name), what
        for key, named in (("compute", deployment.compute), ("attached", deployment.attached)):
            for host in named:
                if (other := hosts.setdefault(host, name)) != name:
                    what = (
                        f"Neutron's host '{host}' is in deployment '{other}' already: a host is in one mapping domain"
                    )
                    yield ("deployment", name, key, host), what


def _neutron_hosts(name: str, deployment: DeploymentConfig) -> Iterator[Misfit]:
    at: KeyPath = ("deployment", name)
    for host, compute in deployment.compute.items():
        if compute.dvs is None and len(deployment.dvs) > 1:
            yield (*at, "compute", host), f"say on which dvs its VMs are: {', '.join(deployment.dvs)}"
        elif compute.dvs is not None and compute.dvs not in deployment.dvs:
            yield (*at, "compute", host, "dvs"), f"is none of this deployment's: {', '.join(deployment.dvs)}"
    for machine, settings in deployment.attached.items():
        if settings.leaf not in deployment.leaf:
            yield (*at, "attached", machine, "leaf"), f"there is no leaf '{settings.leaf}' in this deployment"
        if machine in deployment.compute or machine in deployment.host:
            yield (*at, "attached", machine), "is an ESXi host or a compute host here, too: take one of them out"


def _neutron_agents(name: str, deployment: DeploymentConfig) -> Iterator[Misfit]:
    """Where Neutron's own agent runs on the appliances, it is that of one host, by the name of its nova-compute."""
    at: KeyPath = ("deployment", name)
    design = deployment.design.name
    if deployment.design.nve is not NveKind.STOCK_OVS:
        for compute, settings in deployment.compute.items():
            if settings.host is not None:
                what = f"design '{design}' does not need to know which ESXi host it stands for: take it out"
                yield (*at, "compute", compute, "host"), what
            if deployment.design.nve.on_each_host and compute in deployment.host:
                what = (
                    "is an ESXi host, too: Neutron would take that host's VTEP for the whole cluster's; "
                    "give nova-compute another 'host'"
                )
                yield (*at, "compute", compute), what
        return
    for key in sorted({"openflow", "vxlan_port"} & deployment.appliance.model_fields_set):
        yield (*at, "appliance", key), f"design '{design}': that is the Neutron agent's own business: take it out"
    for host, appliance in deployment.host.items():
        for key in sorted({"openflow", "vxlan_port"} & appliance.model_fields_set):
            yield (*at, "host", host, key), f"design '{design}': that is the Neutron agent's own business: take it out"
        if deployment.compute_of(host) is None:
            what = f"no nova-compute stands for it: say [deployment.{name}.compute.\"NAME\"] with host = '{host}'"
            yield (*at, "host", host), what
    first: dict[str, str] = {}
    for compute, settings in deployment.compute.items():
        if settings.host is None:
            what = (
                "'host' is missing: a Neutron agent is of one host, so say which ESXi host this nova-compute stands for"
            )
            yield (*at, "compute", compute), what
        elif settings.host not in deployment.host:
            what = f'there is no [deployment.{name}.host."{settings.host}"] table'
            yield (*at, "compute", compute, "host"), what
        elif (other := first.setdefault(settings.host, compute)) != compute:
            yield (*at, "compute", compute, "host"), f"'{settings.host}' is that of '{other}' already"


def _deployment(config: Config, name: str, deployment: DeploymentConfig) -> Iterator[Misfit]:
    at: KeyPath = ("deployment", name)
    if deployment.design not in BUILT:
        there = ", ".join(f"'{design.name}'" for design in BUILT)
        yield (*at, "design"), f"'{deployment.design.name}' has no adapters in this release; use one of {there}"
    if deployment.vcenter is not None and deployment.vcenter not in config.vcenter:
        what = f"there is no [vcenter.{deployment.vcenter}]; there are: {', '.join(config.vcenter)}"
        yield (*at, "vcenter"), what
    if deployment.vcenter is None and len(config.vcenter) > 1:
        yield at, f"say which vcenter: there are {', '.join(config.vcenter)}"
    if all(vid in deployment.reserved for vid in deployment.vids):
        yield (
            (*at, "reserved"),
            f"{deployment.reserved} covers all of vids {deployment.vids}: nothing is left to give out",
        )
    idle = not any(other.serve or other.port_groups for other in config.deployment.values())
    if idle:  # one that is only read may stand beside others: its switch says whose a VNI is
        yield (*at, "serve"), "this process serves no host and writes no port groups: nothing is left to do"


def _with_appliances(config: Config, name: str, deployment: DeploymentConfig) -> Iterator[Misfit]:
    at: KeyPath = ("deployment", name)
    for host, times in ((host, deployment.served.count(host)) for host in dict.fromkeys(deployment.served)):
        if times > 1:
            yield (*at, "serve"), f"host '{host}' is listed {times} times"
        if host not in deployment.host:
            yield (*at, "serve"), f"host '{host}' has no [deployment.{name}.host.\"{host}\"] table"
        elif config.appliance_of(deployment, host).trunk is None and deployment.design.nve is not NveKind.VROUTER:
            yield (*at, "host", host), f"'trunk' is missing, here and in [deployment.{name}.appliance]"
    design = deployment.design.name
    for key in sorted({"attached"} & deployment.model_fields_set):
        yield (*at, key), f"design '{design}' has an appliance on each host, and no leaves: take it out"
    if len(deployment.dvs) > 1:
        yield (*at, "dvs"), f"design '{design}' stands on one switch: make a deployment for each"
    if deployment.leaf:
        yield (*at, "leaf"), f"design '{design}' has an appliance on each host, and no leaves: take it out"
    if deployment.design.nve is NveKind.VROUTER:
        yield from _beside_vrouters(at, deployment)
    else:
        yield from _reached(at, config, deployment)
    for host, settings in deployment.host.items():
        if settings.vtep is None:
            yield (*at, "host", host, "vtep"), "is missing"
        for key in sorted({"leaf", "ports", "lldp_ports", "dvs", "nics"} & settings.model_fields_set):
            what = f"design '{design}' has an appliance on each host, and no leaves: take it out"
            yield (*at, "host", host, key), what


def _beside_vrouters(at: KeyPath, deployment: DeploymentConfig) -> Iterator[Misfit]:
    """What an appliance of another kind would need, and an agent VM does not."""
    what = f"design '{deployment.design.name}' has a vRouter on each host, and no Open vSwitch: take it out"
    tables = (((*at, "host", host), found) for host, found in deployment.host.items())
    for place, table in (((*at, "appliance"), deployment.appliance), *tables):
        for key in sorted(ApplianceConfig.model_fields.keys() & table.model_fields_set):
            yield (*place, key), what


def _reached(at: KeyPath, config: Config, deployment: DeploymentConfig) -> Iterator[Misfit]:
    """How each appliance's Open vSwitch is spoken to: what a host leaves out is the deployment's to say."""
    found: dict[KeyPath, str] = {}
    if wrong := _is_no_place(deployment.appliance.ovsdb or OPEN_VSWITCH):  # even if no host needs it
        found[*at, "appliance", "ovsdb"] = wrong
    for host, own in deployment.host.items():
        appliance = config.appliance_of(deployment, host)
        place: KeyPath = (*at, "host", host) if own.ovsdb is not None else (*at, "appliance")
        for key, what in _out_of_reach(deployment, appliance):
            found.setdefault((*place, key), what)
    yield from found.items()


def _out_of_reach(deployment: DeploymentConfig, appliance: ApplianceConfig) -> Iterator[tuple[str, str]]:
    target = appliance.ovsdb or OPEN_VSWITCH
    if deployment.design.nve is NveKind.STOCK_OVS and not target.startswith("unix:/"):
        what = f"{target}: design '{deployment.design.name}' reads its agent's flows, so isthmus runs on each appliance"
        yield "ovsdb", f'{what}: say unix:/absolute/path there, and serve = "here"'
        return
    if wrong := _is_no_place(target):
        yield "ovsdb", wrong
    elif target.startswith("ssl:"):
        if appliance.tls is None:
            yield "tls", f"is missing: {target} needs a private key, a certificate and the CA's certificate"
        if appliance.openflow is None:
            yield "openflow", f"is missing: {target} needs where br-int and br-tun are reached, ssl:host:port each"


def _is_no_place(target: str) -> str:
    try:
        ovsdb(target)
    except ValueError as wrong:
        return str(wrong)
    return ""


def _with_leaves(name: str, deployment: DeploymentConfig) -> Iterator[Misfit]:
    at: KeyPath = ("deployment", name)
    for key in sorted(NOT_WITH_LEAVES.keys() & deployment.model_fields_set):
        yield (*at, key), f"design '{deployment.design.name}': {NOT_WITH_LEAVES[key]}"
    if deployment.serve not in ("all", ()) or bool(deployment.serve) != deployment.port_groups:
        what = f"design '{deployment.design.name}' is one shard, port groups and leaves together: leave 'serve' and "
        remedy = "'port_groups' out, or, where another process keeps it, say serve = [] and port_groups = false"
        yield (*at, "serve"), what + remedy
    if not deployment.leaf:
        yield (*at, "leaf"), f"there is none: add a [deployment.{name}.leaf.NAME] table for each leaf switch"
    if deployment.design.scope is TagScope.LEAF and (why := unfit_switch(deployment.design, deployment.leaf)):
        yield (*at, "leaf"), f"{why}, and a deployment"
    ports: dict[tuple[str | None, str], str] = {}
    for host, settings in deployment.host.items():
        yield from _below_a_leaf((*at, "host", host), deployment, settings)
        for port in settings.ports:
            if (other := ports.setdefault((settings.leaf, port), host)) != host:
                yield (*at, "host", host, "ports"), f"port {port} of {settings.leaf} is that of host '{other}' already"
    for leaf, found in deployment.leaf.items():
        for key in ("password", "secret"):
            if isinstance(found, NgsLeafConfig) and getattr(found, f"{key}_file") and getattr(found, f"{key}_env"):
                yield (*at, "leaf", leaf, f"{key}_env"), f"{key}_file is given too: keep one of them"
    for machine, attached in deployment.attached.items():
        for port in attached.ports:
            if (other := ports.setdefault((attached.leaf, port), machine)) != machine:
                what = f"port {port} of {attached.leaf} is that of '{other}' already"
                yield (*at, "attached", machine, "ports"), what
    used = {host.leaf for host in deployment.host.values()} | {found.leaf for found in deployment.attached.values()}
    for leaf in deployment.leaf:
        if leaf not in used:
            what = f'nothing is below it: say leaf = "{leaf}" in the hosts\' tables, or take it out'
            yield (*at, "leaf", leaf), what


def _below_a_leaf(at: KeyPath, deployment: DeploymentConfig, settings: HostConfig) -> Iterator[Misfit]:
    if settings.leaf is None:
        yield (*at, "leaf"), "is missing: say below which leaf the host is"
    elif settings.leaf not in deployment.leaf:
        there = ", ".join(deployment.leaf) or "none"
        yield (*at, "leaf"), f"there is no leaf '{settings.leaf}' in this deployment; there are: {there}"
    if not settings.ports and not isinstance(deployment.leaf.get(settings.leaf or ""), ExternalLeafConfig):
        yield (*at, "ports"), "is missing: name the ports, or LAGs, of the leaf that its uplinks are connected to"
    if len(set(settings.ports)) < len(settings.ports):
        yield (*at, "ports"), "names a port twice"
    if settings.dvs is not None and settings.dvs not in deployment.dvs:
        yield (*at, "dvs"), f"the deployment has no dvs '{settings.dvs}'; it has: {', '.join(deployment.dvs)}"
    if settings.nics and settings.dvs is None and len(deployment.dvs) > 1:
        yield (*at, "nics"), f"say to which dvs they go: dvs = one of {', '.join(deployment.dvs)}"
    if len(set(settings.nics)) < len(settings.nics):
        yield (*at, "nics"), "names a NIC twice"
    for key in sorted(OF_AN_APPLIANCE & settings.model_fields_set):
        why = "its VTEP is that of its leaf: take it out" if key == "vtep" else NO_APPLIANCE
        yield (*at, key), f"design '{deployment.design.name}': {why}"
    if settings.reserved:
        what = "a port group has its VID on every host: use 'reserved' of the deployment"
        yield (*at, "reserved"), f"design '{deployment.design.name}': {what}"


def _between_deployments(config: Config) -> Iterator[Misfit]:
    """What may be named but once."""
    switches: dict[tuple[str, str], str] = {}
    vteps: dict[str, str] = {}
    targets: dict[str, str] = {}
    leaves: dict[str, str] = {}
    machines: dict[str, str] = {}
    sockets: dict[str, str] = {}
    for name, deployment in config.deployment.items():
        at: KeyPath = ("deployment", name)
        if deployment.vcenter is None or deployment.vcenter in config.vcenter:
            for dvs in deployment.dvs:
                if (other := switches.setdefault((config.vcenter_of(deployment), dvs), name)) != name:
                    yield (*at, "dvs"), f"deployment '{other}' has dvs '{dvs}' already"
        if len(set(deployment.dvs)) < len(deployment.dvs):
            yield (*at, "dvs"), "names a switch twice"
        for leaf, found in deployment.leaf.items():
            if (other := leaves.setdefault(leaf, name)) != name:
                what = f"deployment '{other}' has a leaf '{leaf}' already: a leaf has one VLAN map, so one deployment"
                yield (*at, "leaf", leaf), what
            if found.vtep and (other := vteps.setdefault(found.vtep, f"leaf '{leaf}'")) != f"leaf '{leaf}'":
                yield (*at, "leaf", leaf, "vtep"), f"{found.vtep} is the VTEP of {other} already: no two can share one"
            key = "ip" if isinstance(found, NgsLeafConfig) else "target"
            for address in found.addresses:
                place = f"{address}:{found.options.get('port', 22)}" if isinstance(found, NgsLeafConfig) else address
                if place in targets:
                    yield (*at, "leaf", leaf, key), f"{address} is that of {targets[place]} already"
                targets[place] = f"leaf '{leaf}'"
        for host, settings in deployment.host.items():
            if settings.vtep and (other := vteps.setdefault(settings.vtep, f"host '{host}'")) != f"host '{host}'":
                what = f"{settings.vtep} is the VTEP of {other} already: no two can share one"
                yield (*at, "host", host, "vtep"), what
            appliance = settings.bios_uuid
            if settings.vrouter is not None and deployment.design.nve is not NveKind.VROUTER:
                what = f"design '{deployment.design.name}' has no vRouter agents: take it out"
                yield (*at, "host", host, "vrouter"), what
            if (
                settings.vrouter
                and (other := targets.setdefault(settings.vrouter, f"'{name}/{host}'")) != f"'{name}/{host}'"
            ):
                yield (*at, "host", host, "vrouter"), f"is the agent of {other} already: each host has its own"
            if appliance and (other := machines.setdefault(appliance, f"'{name}/{host}'")) != f"'{name}/{host}'":
                yield (*at, "host", host, "bios_uuid"), f"is the appliance of {other} already: each host has its own"
        served = deployment.served if deployment.design.nve in (NveKind.OVS, NveKind.STOCK_OVS) else ()
        for host in (host for host in served if host in deployment.host):
            appliance_here, this = config.appliance_of(deployment, host), f"'{name}/{host}'"
            target = appliance_here.ovsdb or OPEN_VSWITCH
            if (other := targets.setdefault(target, this)) != this:
                yield (*at, "host", host), f"{target} is the OVS of {other} already: each host has its own appliance"
            else:
                for key, what in _flows_in_common(appliance_here, this, sockets):
                    yield (*at, "host", host, key), what
    yield from _in_two_deployments(config)
    yield from _nics_in_two_deployments(config)


def _flows_in_common(appliance: ApplianceConfig, this: str, sockets: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Where the flows of an appliance are written, which must be no other's: its bridges' addresses or directory."""
    if appliance.openflow is not None:
        for target in dict.fromkeys((appliance.openflow.br_int, appliance.openflow.br_tun)):
            if (other := sockets.setdefault(target, this)) != this:
                yield "openflow", f"{target} is where a bridge of {other} is reached: those of each host are its own"
    elif (rundir := appliance.sockets) and (other := sockets.setdefault(str(rundir), this)) != this:
        what = f"the bridges of {other} have their sockets in {rundir}: those of each Open vSwitch are its own"
        yield "rundir", what


def _in_two_deployments(config: Config) -> Iterator[Misfit]:
    """A VM's frames are sent to one VTEP, whichever switch of its host it is on."""
    first: dict[tuple[str, str], str] = {}
    for name, deployment in config.deployment.items():
        if deployment.vcenter is not None and deployment.vcenter not in config.vcenter:
            continue
        for host in deployment.host:
            other = first.setdefault((config.vcenter_of(deployment), host), name)
            both = deployment, config.deployment[other]
            if all(one.design.nve.on_each_host for one in both):
                continue
            if both[0].vtep_of(host) != both[1].vtep_of(host):
                what = f"deployment '{other}' has this host with another VTEP: a host has one, on all its switches"
                yield ("deployment", name, "host", host), what


def _nics_in_two_deployments(config: Config) -> Iterator[Misfit]:
    """A physical NIC is an uplink of one switch."""
    first: dict[tuple[str, str, str], str] = {}
    for name, deployment in config.deployment.items():
        for host, settings in deployment.host.items():
            for nic in settings.nics:
                if (other := first.setdefault((config.vcenter_of(deployment), host, nic), name)) != name:
                    what = f"{nic} of this host is that of deployment '{other}' already: a NIC is on one switch"
                    yield ("deployment", name, "host", host, "nics"), what
