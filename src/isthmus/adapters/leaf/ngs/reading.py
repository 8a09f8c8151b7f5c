"""How a switch tells what it holds, by device type: networking-generic-switch has no call that reads it all.

Law: an answer without its heading, or with lines that are not understood, is no answer.  An empty table has a heading.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from isthmus.adapters.leaf.ngs.held import Held, Vlan
from isthmus.model.faults import Retry
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class Reading:
    """The commands to give, and what becomes of their answers.  Raises Retry for what is no answer."""

    commands: tuple[str, ...]
    understood: Callable[[Sequence[str]], Held]


_HEADING = re.compile(r"\s*Name\s+VID\s+Member\s+Mode\s*")
_MEMBER = re.compile(r"\s*Vlan(\d+)\s+\d+(?:\s+(\S+)\s+(\S+))?\s*")
_TAGGED = "tagged"
_RULE = re.compile(r"[\s+=|-]*")
_MAP_HEADING = re.compile(r"\|\s*VLAN\s*\|\s*VNI\s*\|")
_MAP = re.compile(r"\|\s*Vlan(\d+)\s*\|\s*(\d+)\s*\|")
_TOTAL = re.compile(r"Total count\s*:\s*(\d+)")


def _sonic(answers: Sequence[str]) -> Held:
    try:
        return _sonic_vlans(*answers)
    except ValueError as wrong:  # a number that no VLAN or VNI has
        raise _nonsense(str(wrong)) from wrong


def _sonic_vlans(vlans: str, maps: str) -> Held:
    vnis = dict(_maps(maps))
    tagged: defaultdict[Vid, set[str]] = defaultdict(set)
    untagged: defaultdict[Vid, set[str]] = defaultdict(set)
    vids = set(vnis)
    for vid, port, mode in _members(vlans):
        vids.add(vid)
        if port:  # a mode that is neither, which SONiC shows as "?", is not ours either
            (tagged if mode == _TAGGED else untagged)[vid].add(port)
    return {vid: Vlan(vnis.get(vid), frozenset(tagged[vid]), frozenset(untagged[vid])) for vid in sorted(vids)}


def _members(answer: str) -> Iterator[tuple[Vid, str, str]]:
    for line in _after(_HEADING, answer):
        if found := _MEMBER.fullmatch(line):
            yield Vid(int(found[1])), found[2] or "", found[3] or ""
        elif not _RULE.fullmatch(line):
            raise _nonsense(line)


def _maps(answer: str) -> Iterator[tuple[Vid, Vni]]:
    count, total = 0, None
    for line in _after(_MAP_HEADING, answer):
        if found := _MAP.fullmatch(line.strip()):
            count += 1
            yield Vid(int(found[1])), Vni(int(found[2]))
        elif found := _TOTAL.fullmatch(line.strip()):
            total = int(found[1])
        elif not _RULE.fullmatch(line):
            raise _nonsense(line)
    if count != total:
        raise Retry(f"the switch told {count} VNIs of {total}")


def _after(heading: re.Pattern[str], answer: str) -> list[str]:
    lines = answer.splitlines()
    for number, line in enumerate(lines):
        if heading.fullmatch(line.strip()):
            return lines[number + 1 :]
    raise _nonsense(next((line for line in lines if line.strip()), ""))


def _nonsense(line: str) -> Retry:
    return Retry(f"the switch does not tell what it holds; it says {line.strip()[:200]!r}")


READINGS: Mapping[str, Reading] = {
    "netmiko_sonic": Reading(("show vlan config", "show vxlan vlanvnimap"), _sonic),
}
