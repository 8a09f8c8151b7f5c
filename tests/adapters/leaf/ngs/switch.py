"""A SONiC switch in memory under networking-generic-switch's real code: only the ssh session is ours."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from isthmus.adapters.leaf.ngs import NgsSettings, NgsTarget
from isthmus.model.names import LeafId
from isthmus.model.tags import VidSet
from lab.wire.sonic import SonicSwitch

ADDRESS = "192.0.2.101"
PORTS = ("Ethernet4", "Ethernet8")
OPTIONS = {"username": "admin", "ngs_vtep_name": "vtep", "ngs_bgp_asn": "65000"}


def settings(ports: tuple[str, ...] = PORTS, vids: str = "1-199,205", **options: str) -> NgsSettings:
    return NgsSettings("netmiko_sonic", ADDRESS, ports, VidSet.of(vids), {**OPTIONS, **options})


@dataclass(slots=True)
class Session:
    """What netmiko's connection does for the library, on a switch in memory."""

    switch: TestSwitch
    born: int = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.disconnect()

    def enable(self) -> None:
        pass

    def is_alive(self) -> bool:
        return self.switch.up and self.born == self.switch.born

    def disconnect(self) -> None:
        self.switch.sessions -= 1

    def save_config(self) -> None:
        raise NotImplementedError

    def send_command(self, command: str) -> str:
        self.switch.answer()
        return self.switch.garbled or self.switch.cli.run(command)

    def send_config_set(self, config_commands: Sequence[str], **_: object) -> str:
        self.switch.batches.append(list(config_commands))
        said = []
        for command in config_commands:
            self.switch.answer()
            said.append(self.switch.cli.run(command))
        return "\n".join(said)


@dataclass(slots=True)
class TestSwitch:
    __test__ = False

    cli: SonicSwitch = field(default_factory=lambda: SonicSwitch((*PORTS, "Ethernet48")))
    up: bool = True
    garbled: str = ""
    """What it says instead of every answer."""
    batches: list[list[str]] = field(default_factory=list)
    sessions: int = 0
    most_sessions: int = 0
    password: str | None = None
    """None: whoever comes is let in."""
    born: int = 0
    """Sessions of before are dead."""
    dies_after: int | None = None
    """It goes down after so many commands more."""

    def connect(self, password: str | None = None, **_: object) -> Session:
        from netmiko.exceptions import NetmikoAuthenticationException, NetmikoTimeoutException

        if self.up and self.password not in (None, password):
            raise NetmikoAuthenticationException("Authentication to device failed.")

        if not self.up:
            raise NetmikoTimeoutException(f"TCP connection to {ADDRESS} failed")
        self.sessions += 1
        self.most_sessions = max(self.most_sessions, self.sessions)
        return Session(self, self.born)

    def drop_sessions(self) -> None:
        """As one that ends what is idle."""
        self.born += 1

    def answer(self) -> None:
        from netmiko.exceptions import ReadTimeout

        if self.dies_after is not None:
            self.up = self.up and self.dies_after > 0
            self.dies_after -= 1
        if not self.up:
            raise ReadTimeout("Pattern not detected")

    def ctl(self, *lines: str) -> None:
        """By its operator's hand."""
        for line in lines:
            said = self.cli.run(f"config {line}")
            assert not said, said

    def target(self, found: NgsSettings | None = None) -> NgsTarget:
        return NgsTarget(LeafId("leaf1"), found or settings())


@contextmanager
def sonic() -> Iterator[TestSwitch]:
    netmiko = pytest.importorskip("netmiko")
    pytest.importorskip("networking_generic_switch")
    made = TestSwitch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netmiko, "ConnectHandler", made.connect)
        yield made
