"""What the command lines of EOS and NX-OS have in common: modes of configuration, and ports that are switched.

Law: a word means what the mode makes it mean, and one that the mode does not know is looked for in those above it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from isthmus.model.tags import VidSet

ALL = frozenset(range(1, 4095))


class Complaint(Exception):
    """What the switch says instead of doing it."""


@dataclass(slots=True)
class SwitchPort:
    """A port that is switched: a trunk that carries nothing yet, or else one for the access VLAN."""

    mode: str = "trunk"
    access: int = 1
    native: int = 1
    allowed: frozenset[int] | None = frozenset()
    """None: nothing is said of it, and it carries all."""
    up: bool = True
    routed: bool = False
    lag: int | None = None
    alone: bool = False
    """A LAG whose members stand alone where nobody speaks LACP, as is the case here."""
    more: list[str] = field(default_factory=list)
    """Statements that nothing is made of here."""

    def carries(self, vid: int) -> str:
        """How, or empty."""
        if self.routed:
            return ""
        if not self.mode.startswith("trunk"):
            return "untagged" if vid == self.access else ""
        inside = self.allowed is None or vid in self.allowed
        return ("untagged" if vid == self.native else "tagged") if inside else ""

    def told(self, line: str, modes: frozenset[str]) -> bool:
        """Whether it is a word of a port, of which `modes` are what this type of switch can be told to be."""
        match line.split():
            case ["switchport", "trunk", "allowed", "vlan", "add", vids]:
                self.allowed = (ALL if self.allowed is None else self.allowed) | {*VidSet.of(vids)}
            case ["switchport", "trunk", "allowed", "vlan", "remove", vids]:
                self.allowed = (ALL if self.allowed is None else self.allowed) - {*VidSet.of(vids)}
            case ["switchport", "trunk", "native", "vlan", vid]:
                self.native = int(vid)
            case ["switchport", "access", "vlan", vid]:
                self.access = int(vid)
            case ["switchport", "mode", mode] if mode in modes:
                self.mode = mode
            case ["no", "switchport"]:
                self.routed = True
            case ["channel-group", number, *_]:
                self.lag = int(number)
            case ["shutdown"]:
                self.up = False
            case _:
                return False
        return True

    def words(self) -> dict[str, str]:
        """What the running configuration says of it where that is not what goes without saying, by what it is about."""
        said = {
            "access": f"switchport access vlan {self.access}" if self.access != 1 else "",
            "native": f"switchport trunk native vlan {self.native}" if self.native != 1 else "",
            "allowed": "" if self.allowed is None else f"switchport trunk allowed vlan {VidSet.of(self.allowed)}",
            "mode": f"switchport mode {self.mode}" if self.mode != "access" else "",
            "lag": f"channel-group {self.lag} mode active" if self.lag is not None else "",
        }
        return {about: line for about, line in said.items() if line}


@dataclass(slots=True)
class ModalSwitch(ABC):
    """`changed` is called after each command that was taken in a mode of configuration."""

    SAVE: ClassVar[tuple[str, str]]
    """What saves the configuration, and what it answers."""
    CONFIGURE: ClassVar[str] = ""
    """What it answers to `configure terminal`."""
    INVALID: ClassVar[str]
    """What it says of a line that it does not know."""
    LAG: ClassVar[str]
    """What the names of its LAGs begin with."""

    ports: dict[str, SwitchPort]
    vlans: dict[int, list[str]] = field(default_factory=dict)
    """What is said of each VLAN.  That there is VLAN 1 goes without saying."""
    svis: set[int] = field(default_factory=set)
    maps: dict[int, int] = field(default_factory=dict)
    """VNIs by VID."""
    more: str = ""
    """Statements that nothing is made of here."""
    saved: bool = True
    modes: list[str] = field(default_factory=list)
    """Where it is, from the outermost in; empty: nothing can be configured here."""
    changed: Callable[[], None] = lambda: None

    @property
    def prompt(self) -> str:
        """With the mode in it."""
        inner = self.shown_as(self.modes[-1]) if self.modes else ""
        return "leaf1#" if not inner else "leaf1(config)#" if inner == "config" else f"leaf1(config-{inner})#"

    def members(self, vid: int) -> dict[str, str]:
        """How each port carries a VLAN, if there is one, up or down."""
        if vid not in self.vlans and vid != 1:
            return {}
        alone = {name: port for name, port in self.ports.items() if self._stands(port)}
        return {name: how for name, port in alone.items() if (how := port.carries(vid))}

    def run(self, line: str) -> str:
        """Give a command.  Returns what it prints."""
        try:
            return self.show(line) if line.startswith("show ") else self._told(line)
        except Complaint as said:
            return str(said)

    @abstractmethod
    def show(self, line: str) -> str:
        """What a command beginning with "show" prints.  Raises Complaint."""

    @abstractmethod
    def in_mode(self, mode: str, line: str) -> str | None:
        """The mode that a word of this one leads to, or "" to stay; None: it is no word of this one."""

    @abstractmethod
    def shown_as(self, mode: str) -> str:
        """A mode as the prompt has it."""

    def _stands(self, port: SwitchPort) -> bool:
        lag = self.ports.get(f"{self.LAG}{port.lag}")
        return port.lag is None or (lag is not None and lag.alone)

    def _told(self, line: str) -> str:
        save, answer = self.SAVE
        match self.modes, line:
            case _, word if word == save:
                self.saved = True
                return answer
            case _, "configure terminal":
                self.modes = ["config"]
                return self.CONFIGURE
            case [_, *_], "end":
                self.modes = []
            case [_, *_], "exit":
                self.modes.pop()
            case _:
                self._configure(line)
                self.saved = False
                self.changed()
        return ""

    def _configure(self, line: str) -> None:
        modes = list(self.modes)
        while modes:
            inner = self.in_mode(modes[-1], line)
            if inner is not None:
                self.modes = [*modes, inner] if inner else modes
                return
            modes.pop()
        raise Complaint(self.INVALID)
