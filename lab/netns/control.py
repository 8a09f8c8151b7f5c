"""How a scenario talks with the hosts of its world: one question over a unix socket, one picture as the answer.

Law: the picture is of a round that began after the question, so whatever vCenter had answered before is on the wire.
"""

from __future__ import annotations

import json
import queue
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.netns.inventory import Berth
from lab.netns.moves import Timing
from lab.netns.state import NotThere

if TYPE_CHECKING:
    from lab.netns.hostd import Hostd

PATIENCE = 30.0


@dataclass(slots=True)
class Request:
    """`timing` and `berths` (VM's id -> where it will be plugged in) are from now on; None leaves them as they are."""

    timing: Timing | None
    berths: Mapping[str, Berth] | None
    _answer: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)

    def answer(self, picture: dict[str, Any]) -> None:
        self._answer.put(picture)

    def wait(self) -> dict[str, Any]:
        return self._answer.get(timeout=PATIENCE)


@dataclass(frozen=True, slots=True)
class WiredNic:
    """One NIC of a running VM as the hosts have it."""

    key: int
    mac: str
    interface: str
    number: int
    bridge: str  # "" while its cable is in no switch


@dataclass(frozen=True, slots=True)
class WiredVm:
    id: str
    name: str
    namespace: str
    host: str
    nics: tuple[WiredNic, ...]


@dataclass(frozen=True, slots=True)
class Stunned:
    """One stun of a VM, in seconds of the machine's monotonic clock."""

    vm: str
    began: float
    ended: float | None

    @property
    def seconds(self) -> float:
        """How long it was; 0 while it lasts."""
        return (self.ended or self.began) - self.began


@dataclass(frozen=True, slots=True)
class Picture:
    vms: tuple[WiredVm, ...]
    stuns: tuple[Stunned, ...]

    def vm(self, name: str) -> WiredVm:
        found = [vm for vm in self.vms if vm.name == name]
        if len(found) != 1:
            raise NotThere(f"{len(found)} running VMs are named {name!r}; known: {[vm.name for vm in self.vms]}")
        return found[0]


def picture(hostd: Hostd) -> dict[str, Any]:
    """As plain values, for the way over the socket."""
    inventory, switches = hostd.inventory, hostd.switches
    vms = []
    for id, namespace in hostd.wires.machines.items():
        vm = inventory.vms[id]
        nics = [
            WiredNic(
                cable.nic.key, cable.mac, cable.interface, cable.number,
                switches.bridges[switches.plugged[cable.number]] if cable.number in switches.plugged else "",
            )
            for cable in hostd.wires.cables.values()
            if cable.nic.vm == id
        ]  # fmt: skip
        vms.append(WiredVm(id, vm.name, namespace, inventory.hosts.get(vm.host, ""), tuple(nics)))
    stuns = [Stunned(stun.vm, stun.began, stun.ended) for stun in hostd.stuns]
    return asdict(Picture(tuple(vms), tuple(stuns)))


def ask(path: Path, timing: Timing | None = None, berths: Mapping[str, Berth] | None = None) -> Picture:
    question = {
        "timing": asdict(timing) if timing is not None else None,
        "berths": {vm: asdict(berth) for vm, berth in berths.items()} if berths is not None else None,
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(PATIENCE)
        line.connect(str(path))
        line.sendall(json.dumps(question).encode() + b"\n")
        with line.makefile() as answers:
            told = json.loads(answers.readline() or "null")
    if told is None:
        raise TimeoutError("the hosts of the world give no picture; see hostd.log in its directory")
    vms = tuple(WiredVm(**{**vm, "nics": tuple(WiredNic(**nic) for nic in vm["nics"])}) for vm in told["vms"])
    return Picture(vms, tuple(Stunned(**stun) for stun in told["stuns"]))


def _request(timing: dict[str, Any] | None, berths: dict[str, dict[str, Any]] | None) -> Request:
    return Request(
        Timing(**timing) if timing is not None else None,
        {vm: Berth(**berth) for vm, berth in berths.items()} if berths is not None else None,
    )


def serve(path: Path, submit: Callable[[Request], None]) -> socketserver.BaseServer:
    """Answer questions in the background."""

    class Line(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked = json.loads(self.rfile.readline())
            request = _request(**asked)
            submit(request)
            try:
                self.wfile.write(json.dumps(request.wait()).encode() + b"\n")
            except queue.Empty:
                self.wfile.write(b"null\n")

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    server = Server(str(path), Line)
    threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
    return server
