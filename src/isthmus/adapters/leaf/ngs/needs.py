"""What each device type that is driven must be told by its operator, and what it must not.

Law: what cannot work is refused where it is configured, with its remedy, and not on the switch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from isthmus.adapters.leaf.ngs import ports
from isthmus.model.tags import MAX_VID

Options = Mapping[str, str]
YES = ("true", "yes", "on", "1", "t", "y")
"""How the library reads a switch of its own that is on."""


def _nothing(_: Options) -> Iterator[str]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Needs:
    """One device type."""

    required: tuple[str, ...]
    """The options without which it maps no VID to a VNI."""
    example: str
    """What one of its ports is called."""
    port: Callable[[str], str] = str
    """The one name of a port that has several."""
    wrong: Callable[[Options], Iterator[str]] = _nothing
    """What cannot work, a line for each."""
    lowest_vni: int = 1
    lowest_vid: int = 1
    """VLAN 1 is the native VLAN of every trunk that no statement gives another."""
    highest_vid: int = MAX_VID
    """It keeps the VLANs above for itself."""
    defaults: Options = field(default_factory=dict)
    """What stands for options that are not given, instead of networking-generic-switch's own."""


def no_multicast(options: Options) -> Iterator[str]:
    """Frames for all go to each VTEP that BGP names: a group for them could not be read back."""
    mode = options.get("ngs_bum_replication_mode", "ingress-replication")
    if mode != "ingress-replication":
        yield f"ngs_bum_replication_mode {mode!r}: is not read back, so only 'ingress-replication' is driven"


def evpn_vni_config(options: Options) -> bool:
    """EVPN is told of each VNI, as the library reads that option."""
    return options.get("ngs_evpn_vni_config", "false").strip().lower() in ("true", "yes", "1")


def _eos_wrong(options: Options) -> Iterator[str]:
    yield from no_multicast(options)
    target = options.get("ngs_evpn_route_target", "auto")
    if target != "auto":  # all networks would be in each other's
        yield f"ngs_evpn_route_target {target!r}: is one for all networks, so that each hears the others: say 'auto'"
    vxlan = options.get("ngs_vxlan_interface", "Vxlan1")
    if ports.eos(vxlan) != "Vxlan1":
        yield f"ngs_vxlan_interface {vxlan!r}: such a switch has Vxlan1 and no other: take it out"
    if not options.get("ngs_bgp_asn", "0").isdecimal():
        yield f"ngs_bgp_asn {options['ngs_bgp_asn']!r}: is not found in the switch's configuration: say it as a number"


def _nxos_wrong(options: Options) -> Iterator[str]:
    yield from no_multicast(options)
    nve = options.get("ngs_nve_interface", "nve1")
    if not re.fullmatch(r"nve\d+", ports.nxos(nve)):
        yield f"ngs_nve_interface {nve!r}: is no NVE interface: say one such as nve1, or take it out"


def _nvue_wrong(options: Options) -> Iterator[str]:
    yield from no_multicast(options)
    if evpn_vni_config(options):
        yield "ngs_evpn_vni_config: NVUE tells EVPN of every VNI by itself, and undoes what FRR is told: take it out"


JUNOS_NAMES = {"ngs_network_name_format": "vlan{segmentation_id}"}
"""Of a network's number in hexadecimal digits, as the library has it, a command line cannot tell name from VLAN."""


def _junos_wrong(options: Options) -> Iterator[str]:
    yield from no_multicast(options)
    if evpn_vni_config(options) and not options.get("ngs_bgp_asn", "").isdecimal():
        yield "ngs_evpn_vni_config: makes a route target of ngs_bgp_asn and the VNI: say ngs_bgp_asn, as a number"
    if options.get("ngs_save_configuration", "true").strip().lower() not in YES:
        yield "ngs_save_configuration: to Junos saving is committing, without which nothing is done: take it out"
    name = {**JUNOS_NAMES, **options}["ngs_network_name_format"]
    try:
        one, other = (name.format(network_id=f"{vid:032x}", segmentation_id=vid) for vid in (101, 102))
    except (KeyError, IndexError, ValueError):
        one = other = ""
    if one == other or not re.fullmatch(r"[A-Za-z][\w.-]*", one):
        yield (
            f"ngs_network_name_format {name!r}: is to be a name of its own for each VLAN, which begins with a letter: "
            "say one such as 'vlan{segmentation_id}', or take it out"
        )


NEEDS: Mapping[str, Needs] = {
    "netmiko_sonic": Needs(("ngs_vtep_name", "ngs_bgp_asn"), "Ethernet4", wrong=no_multicast),
    "netmiko_cumulus_nvue": Needs((), "swp1", wrong=_nvue_wrong),
    "netmiko_arista_eos": Needs(("ngs_bgp_asn",), "Ethernet4", ports.eos, _eos_wrong, lowest_vid=2),
    "netmiko_cisco_nxos": Needs(
        (), "Ethernet1/4", ports.nxos, _nxos_wrong, lowest_vni=4096, lowest_vid=2, highest_vid=3967
    ),
    "netmiko_juniper": Needs((), "xe-0/0/4", ports.junos, _junos_wrong, defaults=JUNOS_NAMES),
}
"""By the names that networking-generic-switch has for them: those whose VLANs and VNIs can be read back."""
