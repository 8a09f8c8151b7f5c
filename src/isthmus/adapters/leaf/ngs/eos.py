"""How Arista EOS tells what it holds, as JSON.

Law: a port is read as it is configured, up or down.  A trunk carries of the VLANs that it allows those that there are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isthmus.adapters.leaf.ngs.held import Held, Vlan
from isthmus.adapters.leaf.ngs.kind import Kind, nonsense
from isthmus.model.faults import Retry
from isthmus.model.tags import ALL_VIDS, Vid, VidSet, Vni

_VXLAN = "Vxlan1"  # there is no other
_ITSELF = "Cpu"


def _eos(answers: Sequence[str]) -> Held:
    vlans, ports, vxlan = (_json(answer) for answer in answers)
    try:
        return _held(vlans["vlans"], ports["switchports"], vxlan["interfaces"][_VXLAN]["vlanToVniMap"])
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as wrong:  # it lacks what is asked for, or has no such number
        raise nonsense(f"{type(wrong).__name__}: {wrong}") from wrong


def _json(answer: str) -> Any:
    try:
        return json.loads(answer)
    except ValueError as wrong:
        raise nonsense(answer) from wrong


def _held(vlans: Mapping[str, Any], ports: Mapping[str, Any], maps: Mapping[str, Any]) -> Held:
    vnis = {Vid(int(vid)): Vni(entry["vni"]) for vid, entry in maps.items()}
    # One that it made for itself, below a routed port or a VRF, is on no port that is configured.
    own = {Vid(int(vid)) for vid, vlan in vlans.items() if vlan["dynamic"]}
    there = {Vid(int(vid)) for vid in vlans} | vnis.keys()
    tagged: defaultdict[Vid, set[str]] = defaultdict(set)
    untagged: defaultdict[Vid, set[str]] = defaultdict(set)
    for vid in own:
        untagged[vid].add(_ITSELF)
    for port, found in ports.items():
        if found["enabled"]:  # else it is routed
            for vid, bare in _carried(port, found["switchportInfo"]):
                (untagged if bare else tagged)[vid].add(port)
    return {vid: Vlan(vnis.get(vid), frozenset(tagged[vid]), frozenset(untagged[vid])) for vid in sorted(there)}


def _carried(port: str, info: Mapping[str, Any]) -> Iterator[tuple[Vid, bool]]:
    """Its VLANs, and whether without a tag."""
    match info["mode"]:
        case "access" | "dot1qTunnel":
            yield Vid(info["accessVlanId"]), True
        case "trunk":
            for vid in _allowed(info["trunkAllowedVlans"]):
                yield vid, vid == info["trunkingNativeVlanId"]
        case mode:
            raise Retry(f"{port} is in switchport mode {mode!r}: what it carries is not known")


def _allowed(said: str) -> VidSet:
    match said.upper():
        case "ALL":
            return ALL_VIDS
        case "NONE":
            return VidSet()
        case "":
            raise ValueError("trunkAllowedVlans is empty")
    return VidSet.of(said)


EOS = Kind(
    ("show vlan | json", "show interfaces switchport | json", f"show interfaces {_VXLAN} | json"),
    _eos,
    ("write memory",),  # networking-generic-switch leaves it to netmiko
    ("configure terminal", "end"),
)
