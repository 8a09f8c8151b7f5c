"""The command line of a SONiC switch in memory: VLANs, their members, and VNIs, as far as isthmus and its library ask.

Law: what cannot be done is said, and the status of a command says nothing: whoever wants to know has to look.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

TAGGED, UNTAGGED = "tagged", "untagged"


class Complaint(Exception):
    """What the switch says instead of doing it."""


@dataclass(slots=True)
class SonicSwitch:
    """`changed` is called after each command that changed something."""

    ports: tuple[str, ...]
    vlans: dict[int, dict[str, str]] = field(default_factory=dict)
    """The mode of each member, by VID."""
    maps: dict[int, int] = field(default_factory=dict)
    """VNIs by VID."""
    saved: bool = True
    routing_saved: bool = True
    """The same of what BGP was told."""
    changed: Callable[[], None] = lambda: None

    def run(self, line: str) -> str:
        """Give a command.  Returns what it prints."""
        match shlex.split(line):
            case ["show", "vlan", "config"]:
                return self._vlans()
            case ["show", "vxlan", "vlanvnimap"]:
                return self._vnis()
            case ["config", *words]:
                return self._config(words)
            case ["vtysh", *lines]:  # that BGP tells of a VNI is of no consequence in memory
                self.routing_saved = "write memory" in lines
                return ""
            case [word, *_]:
                return f"-bash: {word}: command not found"
        return ""

    def _config(self, words: Sequence[str]) -> str:
        try:
            match words:
                case ["save", "-y"]:
                    self.saved = True
                    return ""
                case ["vlan", "add", vid]:
                    self._add_vlan(int(vid))
                case ["vlan", "del", vid]:
                    self._remove_vlan(int(vid))
                case ["vlan", "member", "add", "-u", vid, port]:
                    self._join(int(vid), port, UNTAGGED)
                case ["vlan", "member", "add", vid, port]:
                    self._join(int(vid), port, TAGGED)
                case ["vlan", "member", "del", vid, port]:
                    self._leave(int(vid), port)
                case ["vxlan", "map", "add", _, vid, vni]:
                    self._map(int(vid), int(vni))
                case ["vxlan", "map", "del", _, vid, vni]:
                    self._unmap(int(vid), int(vni))
                case _:
                    raise Complaint(f'No such command "{" ".join(words)}".')
        except Complaint as said:
            return f"Error: {said}"
        self.saved = False
        self.changed()
        return ""

    def _add_vlan(self, vid: int) -> None:
        if vid in self.vlans:
            raise Complaint(f"Vlan{vid} already exists")
        self.vlans[vid] = {}

    def _remove_vlan(self, vid: int) -> None:
        self._known(vid)
        if self.vlans[vid]:
            raise Complaint(f"VLAN ID {vid} can not be removed. First remove all members assigned to this VLAN.")
        if vid in self.maps:
            raise Complaint(f"vlan: {vid} can not be removed. First remove vxlan mapping assigned to VLAN")
        del self.vlans[vid]

    def _join(self, vid: int, port: str, mode: str) -> None:
        self._known(vid)
        if port not in self.ports:
            raise Complaint(f"{port} does not exist")
        if port in self.vlans[vid]:
            raise Complaint(f"{port} is already a member of Vlan{vid}")
        self.vlans[vid][port] = mode

    def _leave(self, vid: int, port: str) -> None:
        self._known(vid)
        if port not in self.vlans[vid]:
            raise Complaint(f"{port} is not a member of Vlan{vid}")
        del self.vlans[vid][port]

    def _map(self, vid: int, vni: int) -> None:
        self._known(vid)
        if vid in self.maps:
            raise Complaint(f"VLAN {vid} is mapped already")
        if vni in self.maps.values():
            raise Complaint(f"VNI {vni} is mapped already")
        self.maps[vid] = vni

    def _unmap(self, vid: int, vni: int) -> None:
        if self.maps.get(vid) != vni:
            raise Complaint(f"VLAN {vid} is not mapped to VNI {vni}")
        del self.maps[vid]

    def _known(self, vid: int) -> None:
        if vid not in self.vlans:
            raise Complaint(f"Vlan{vid} does not exist")

    def _vlans(self) -> str:
        rows = [
            (f"Vlan{vid}", str(vid), *member)
            for vid, members in sorted(self.vlans.items())
            for member in (sorted(members.items()) or [("", "")])
        ]
        return "\n".join(_columns([("Name", "VID", "Member", "Mode"), *rows]))

    def _vnis(self) -> str:
        lines = ["+----------+----------+", "| VLAN     |      VNI |", "+==========+==========+"]
        for vid, vni in sorted(self.maps.items()):
            lines += [f"| {f'Vlan{vid}':<8} | {vni:>8} |", "+----------+----------+"]
        return "\n".join([*lines, f"Total count : {len(self.maps)}", ""])


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for number, row in enumerate(rows):
        name, vid, member, mode = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{name}  {vid.strip().rjust(widths[1])}  {member}  {mode}".rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)
