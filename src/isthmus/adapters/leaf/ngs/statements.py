"""A switch's configuration as statements, each with what it stands below, and the VIDs that one is about.

Law: too many VIDs are better than too few, for a statement that is not known makes each of them somebody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isthmus.model.tags import ALL_VIDS, MAX_VID, NO_VIDS, Vid, VidRange, VidSet

SECRET = re.compile(
    r"secret|password|passwd|passphrase|key|community|token|credential|hash|psk|encrypt|md5|\bsha\d*\b", re.IGNORECASE
)
"""What a word is like after which one may stand."""


def without_secret(said: str) -> str:
    """As far as the first word that a secret may follow."""
    found = SECRET.search(said)
    return said if found is None else f"{said[: found.end()]} ..."


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of a configuration."""

    line: str
    above: tuple[str, ...] = ()
    """The lines that it stands below, from the outermost in."""

    def __str__(self) -> str:
        return without_secret(": ".join((*self.above, self.line)))


def statements(answer: str) -> Iterator[Statement]:
    """All of them in their order, without comments and without what is meant for people who log in."""
    above: list[tuple[int, str]] = []
    lines = iter(answer.split("\n"))  # a description may have what else str.splitlines takes for the end of a line
    for whole in lines:
        line = " ".join(whole.split())
        if not line or line.startswith("!"):
            continue
        depth = len(whole) - len(whole.lstrip())
        above = [(deep, outer) for deep, outer in above if deep < depth]
        if line.startswith("banner "):
            _skip_text(line, lines)
            continue
        yield Statement(line, tuple(outer for _, outer in above))
        above.append((depth, line))


def _skip_text(line: str, lines: Iterator[str]) -> None:
    words = line.split(maxsplit=2)
    mark = words[2][0] if len(words) == 3 else "EOF"
    if len(words) == 3 and mark in words[2][1:]:
        return
    for text in lines:
        if text.strip() == mark or (len(mark) == 1 and mark in text):
            return


_ABOUT = re.compile(r"vlan|dot1q|bridge-domain|vtp|mvrp|svi\b", re.IGNORECASE)
_EVERY = re.compile(r"vlans?(-id)?\s+(forwarding accept )?(all|any|except)\b", re.IGNORECASE)
_SPAN = re.compile(r"range\s+(\d+)\s+(\d+)")
_NUMBER = re.compile(r"(?<![\w./:])(?:vlan\s*)?(\d+)(?:\s*-\s*(\d+))?(?![\w./:])", re.IGNORECASE)


def vids_of(line: str) -> VidSet:
    """The VIDs that a statement is about: every number and range after its first word about VLANs."""
    about = _ABOUT.search(line)
    if about is None:
        return NO_VIDS
    if _EVERY.search(line):
        return ALL_VIDS
    rest = line[about.start() :]
    pairs = [(found[1], found[2]) for found in _SPAN.finditer(rest)]
    pairs += [(found[1], found[2] or found[1]) for found in _NUMBER.finditer(rest)]
    return VidSet.joined(
        VidRange(Vid(max(int(first), 1)), Vid(min(int(last), MAX_VID)))
        for first, last in pairs
        if max(int(first), 1) <= min(int(last), MAX_VID)
    )


def vid_list(said: str) -> VidSet:
    """The VIDs of a list such as a trunk's.  Raises ValueError for what is none."""
    match said.strip().lower():
        case "none":
            return NO_VIDS
        case "all":
            return ALL_VIDS
        case "":
            raise ValueError("a list of VLANs is empty")
    return VidSet.of(said)


def named(line: str, ports: Sequence[str]) -> bool:
    """Whether a statement names one of these words."""
    return not set(re.split(r"[\s,]+", line)).isdisjoint(ports)
