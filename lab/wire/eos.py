"""The command line of an Arista EOS switch in memory, as far as isthmus and its library ask, from its documentation.

Law: what it shows of a VLAN is who hears it, whatever put him there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.wire.modal import Complaint, ModalSwitch, SwitchPort

MODES = frozenset({"access", "trunk", "dot1q-tunnel"})


@dataclass(slots=True)
class EosSwitch(ModalSwitch):
    """The modes and shows of EOS."""

    SAVE = "write memory", "Copy completed successfully."
    INVALID = "% Invalid input"
    LAG = "Port-Channel"

    asn: int = 65000
    dynamic: set[int] = field(default_factory=set)
    """VLANs that it made for itself."""
    vrfs: dict[int, int] = field(default_factory=dict)
    """The VNIs of VRFs, by the VLANs that it makes for them, which newer releases number above 4094."""
    told: dict[int, list[str]] = field(default_factory=dict)
    """What BGP was told of a VLAN."""
    vxlan: tuple[str, ...] | None = ("vxlan source-interface Loopback1", "vxlan udp-port 4789")
    """What stands below Vxlan1; None: there is no such interface."""
    bgp: tuple[str, ...] = ("address-family evpn", "   neighbor SPINES activate")
    peer: EosSwitch | None = field(default=None, repr=False, compare=False)
    """The other switch of an MLAG pair: its ports that are not in the pair's LAGs are shown with a VLAN too."""

    def shown_as(self, mode: str) -> str:
        """With the name of what is configured."""
        return mode.replace(" ", "-")

    def in_mode(self, mode: str, line: str) -> str | None:
        """The modes that lead to a binding."""
        kind, _, name = mode.partition(" ")
        match kind:
            case "config":
                return self._globally(line)
            case "vlan":
                return self._of_vlan(int(name), line)
            case "router":
                return self._of_bgp(line)
            case "macvrf":
                return self._tell(int(name), line)
            case "if" if name == "Vxlan1":
                return self._of_vxlan(line)
            case "if" if name.startswith("Vlan"):
                return None
            case _:
                return self._of_port(self.ports[name], line)

    def _globally(self, line: str) -> str | None:
        match line.split():
            case ["vlan", vid]:
                if int(vid) in self.dynamic:
                    raise Complaint(f"% Failed to create VLANs: {vid} (VLAN is internal)")
                self.vlans.setdefault(int(vid), [])
                return f"vlan {vid}"
            case ["no", "vlan", vid]:
                self.vlans.pop(int(vid), None)
                return ""
            case ["interface", name] if name in self.ports or (name == "Vxlan1" and self.vxlan is not None):
                return f"if {name}"
            case ["interface", name] if found := re.fullmatch(r"Vlan(\d+)", name):
                self.svis.add(int(found[1]))
                return f"if {name}"
            case ["router", "bgp", asn]:
                if int(asn) != self.asn:
                    raise Complaint(f"% BGP is already running with AS number {self.asn}")
                return "router bgp"
        return None

    def _of_vlan(self, vid: int, line: str) -> str | None:
        if not line.startswith(("name ", "trunk group ", "state ", "private-vlan ")):
            return None
        self.vlans[vid] = [said for said in self.vlans[vid] if said.split()[0] != line.split()[0]] + [line]
        return ""

    def _of_bgp(self, line: str) -> str | None:
        match line.split():
            case ["vlan", vid]:
                self.told.setdefault(int(vid), [])
                return f"macvrf {vid}"
            case ["no", "vlan", vid]:
                self.told.pop(int(vid), None)
                return ""
        return None

    def _tell(self, vid: int, line: str) -> str | None:
        if not re.fullmatch(r"rd \S+|redistribute learned|route-target (both|import|export) (auto )?\S+", line):
            return None
        if line not in self.told[vid]:
            self.told[vid].append(line)
        return ""

    def _of_vxlan(self, line: str) -> str | None:
        match line.split():
            case ["vxlan", "vlan", vid, "vni", vni]:
                if self.maps.get(int(vid), int(vni)) != int(vni):
                    raise Complaint(f"% VLAN {vid} is already mapped to VNI {self.maps[int(vid)]}")
                if any(held == int(vni) and other != int(vid) for other, held in self.maps.items()):
                    raise Complaint(f"% VNI {vni} is already mapped to another VLAN")
                self.maps[int(vid)] = int(vni)
                return ""
            case ["no", "vxlan", "vlan", vid, "vni", vni]:
                if self.maps.get(int(vid)) == int(vni):
                    del self.maps[int(vid)]
                return ""
        return None

    def _of_port(self, port: SwitchPort, line: str) -> str | None:
        if not port.told(line, MODES):
            return None
        if line.startswith("switchport access vlan "):
            self.vlans.setdefault(port.access, [])
        return ""

    def show(self, line: str) -> str:
        """What isthmus and its library ask for."""
        match line:
            case "show running-config":
                return "\n".join(self._config())
            case "show vlan | json":
                return self._vlans(lambda port: port.up)
            case "show vlan configured-ports | json":
                return self._vlans(lambda port: True)
            case "show interfaces Vxlan1 | json" if self.vxlan is None:
                return json.dumps({"errors": ["Interface does not exist"]}, indent=4)
            case "show interfaces Vxlan1 | json":
                maps = {str(vid): {"vni": vni, "source": ""} for vid, vni in sorted(self.maps.items())}
                maps |= {str(vid): {"vni": vni, "source": "evpn"} for vid, vni in self.vrfs.items()}
                return json.dumps({"interfaces": {"Vxlan1": {"name": "Vxlan1", "vlanToVniMap": maps}}}, indent=4)
        raise Complaint(self.INVALID)

    def _vlans(self, counts: Callable[[SwitchPort], bool]) -> str:
        found = {str(vid): self._vlan(vid, counts) for vid in sorted({1, *self.vlans, *self.dynamic, *self.vrfs})}
        return json.dumps({"sourceDetail": "", "vlans": found}, indent=4)

    def _vlan(self, vid: int, counts: Callable[[SwitchPort], bool]) -> dict[str, object]:
        names = [name for name in self.members(vid) if counts(self.ports[name])]
        if self.peer is not None:
            theirs = (name for name in self.peer.members(vid) if counts(self.peer.ports[name]))
            names += [f"Peer{name}" for name in theirs if not name.startswith("Port-Channel")]
        names += ["Cpu"] * (vid in self.svis) + ["Vxlan1"] * (vid in self.maps)
        shown = {name: {"privatePromoted": False} for name in names}
        dynamic = vid in self.dynamic or vid in self.vrfs
        return {"name": f"VLAN{vid:04}", "dynamic": dynamic, "status": "active", "interfaces": shown}

    def _config(self) -> Iterator[str]:
        yield from ("! Command: show running-config", "! device: leaf1 (vEOS-lab, EOS-4.30.1F)", "!")
        yield from ("hostname leaf1", "!", "spanning-tree mode mstp", "no spanning-tree vlan-id 4094", "!")
        for vid, lines in sorted(self.vlans.items()):
            yield from (f"vlan {vid}", *(f"   {line}" for line in lines), "!")
        for name, port in self.ports.items():
            yield from (f"interface {name}", *(f"   {line}" for line in _of(port)), "!")
        for vid in sorted(self.svis):
            yield from (f"interface Vlan{vid}", "   ip address 192.0.2.129/28", "!")
        if self.vxlan is not None:
            maps = (f"vxlan vlan {vid} vni {vni}" for vid, vni in sorted(self.maps.items()))
            vrfs = (f"vxlan vrf TENANT{vni} vni {vni}" for vni in self.vrfs.values())
            yield from ("interface Vxlan1", *(f"   {line}" for line in (*self.vxlan, *maps, *vrfs)), "!")
        if self.more:
            yield self.more
        yield f"router bgp {self.asn}"
        for vid, lines in sorted(self.told.items()):
            yield from ("   !", f"   vlan {vid}", *(f"      {line}" for line in lines))
        yield from (*(f"   {line}" for line in self.bgp), "!", "end")


def _of(port: SwitchPort) -> Iterator[str]:
    words = port.words()
    if port.routed:
        yield "no switchport"
    yield from (words[about] for about in ("access", "native", "allowed", "mode", "lag") if about in words)
    if port.alone:
        yield "port-channel lacp fallback individual"
    yield from port.more
