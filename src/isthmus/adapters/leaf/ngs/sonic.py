"""SONiC: how it tells what it holds, and the words of a step.

Law: an answer without its heading, or with lines that are not understood, is no answer.  An empty table has a heading.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from isthmus.adapters.leaf.ngs.held import Held, Vlan
from isthmus.adapters.leaf.ngs.kind import Kind, Say, Words, complaints, nonsense, spelt
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.steps import Join, Leave, Make, Map, Remove, Step, Unmap
from isthmus.model.faults import Retry
from isthmus.model.tags import Vid, Vni

READS = ("show vlan config", "show vxlan vlanvnimap")
ROUTING_SAVED = 'vtysh -c "write memory"'
"""What BGP was told is not in SONiC's own configuration; networking-generic-switch does not have it saved."""
COMPLAINS = ("Error",)

_HEADING = re.compile(r"\s*Name\s+VID\s+Member\s+Mode\s*")
_MEMBER = re.compile(r"\s*Vlan(\d+)\s+\d+(?:\s+(\S+)\s+(\S+))?\s*")
_TAGGED = "tagged"
_RULE = re.compile(r"[\s+=|-]*")
_MAP_HEADING = re.compile(r"\|\s*VLAN\s*\|\s*VNI\s*\|")
_MAP = re.compile(r"\|\s*Vlan(\d+)\s*\|\s*(\d+)\s*\|")
_TOTAL = re.compile(r"Total count\s*:\s*(\d+)")


def understood(vlans: str, maps: str) -> Held:
    """What its two answers say.  Raises Retry if they say nothing."""
    try:
        return _held(vlans, maps)
    except ValueError as wrong:  # a number that no VLAN or VNI has
        raise nonsense(str(wrong)) from wrong


def _held(vlans: str, maps: str) -> Held:
    vnis = dict(_maps(maps))
    tagged: defaultdict[Vid, set[str]] = defaultdict(set)
    untagged: defaultdict[Vid, set[str]] = defaultdict(set)
    vids = set(vnis)
    for vid, port, mode in _members(vlans):
        vids.add(vid)
        if port:  # a mode that is neither, which SONiC shows as "?", is not ours either
            (tagged if mode == _TAGGED else untagged)[vid].add(port)
    held = {vid: Vlan(vnis.get(vid), frozenset(tagged[vid]), frozenset(untagged[vid])) for vid in sorted(vids)}
    return Held(held, shows_empty=False)  # older releases leave out one without ports


def _members(answer: str) -> Iterator[tuple[Vid, str, str]]:
    for line in _after(_HEADING, answer):
        if found := _MEMBER.fullmatch(line):
            yield Vid(int(found[1])), found[2] or "", found[3] or ""
        elif not _RULE.fullmatch(line):
            raise nonsense(line)


def _maps(answer: str) -> Iterator[tuple[Vid, Vni]]:
    count, total = 0, None
    for line in _after(_MAP_HEADING, answer):
        if found := _MAP.fullmatch(line.strip()):
            count += 1
            yield Vid(int(found[1])), Vni(int(found[2]))
        elif found := _TOTAL.fullmatch(line.strip()):
            total = int(found[1])
        elif not _RULE.fullmatch(line):
            raise nonsense(line)
    if count != total:
        raise Retry(f"the switch told {count} VNIs of {total}")


def _after(heading: re.Pattern[str], answer: str) -> list[str]:
    lines = answer.splitlines()
    for number, line in enumerate(lines):
        if heading.fullmatch(line.strip()):
            return lines[number + 1 :]
    raise nonsense(next((line for line in lines if line.strip()), ""))


def _read(say: Say, settings: NgsSettings) -> Held:
    # vlan_has_vni and vlan_has_ports ask for one VLAN each, and take some faults for an answer.
    return understood(*map(say, READS))


def _words(device: Any, step: Step) -> list[str]:
    made: list[str] = device._format_commands(device.ADD_NETWORK, segmentation_id=int(step.vid))
    subports = [{"segmentation_id": int(step.vid)}]
    match step:
        case Make():
            return made
        case Remove(vid):
            return list(device._format_commands(device.DELETE_NETWORK, segmentation_id=int(vid)))
        case Map(vid, vni):
            said = spelt(device, lambda device: device.plug_switch_to_network(int(vni), int(vid)))
        case Unmap(vid, vni):
            said = spelt(device, lambda device: device.unplug_switch_from_network(int(vni), int(vid)))
        case Join(_, _, port):
            said = spelt(device, lambda device: device.add_subports_on_trunk({}, port, subports))
        case Leave(_, port):
            said = spelt(device, lambda device: device.del_subports_on_trunk({}, port, subports))
    # The library makes the VLAN again with each of these, and a command takes a second.
    return [command for command in said if command not in made]


def _tell(say: Say, steps: Sequence[Words], settings: NgsSettings, revision: str) -> list[str]:
    return complaints([say(command) for words in steps for command in words], COMPLAINS)


def _save(say: Say, words: Words) -> list[str]:
    return complaints([say(command) for command in (ROUTING_SAVED, *words)], COMPLAINS)


SONIC = Kind(_read, _words, _tell, _save)
