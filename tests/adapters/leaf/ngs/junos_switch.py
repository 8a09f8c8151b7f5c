"""A Junos switch in memory under networking-generic-switch's real code: only the ssh session is ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from isthmus.adapters.leaf.ngs import NgsSettings
from isthmus.adapters.leaf.ngs.junos import CONFIG, IN_FORCE, TUNNELS, VLANS
from isthmus.model.tags import VidSet
from lab.wire.junos import JunosSwitch
from tests.adapters.leaf.ngs.switch import ADDRESS, Session, TestSwitch, reached

JUNOS_PORTS = ("xe-0/0/1", "xe-0/0/2")


def junos_settings(ports: tuple[str, ...] = JUNOS_PORTS, vids: str = "11-199,205", **options: str) -> NgsSettings:
    return NgsSettings("netmiko_juniper", ADDRESS, ports, VidSet.of(vids), {"username": "isthmus", **options})


def members(port: str, vid: int | str) -> str:
    return f"set interfaces {port} unit 0 family ethernet-switching vlan members {vid}"


@dataclass(slots=True)
class JunosTestSwitch(TestSwitch):
    __test__ = False

    kind = "junos"
    reads = (CONFIG, IN_FORCE, VLANS, TUNNELS)
    ports = JUNOS_PORTS
    theirs = "xe-0/0/3"
    set_up = VidSet.of("1,4")
    cli: JunosSwitch = field(default_factory=JunosSwitch)  # type: ignore[assignment]
    no: str = "error: not now"
    asked: list[str] = field(default_factory=list)
    """Every command."""
    hangs_at: str = ""
    """It does what such a command says, and never answers."""
    answers: dict[str, str] = field(default_factory=dict)
    """What it says to such a command, and does nothing."""
    cuts: tuple[str, float] | None = None
    """Of answers to commands that begin so, or to this one if it has a pipe, only this share comes through."""

    @property
    def prompt(self) -> str:
        return self.cli.prompt

    def connect(self, password: str | None = None, **given: object) -> Session:
        self.cli.log_out()
        return TestSwitch.connect(self, password, **given)

    def hear(self, command: str, patience: float) -> str:
        from netmiko.exceptions import ReadTimeout

        self.asked.append(command)
        if not command.startswith(("show", "run show")):
            self.told.append(command)
        self.before(command)
        self.answer()
        if self.refuses and command.startswith(self.refuses):
            return self.no
        if command in self.answers:
            return self.answers[command]
        said = self.garbled or self.cli.run(command)
        if self.takes > patience or (self.hangs_at and command == self.hangs_at):
            raise ReadTimeout("Pattern not detected")
        begins, share = self.cuts or ("", 1.0)
        if command == begins or (command.startswith(begins) and "|" not in begins):
            return said.strip()[: int(len(said.strip()) * share)]
        return said

    def settings(self, ports: tuple[str, ...] = JUNOS_PORTS, **options: str) -> NgsSettings:
        return junos_settings(ports, **options)

    @property
    def state(self) -> Mapping[int, tuple[int | None, Mapping[str, str]]]:
        there = (vid for vid in sorted(self.cli.vlans) if vid not in self.set_up)
        return {vid: (self.cli.maps.get(vid), self.cli.members(vid)) for vid in there}

    def with_ports(self, count: int) -> tuple[str, ...]:
        names = tuple(f"xe-0/1/{number}" for number in range(count))
        for name in names:
            trunk = f"set interfaces {name} unit 0 family ethernet-switching interface-mode trunk"
            self.cli.by_hand(trunk, members(name, 4))
        return names

    def by_hand(self, vid: int, vni: int | None = None, /, **ports: str) -> None:
        lines = [f"set vlans vlan{vid} vlan-id {vid}"]
        lines += [f"set vlans vlan{vid} vxlan vni {int(vni)}"] if vni is not None else []
        for port, mode in ports.items():
            lines.append(members(port, vid))
            lines += [f"set interfaces {port} native-vlan-id {vid}"] if mode == "untagged" else []
        self.cli.by_hand(*lines)

    def no_vni_by_hand(self, vid: int) -> None:
        self.cli.by_hand(f"delete vlans vlan{vid} vxlan vni")

    def off_by_hand(self, vid: int, port: str) -> None:
        self.cli.by_hand(members(port, vid).replace("set", "delete", 1))

    def access_by_hand(self, vid: int) -> None:
        at = f"interfaces {self.theirs} unit 0 family ethernet-switching"
        mode = (f"delete {at} vlan members", f"set {at} interface-mode access", members(self.theirs, vid))
        self.cli.by_hand(f"set vlans vlan{vid} vlan-id {vid}", *mode)

    def svi_by_hand(self, vid: int) -> None:
        self.cli.by_hand(f"set vlans vlan{vid} vlan-id {vid}", f"set vlans vlan{vid} l3-interface irb.{vid}")


@contextmanager
def junos() -> Iterator[JunosTestSwitch]:
    with reached(JunosTestSwitch()) as made:
        assert isinstance(made, JunosTestSwitch)
        yield made
