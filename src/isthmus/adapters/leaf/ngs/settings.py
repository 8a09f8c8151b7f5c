"""How one switch is reached by networking-generic-switch, and which of it is ours to use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from isthmus.adapters.leaf.ngs.needs import NEEDS, YES, Needs
from isthmus.model.tags import ALL_VIDS, MAX_VID, VidSet

CONNECTION = frozenset(
    (
        *("alt_host_keys", "alt_key_file", "allow_agent", "auth_timeout", "banner_timeout", "blocking_timeout"),
        *("conn_timeout", "disable_sha2_fix", "encoding", "fast_cli", "global_cmd_verify", "global_delay_factor"),
        *("keepalive", "key_file", "port", "read_timeout_override", "session_timeout", "ssh_config_file"),
        *("ssh_strict", "system_host_keys", "timeout", "use_keys", "username"),
    )
)
"""Options that are netmiko's, beside the switch's address and its secrets."""
MAPPING = frozenset(
    (
        *("ngs_bgp_asn", "ngs_bum_replication_mode", "ngs_evpn_route_target", "ngs_evpn_vni_config"),
        *("ngs_manage_vlans", "ngs_nve_interface", "ngs_vtep_name", "ngs_vxlan_interface"),
        *("ngs_network_name_format", "ngs_save_configuration", "ngs_ssh_connect_interval", "ngs_ssh_connect_timeout"),
        *("ngs_ssh_disabled_algorithms", "ngs_ssh_reuse_connection", "ngs_trunk_ports"),
    )
)
"""Its own options that mean something for VLANs and VNIs."""
IDLE = frozenset(
    (
        *("ngs_batch_requests", "ngs_bounce_ports_on_plug", "ngs_commit_interval", "ngs_commit_timeout"),
        *("ngs_disable_inactive_ports", "ngs_mac_address"),
        *("ngs_manage_mtu", "ngs_max_connections", "ngs_physical_networks", "ngs_port_bpdu_guard"),
        *("ngs_port_default_mtu", "ngs_port_default_vlan", "ngs_port_id_re_sub", "ngs_port_stp_edge"),
        *("ngs_security_groups_enabled", "ngs_switchport_mode", "ngs_trunk_port_mtu"),
    )
)
"""Those for Neutron, for bare-metal ports, and for how the library itself tries again: taken, so that a file of its own
fits, and without effect."""
INSTEAD = {"ngs_allowed_ports": "the hosts' ports", "ngs_allowed_vlans": "vids"}
"""What an option is said by here."""
OURS = {
    "ssh_strict": "True",  # a switch that cannot prove who it is gets neither password nor commands
    "system_host_keys": "True",
    "ngs_ssh_connect_timeout": "0",  # one try for each look: the loop waits, and no account is locked by many
    "ngs_ssh_reuse_connection": "True",
}
"""What stands for options that are not given; the rest are networking-generic-switch's own defaults."""


UNKNOWN_TYPE = Needs(("ngs_bgp_asn",), "Ethernet4")


def unknown(option: str) -> str:
    """Why a key of a leaf's table is no option of such a switch; empty if it is one."""
    if option in ("password", "secret"):
        return f"a password does not belong in this file: use {option}_file or {option}_env"
    if option in INSTEAD:
        return f"is said by {INSTEAD[option]}: take it out"
    return "" if option in CONNECTION | MAPPING | IDLE else "unknown key"


def no_secrets() -> Mapping[str, str]:
    """A switch that is entered with a key."""
    return {}


@dataclass(frozen=True, slots=True)
class NgsSettings:
    """One switch.  Raises ValueError for what cannot work, with a line for each setting and its remedy.

    `options` are networking-generic-switch's own, by its own names.  The two switches of an MLAG pair are two of
    these, alike but for `address`.
    """

    device_type: str
    address: str
    ports: tuple[str, ...]
    """The host-facing ports: all of them carry all VIDs of ours, tagged."""
    vids: VidSet
    """What is mapped in this range is ours; the rest is not, and is left alone."""
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Callable[[], Mapping[str, str]] = no_secrets
    """Passwords by option, looked up anew for each connection.  Raises Refused if there is none."""

    def __post_init__(self) -> None:
        if wrong := list(self._wrong()):
            raise ValueError("\n".join(wrong))

    def _wrong(self) -> Iterator[str]:
        if self.device_type not in NEEDS:
            yield (
                f"device_type {self.device_type!r}: what such a switch holds cannot be read back, and an accepted "
                f"command is not an applied one, so it is not driven; there are: {', '.join(NEEDS)}.  "
                "Another controller may drive it: driver 'external'"
            )
        yield from (f"{option}: {why}" for option in self.options if (why := unknown(option)))
        if not self.ports or not all(self.ports):
            yield f"ports is empty: name the switch ports that hosts are connected to, such as {self._needs.example}"
        if self.vids == ALL_VIDS:
            yield "vids is every VID: nothing on such a switch says whose it is, so name the range that is isthmus's"
        if self._needs.lowest_vid > 1 and 1 in self.vids:
            yield f"vids has 1: {self.device_type} has it untagged on every trunk that is told no other: leave it out"
        highest = self._needs.highest_vid
        if highest < MAX_VID and (kept := self.vids & VidSet.of(f"{highest + 1}-{MAX_VID}")):
            yield f"vids has {kept}: {self.device_type} keeps these for itself: leave out what is above {highest}"
        for option in self._needs.required:
            if not self.options.get(option):
                yield f"{option} is missing: without it {self.device_type} maps no VID to a VNI"
        if self.options.get("ngs_manage_vlans", "true").strip().lower() not in YES:
            yield "ngs_manage_vlans: VLANs are made and removed with their VNIs: take it out"
        yield from self._needs.wrong(self.options)

    @property
    def _needs(self) -> Needs:
        return NEEDS.get(self.device_type, UNKNOWN_TYPE)

    @property
    def lowest_vni(self) -> int:
        """Such a switch has no VNI below."""
        return self._needs.lowest_vni

    @property
    def members(self) -> tuple[str, ...]:
        """The ports that have each VID of ours: the hosts', and those that have all (``ngs_trunk_ports``).

        A port that has several names is called by one of them, which is the one that is read from the switch.
        """
        trunks = (port.strip() for port in self.options.get("ngs_trunk_ports", "").split(","))
        return tuple(dict.fromkeys(self._needs.port(port) for port in (*self.ports, *trunks) if port))

    @property
    def device(self) -> dict[str, str]:
        """The options as networking-generic-switch takes them, without secrets."""
        given = {name: value for name, value in self.options.items() if name not in IDLE | {"ngs_trunk_ports"}}
        return {**OURS, **self._needs.defaults, **given, "device_type": self.device_type, "ip": self.address}
