"""Reads and writes the flows of one appliance's bridges with ovs-ofctl: a dump is whole, a bundle is all or nothing.

Law: a bridge that could not be read is a Retry, never an empty list.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.model.faults import Refused, Retry
from isthmus.model.flow import Bridge


class Rejected(Refused):
    """The switch is there and will not have what it was sent."""


class OpenFlow:
    """The OpenFlow side of one appliance."""

    def __init__(self, settings: OvsSettings) -> None:
        self._settings = settings

    def dump(self, bridge: Bridge, match: str = "") -> list[str]:
        """Every flow of the bridge that is within a match, a line each."""
        at = self._settings.openflow_target(bridge)
        done = self._ofctl("--no-stats", "--no-names", "dump-flows", at, *([match] if match else []))
        if done.returncode != 0:
            raise Retry(f"{self._where(bridge)} cannot be read: {_told(done)}; is ovs-vswitchd running there?")
        return [line for line in done.stdout.splitlines() if " actions=" in line]

    def bundle(self, bridge: Bridge, lines: Iterable[str]) -> None:
        """Carry out add and delete_strict lines, so that every frame meets the flows of before or those of after."""
        target = self._settings.openflow_target(bridge)
        done = self._ofctl("--bundle", "add-flows", target, "-", stdin="".join(f"{line}\n" for line in lines))
        if done.returncode == 0:
            return
        # ovs-ofctl says by its status only that it failed; whether the switch answers at all tells one from the other.
        if self._ofctl("probe", target).returncode != 0:
            raise Retry(f"{self._where(bridge)} cannot be written: {_told(done)}; is ovs-vswitchd running there?")
        raise Rejected(f"{self._where(bridge)} refuses flows: {_told(done)}")

    def _ofctl(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        tls = self._settings.tls
        keys = (f"--private-key={tls.key}", f"--certificate={tls.certificate}", f"--ca-cert={tls.ca}") if tls else ()
        command = ["ovs-ofctl", "-O", "OpenFlow13", *keys, *words]
        try:
            return subprocess.run(
                command, input=stdin, capture_output=True, text=True, errors="replace", timeout=self._settings.timeout
            )
        except FileNotFoundError as fault:
            raise Refused("ovs-ofctl is not on the PATH: install Open vSwitch's tools (openvswitch-common)") from fault
        except subprocess.TimeoutExpired as fault:
            raise Retry(f"ovs-ofctl {' '.join(words)}: no answer within {self._settings.timeout} s") from fault

    def _where(self, bridge: Bridge) -> str:
        return f"{bridge.value} at {self._settings.openflow_target(bridge)}"


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """What the tool said, on one line and not too long for a status."""
    return " ".join((done.stderr or done.stdout).split())[:500] or f"ovs-ofctl ended with status {done.returncode}"
