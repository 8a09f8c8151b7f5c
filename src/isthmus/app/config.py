"""What the configuration file may say.  How its parts fit together is checked in settings.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from socket import gethostname
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from isthmus.app.hands import Policy
from isthmus.core.design import DESIGNS, Design, IntentFrom
from isthmus.model.names import bios_uuid, vtep
from isthmus.model.tags import ALL_VIDS, NO_VIDS, VidSet


def _vids(value: object) -> VidSet:
    match value:
        case VidSet():
            return value
        case bool():
            pass
        case int():
            return VidSet.of([value])
        case str():
            return VidSet.of(value)
    raise ValueError('must be text such as "100-199,300"')


def _some_vids(vids: VidSet) -> VidSet:
    if not vids:
        raise ValueError("the range is empty, so no network can be given a VID")
    return vids


def _design(value: object) -> Design:
    if isinstance(value, Design):
        return value
    if not isinstance(value, str) or value not in DESIGNS:
        raise ValueError(f"there is no design {value!r}; there are: {', '.join(DESIGNS)}")
    return DESIGNS[value]


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as wrong:
        raise ValueError(f"not a URL: {wrong}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise ValueError("must be a URL such as https://vcenter.example/sdk")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold neither user nor password: use user, and password_file or password_env")
    return value


def _serve(value: object) -> object:
    return (value,) if isinstance(value, str) and value not in ("all", "here") else value


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _leaf(value: object) -> object:
    """A leaf's table as its driver reads it."""
    if not isinstance(value, dict):
        return value
    kind = LEAF_DRIVERS.get(value["driver"]) if isinstance(value.get("driver"), str) else None
    if kind is None:  # then its driver is all that can be judged
        return LeafConfig.model_validate({key: value[key] for key in value.keys() & {"driver"}})
    return kind.model_validate(value)


def _driver(value: str) -> str:
    if value not in LEAF_DRIVERS:
        raise ValueError(f"there is no driver {value!r}; there are: {', '.join(LEAF_DRIVERS)}")
    return value


def _option(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _owner(value: str) -> str:
    if not value.isascii() or not value.isprintable() or any(char in value for char in " ;=,\"'"):
        raise ValueError("must be ASCII without spaces, quotes, commas, semicolons or '=': it goes into owner marks")
    return value


Vids = Annotated[VidSet, BeforeValidator(_vids)]
SomeVids = Annotated[VidSet, BeforeValidator(_vids), AfterValidator(_some_vids)]
Url = Annotated[str, AfterValidator(_url)]
Urls = Annotated[tuple[Url, ...], BeforeValidator(_several)]
"""One, or a list of them."""
Seconds = Annotated[float, Field(gt=0, le=86400)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_several)]
"""One, or a list of them."""
Vtep = Annotated[str, AfterValidator(vtep)]
BiosUuid = Annotated[str, AfterValidator(bios_uuid)]


class Section(BaseModel):
    """Unknown keys are refused: a misspelt key must not be a silent default."""

    # Without hide_input a message would show what was in the file, and that may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)


class VcenterConfig(Section):
    """A vCenter and how to log in to it.  Its password is never here: settings.py finds it where this says."""

    url: Url
    user: Text
    password_file: Path | None = None
    password_env: Text | None = None
    ca_file: Path | None = None
    thumbprint: Text | None = None
    insecure: bool = False
    timeout: Seconds = 30.0
    task_timeout: Seconds = 120.0


class NeutronConfig(Section):
    """Neutron's message bus.  Its URL holds a password, so it is never here: a file or a variable holds it."""

    url_file: Path | None = None
    url_env: Text | None = None
    options_file: Path | None = None
    timeout: Seconds = 30.0


class KeystoneConfig(Section):
    """Where a user of OpenStack's gets a token for the api-server."""

    url: Url
    user_domain: Text = "Default"
    project: Text = "admin"
    project_domain: Text = "Default"


class ContrailConfig(Section):
    """A Contrail api-server, or several that are one.  The password is never here: settings.py finds it."""

    url: Annotated[Urls, Field(min_length=1)]
    projects: Texts = ()
    """Those whose networks get port groups, ``domain:project`` or ``project``; none: all."""
    mode: Literal["vcenter-only", "vcenter-as-compute"] = "vcenter-only"
    """Who makes VMs and their ports there: isthmus, or Nova and Neutron."""
    adopt: bool = False
    """Put ours in the place of ports of the older Contrail programs, with their addresses."""
    user: Text | None = None
    password_file: Path | None = None
    password_env: Text | None = None
    keystone: KeystoneConfig | None = None
    """Without it `user` is the api-server's own (basic authentication)."""
    ca_file: Path | None = None
    bus_url_file: Path | None = None
    """Its message bus, where it has no /watch.  The URL holds a password: a file or a variable holds it."""
    bus_url_env: Text | None = None
    guest_addresses: bool = False
    """Read what VMware Tools tell of addresses, for networks whose addresses Contrail does not give."""
    timeout: Seconds = 10.0
    poll: Seconds = 5.0

    @property
    def listens_to_bus(self) -> bool:
        """Whether its message bus is known."""
        return self.bus_url_file is not None or self.bus_url_env is not None


class IntentConfig(Section):
    """Where wanted networks come from: one of these."""

    file: Path | None = None
    neutron: NeutronConfig | None = None
    contrail: ContrailConfig | None = None

    @property
    def source(self) -> IntentFrom | None:
        """Which of them; None if it is not one."""
        given = {IntentFrom.FILE: self.file, IntentFrom.NEUTRON: self.neutron, IntentFrom.CONTRAIL: self.contrail}
        found = [source for source, said in given.items() if said is not None]
        return found[0] if len(found) == 1 else None

    @property
    def place(self) -> str:
        """The source, as people know it."""
        return str(self.file) if self.file is not None else "Neutron" if self.neutron is not None else "Contrail"


class TlsConfig(Section):
    """The files for an OVS reached over ssl:."""

    key: Path
    certificate: Path
    ca: Path


class OpenFlowConfig(Section):
    """Where the bridges' OpenFlow is reached over ssl:, ``ssl:host:port``."""

    br_int: Text = Field(alias="br-int")
    br_tun: Text = Field(alias="br-tun")


OPEN_VSWITCH = "unix:/run/openvswitch/db.sock"
"""The OVSDB of the machine that isthmus runs on."""


class ApplianceConfig(Section):
    """The OVS of an appliance; what a host leaves out is taken from the deployment's `appliance`."""

    ovsdb: Text | None = None
    rundir: Path | None = None
    trunk: Annotated[str, Field(pattern=r"^[^\s/]{1,15}$")] | None = None
    datapath_type: Literal["system", "netdev"] | None = None
    vxlan_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    timeout: Seconds | None = None
    tls: TlsConfig | None = None
    openflow: OpenFlowConfig | None = None

    @property
    def sockets(self) -> Path | None:
        """Where the bridges' OpenFlow sockets are: beside that of the OVSDB, if nothing else is said."""
        here = (self.ovsdb or OPEN_VSWITCH).removeprefix("unix:")
        return self.rundir or (Path(here).parent if here.startswith("/") else None)


class HostConfig(ApplianceConfig):
    """An ESXi host, by its name in vCenter, with an appliance of its own (`vtep`) or below a leaf."""

    vtep: Vtep | None = None
    bios_uuid: BiosUuid | None = None
    """That of the appliance VM, by which vCenter says on which host it is."""
    vrouter: Url | None = None
    """Where the port API of its vRouter agent is; without it at its `vtep`, port 9091."""
    reserved: Vids = NO_VIDS
    leaf: Text | None = None
    ports: Texts = ()
    """The ports, or LAGs, of the leaf that its uplinks are connected to; those of a pair have the same names."""
    lldp_ports: Texts = ()
    """What LLDP calls them, where that is something else: the members of a LAG, say."""
    dvs: Text | None = None
    """For `prepare`: which of the deployment's switches it is to be on."""
    nics: Texts = ()
    """For `prepare`: the physical NICs that it is to bring to that switch."""


class LeafConfig(Section):
    """A leaf switch that is a VTEP, or a pair that acts as one, whoever tells it what a VID means."""

    driver: Annotated[str, AfterValidator(_driver)]
    vtep: Vtep | None = None
    lldp_name: Texts = ()
    """What LLDP calls it, or each member of a pair, where that is neither its name here nor `switch`."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is spoken to; of a pair, each member."""
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        """What else it is called, on itself."""
        return ()


class HwvtepLeafConfig(LeafConfig):
    """One with an OVSDB of schema hardware_vtep."""

    target: Annotated[Texts, Field(min_length=1, max_length=2)]
    vtep: Vtep
    switch: Text | None = None
    timeout: Seconds | None = None
    tls: TlsConfig | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its databases."""
        return self.target

    @property
    def names(self) -> tuple[str, ...]:
        """Its Physical_Switch's."""
        return () if self.switch is None else (self.switch,)


class NgsLeafConfig(LeafConfig):
    """One that networking-generic-switch speaks to: keys that are not here are that library's, and it judges them."""

    model_config = ConfigDict(extra="allow")

    device_type: Text
    ip: Annotated[Texts, Field(min_length=1, max_length=2)]
    vtep: Vtep
    username: Text
    key_file: Path | None = None
    alt_key_file: Path | None = None
    ssh_config_file: Path | None = None
    password_file: Path | None = None
    password_env: Text | None = None
    secret_file: Path | None = None
    secret_env: Text | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its ssh servers."""
        return self.ip

    @property
    def options(self) -> dict[str, str]:
        """The library's own options, as text."""
        named = {key: getattr(self, key) for key in ("username", "key_file", "alt_key_file", "ssh_config_file")}
        given = {**named, **(self.model_extra or {})}
        return {key: _option(value) for key, value in given.items() if value is not None}


class ExternalLeafConfig(LeafConfig):
    """One that another controller tells: nothing of it is read or written."""


LEAF_DRIVERS: Mapping[str, type[LeafConfig]] = {
    "hwvtep": HwvtepLeafConfig,
    "ngs": NgsLeafConfig,
    "external": ExternalLeafConfig,
}


class ComputeConfig(Section):
    """A nova-compute host whose VMs are on a switch of the deployment."""

    dvs: Text | None = None
    host: Text | None = None
    """The one ESXi host that it stands for, where Neutron's own agent runs on the appliance."""


class AttachedConfig(Section):
    """A machine below a leaf that is no ESXi host: a network node, a bare host.  By its name in Neutron."""

    leaf: Text
    ports: Annotated[Texts, Field(min_length=1)]


class SecurityConfig(Section):
    """What VMs may do with MACs that are not their own, in all port groups of a deployment; what is not said stays."""

    forged_transmits: bool | None = None
    promiscuous: bool | None = None
    mac_changes: bool | None = None


class DeploymentConfig(Section):
    """One design on one distributed switch, or on several that lie in one tag scope."""

    design: Annotated[Design, BeforeValidator(_design)]
    vcenter: Text | None = None
    dvs: Annotated[Texts, Field(min_length=1)]
    serve: Annotated[Literal["all", "here"] | tuple[Text, ...], BeforeValidator(_serve)] = "all"
    """``here``: settings.py puts the host in its place whose appliance this machine is."""
    port_groups: bool = True
    observe_only: bool = False
    vids: SomeVids = ALL_VIDS
    reserved: Vids = NO_VIDS
    reuse: bool = False
    security: SecurityConfig = SecurityConfig()
    mtu: Annotated[int, Field(ge=1280, le=9000)] = 1500
    """For `prepare`: what the switches must carry."""
    trunk_port_group: Text | None = None
    """For `check` and `prepare`: the port group of the appliances' trunk NICs.  Without it, any fitting one will do."""
    by_hand: Policy = Policy.ENFORCE
    """What to do about port groups of ours whose settings another hand changed."""
    appliance: ApplianceConfig = ApplianceConfig()
    leaf: Mapping[str, Annotated[LeafConfig, BeforeValidator(_leaf)]] = Field(default_factory=dict)
    host: Mapping[str, HostConfig] = Field(default_factory=dict)
    attached: Mapping[str, AttachedConfig] = Field(default_factory=dict)
    domain: Text | None = None
    """What Neutron calls its tag scope: a physical network.  Without it: the deployment's name."""
    compute: Mapping[str, ComputeConfig] = Field(default_factory=dict)

    @property
    def served(self) -> tuple[str, ...]:
        """The names of the hosts whose tags and NVEs this process writes."""
        return tuple(self.host) if self.serve == "all" else () if self.serve == "here" else self.serve

    def vtep_of(self, host: str) -> str | None:
        """Where frames for the VMs of a host are sent: to its appliance, or to its leaf."""
        settings = self.host[host]
        leaf = self.leaf.get(settings.leaf) if settings.leaf is not None else None
        return settings.vtep if leaf is None else leaf.vtep

    def dvs_of(self, host: str) -> str | None:
        """The switch that a host is to be on; None if the configuration does not say which of several."""
        return self.host[host].dvs or (self.dvs[0] if len(self.dvs) == 1 else None)

    def compute_of(self, host: str) -> str | None:
        """The nova-compute host that stands for an ESXi host alone, and so what its Neutron agent is called."""
        return next((name for name, compute in self.compute.items() if compute.host == host), None)

    @property
    def own_leaves(self) -> tuple[str, ...]:
        """The leaves that are told what a VID means by us, and not by another controller."""
        return tuple(leaf for leaf, found in self.leaf.items() if not isinstance(found, ExternalLeafConfig))

    def ports_of(self, leaf: str) -> tuple[str, ...]:
        """The ports of a leaf that hosts are connected to."""
        below: tuple[HostConfig | AttachedConfig, ...] = (*self.host.values(), *self.attached.values())
        return tuple(port for machine in below if machine.leaf == leaf for port in machine.ports)


class LoopConfig(Section):
    """How often, how soon again, how many times."""

    resync: Seconds = 60.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.2
    move_deadline: Seconds = 600.0
    backoff_first: Seconds = 1.0
    backoff_longest: Seconds = 60.0
    passes: Annotated[int, Field(ge=1, le=50)] = 6


class GuardConfig(Section):
    """How many guarded changes (deletes, retags of open ports) one round may make without an operator's agreement."""

    count: Annotated[int, Field(ge=0)] = 10
    share: Annotated[float, Field(ge=0, le=1)] = 0.3


class StatusConfig(Section):
    """Where a running daemon can be asked, and where it remembers what it was told."""

    socket: Path = Path("/run/isthmus/isthmus.sock")
    state: Path | None = Path("/var/lib/isthmus")


class LeaderConfig(Section):
    """The ZooKeeper whose lock says which of several processes writes."""

    zookeeper: Annotated[Texts, Field(min_length=1)]
    """Its servers, ``host:port``."""
    lease: Annotated[float, Field(ge=6, le=40)] = 15.0
    """Seconds after which the lock of a process that fell silent is free."""
    name: Text = Field(default_factory=gethostname)
    """What this process is called in `show`."""


class LogConfig(Section):
    """What is logged, to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """The whole file."""

    installation: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_owner)] = "isthmus"
    vcenter: Mapping[str, VcenterConfig] = Field(default_factory=dict)
    intent: IntentConfig
    deployment: Annotated[Mapping[str, DeploymentConfig], Field(min_length=1)]
    loop: LoopConfig = LoopConfig()
    guard: GuardConfig = GuardConfig()
    status: StatusConfig = StatusConfig()
    log: LogConfig = LogConfig()
    leader: LeaderConfig | None = None

    def vcenter_of(self, deployment: DeploymentConfig) -> str:
        """The name of the vCenter that a deployment is on."""
        return deployment.vcenter or next(iter(self.vcenter))

    def appliance_of(self, deployment: DeploymentConfig, host: str) -> ApplianceConfig:
        """The OVS of a host's appliance, defaults filled in."""
        own, common = deployment.host[host], deployment.appliance
        return ApplianceConfig.model_construct(
            **{
                key: getattr(own, key) if getattr(own, key) is not None else getattr(common, key)
                for key in ApplianceConfig.model_fields
            }
        )
