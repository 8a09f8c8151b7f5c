"""What a plugger sees of the stock Neutron OVS agent, without Neutron: br-int, its controller, the tags it gives."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from isthmus.adapters.ovs.bridges import PortState
from isthmus.adapters.ovs.ovsdb import Ovsdb
from isthmus.adapters.ovs.plugger import PluggerTarget
from isthmus.adapters.ovs.plugs import DEAD
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.model.faults import Retry
from lab.netns.namespace import CommandFailed
from lab.netns.ovs import OpenVswitch
from tests.adapters.ovs.appliance import HOST, TestAppliance, appliance, eventually

HEADER, HELLO, ECHO, ECHO_REPLY = struct.Struct("!BBHI"), 0, 2, 3
LOCAL_VLAN = 7


@dataclass(slots=True)
class StockAgent:
    """As the real one: it makes br-int, speaks OpenFlow to it, and tags what has an iface-id, `refusing` some."""

    ovs: OpenVswitch
    settings: OvsSettings
    refusing: set[str] = field(default_factory=set)
    """Ports that Neutron has not bound to this host."""
    filters: bool = True
    """It lays the filters of what it has tagged."""
    protocols: str = "OpenFlow10,OpenFlow13,OpenFlow14"
    """That br-int speaks when the firewall driver `openvswitch` has been at it."""
    _listener: socket.socket | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        path = self.ovs.rundir / "br-int.controller"
        path.unlink(missing_ok=True)
        self._stop = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(0.1)
        acts = (self._speak, self._wire)
        self._threads = [threading.Thread(target=act, args=(self._listener,), daemon=True) for act in acts]
        for thread in self._threads:
            thread.start()
        secure = ["set", "bridge", "br-int", "datapath_type=netdev", "fail_mode=secure", f"protocols={self.protocols}"]
        self.ovs.vsctl("--may-exist", "add-br", "br-int", "--", *secure)
        self.ovs.vsctl("set-controller", "br-int", f"unix:{path}")
        eventually(lambda: "true" in self.ovs.vsctl("--columns=is_connected", "list", "controller"), within=15)

    def stop(self) -> None:
        """It dies; what it has made stays."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._listener is not None:
            self._listener.close()

    def _speak(self, listener: socket.socket) -> None:
        """Just as much OpenFlow as makes a controller."""
        while not self._stop.is_set():
            with suppress(OSError):  # nobody calls, or hung up
                line, _ = listener.accept()
                with line:
                    line.settimeout(0.1)
                    line.sendall(HEADER.pack(4, HELLO, 8, 1))
                    self._converse(line)

    def _converse(self, line: socket.socket) -> None:
        while not self._stop.is_set():
            with suppress(TimeoutError):
                head = line.recv(HEADER.size, socket.MSG_WAITALL)
                if len(head) < HEADER.size:
                    return
                _, kind, size, number = HEADER.unpack(head)
                body = line.recv(size - HEADER.size, socket.MSG_WAITALL) if size > HEADER.size else b""
                if kind == ECHO:
                    line.sendall(HEADER.pack(4, ECHO_REPLY, size, number) + body)

    def _wire(self, _: socket.socket) -> None:
        """It looks at tags when an interface changes, or Neutron calls, and not else."""
        ovsdb, seen = Ovsdb(self.settings), None
        while not self._stop.wait(0.02):
            with suppress(Retry):
                ports = ovsdb.snapshot().ports.values()
                interfaces = {port.name: (port.number, dict(port.external_ids)) for port in ports}
                before, seen = seen, (interfaces, set(self.refusing), self.filters)
                for port in ports if before != seen else ():
                    iface = port.external_ids.get("iface-id")
                    if port.bridge != "br-int" or iface is None or iface in self.refusing:
                        continue
                    if port.tag == DEAD:
                        self._tag(port.name)
                    if self.filters:
                        self._filter(port)
        ovsdb.close()

    def _tag(self, name: str) -> None:
        with suppress(Exception):  # it was taken away meanwhile
            words = ("clear", "port", name, "vlan_mode", "--", "clear", "port", name, "trunks")
            self.ovs.vsctl("set", "port", name, f"tag={LOCAL_VLAN}", "--", *words)

    def _filter(self, port: PortState) -> None:
        """The flow by which the firewall knows that a port speaks, and which here lets it say everything."""
        with suppress(CommandFailed):  # it is starting
            flow = f"add table=60,priority=100,in_port={port.number},actions=set_field:{port.number}->reg5,NORMAL"
            self.ovs.bundle("br-int", [flow])


@dataclass(slots=True)
class PluggedAppliance:
    """A real Open vSwitch with the stand-in beside it."""

    appliance: TestAppliance
    agent: StockAgent

    def target(self, patience: float = 5.0, **settings: str) -> PluggerTarget:
        return PluggerTarget(HOST, self.appliance.settings(**settings), patience=patience)  # type: ignore[arg-type]

    def vsctl(self, *words: str) -> str:
        return self.appliance.ovs.vsctl(*words)

    def power_off(self) -> None:
        """All of it is gone."""
        self.agent.stop()
        for process in self.appliance.processes.alive():
            self.appliance.end(process)

    def replace(self) -> None:
        """Another machine in its place, with nothing in its database."""
        ovs = self.appliance.ovs
        (ovs.rundir / "conf.db").unlink()
        ovs.start(self.appliance.processes)
        self.agent.start()


@contextmanager
def plugged_appliance() -> Iterator[PluggedAppliance]:
    with appliance() as made:
        agent = StockAgent(made.ovs, replace(made.settings(), own_flows=False))
        agent.start()
        try:
            yield PluggedAppliance(made, agent)
        finally:
            agent.stop()
