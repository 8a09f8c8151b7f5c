"""A Cumulus Linux switch in memory under networking-generic-switch's real code: only the ssh session is ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from isthmus.adapters.leaf.ngs import NgsSettings, NgsTarget
from isthmus.model.names import LeafId
from isthmus.model.tags import VidSet
from lab.wire.nvue import NvueSwitch
from tests.adapters.leaf.ngs.switch import ADDRESS, TestSwitch

NVUE_PORTS = ("swp1", "swp2")
CHANGES = ("nv set", "nv unset", "nv config apply", "nv config save", "nv config detach")


def nvue_settings(ports: tuple[str, ...] = NVUE_PORTS, vids: str = "11-199,205", **options: str) -> NgsSettings:
    return NgsSettings("netmiko_cumulus_nvue", ADDRESS, ports, VidSet.of(vids), {"username": "isthmus", **options})


@dataclass(slots=True)
class NvueTestSwitch(TestSwitch):
    __test__ = False

    nvue: NvueSwitch = field(default_factory=NvueSwitch)
    asked: list[str] = field(default_factory=list)
    """Every command."""
    hangs_at: str = ""
    """It does what such a command says, and never answers."""
    answers: dict[str, str] = field(default_factory=dict)
    """What it says to a command that begins so, with status 0, and does nothing."""
    cuts: tuple[str, float] | None = None
    """Of answers to commands that begin so only this share comes through."""

    def hear(self, command: str, patience: float) -> str:
        from netmiko.exceptions import ReadTimeout

        self.asked.append(command)
        if command.startswith(CHANGES):
            self.told.append(command.partition(" | ")[0])
        self.before(command)
        self.answer()
        if self.refuses and command.startswith(self.refuses):
            return "Error: not now" + ("\nrc=1" if "rc=" in command else "")
        if found := [answer for begins, answer in self.answers.items() if command.startswith(begins)]:
            return f"{found[0]}\nrc=0".lstrip("\n")
        said = self.garbled or self.nvue.run(command)
        if self.takes > patience or (self.hangs_at and command.startswith(self.hangs_at)):
            raise ReadTimeout("Pattern not detected")
        if self.cuts and command.startswith(self.cuts[0]):
            return said.strip()[: int(len(said.strip()) * self.cuts[1])]
        return said

    def target(self, found: NgsSettings | None = None) -> NgsTarget:
        return NgsTarget(LeafId("leaf1"), found or nvue_settings())


@contextmanager
def nvue() -> Iterator[NvueTestSwitch]:
    netmiko = pytest.importorskip("netmiko")
    pytest.importorskip("networking_generic_switch")
    made = NvueTestSwitch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netmiko, "ConnectHandler", made.connect)
        yield made
