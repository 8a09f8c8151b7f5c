"""A host's vRouter agent, by its port API: which ports of the host's VMs are its own, and by which VID it knows them.

From OpenSDN fbb63bcd, src/vnsw/agent/port_ipc (rest_server.cc, port_ipc_handler.cc, port_subscribe_table.cc).  Law: the
agent ignores what a port that it holds is told anew, so a change is an unplug and a plug; and that it does not show a
port never means that it does not hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from isthmus.adapters.contrail.http import Answer, Http
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import Mac, NetworkId, PortId, VmId, mac
from isthmus.model.tags import MAX_VID, MIN_VID, Vid

ESXI_PORT = 2  # the type whose link is down until it is enabled
NOT_READY = "Operation Not Supported"  # of all calls, while the agent starts or stops: a 500 as for a wrong field


@dataclass(frozen=True, slots=True)
class AgentPort:
    """A NIC on its host's trunk, as an agent is told of it.  Raises ValueError for what an agent would misread.

    It would take what is no uuid for the nil uuid, and what is no address for none, both without a word.
    """

    port: PortId
    """The VMI's uuid, and all uuids in lower case with dashes."""
    vm: VmId
    network: NetworkId
    project: str
    name: str
    """The VM's, with its blanks as they are."""
    mac: Mac
    vid: Vid
    address: str = ""
    """IPv4; empty for none."""
    address6: str = ""
    system_name: str = ""
    enabled: bool = False

    def __post_init__(self) -> None:
        for one in (self.port, self.vm, self.network, self.project):
            _check_uuid(one)
        if mac(self.mac) != self.mac or not self.mac.strip("0:"):
            raise ValueError(f"{self.mac!r} is not the MAC of a network adapter in lower case with colons")
        if self.address:
            IPv4Address(self.address)
        if self.address6:
            IPv6Address(self.address6)


@dataclass(frozen=True, slots=True)
class HeldPort:
    """What an agent shows of a port that it has: not its name, and not whether it is enabled.

    VM, network and addresses are what the control node told of it.
    """

    port: PortId
    vm: VmId
    network: NetworkId
    project: str
    mac: Mac
    vid: Vid | None
    """None: it uses no VLAN, as its hypervisor type is not vmware, or a different one in each direction."""
    address: str
    address6: str
    system_name: str


class NotPlugged(Retry):
    """The agent has no such port, or not as one of an ESXi host: it is to be plugged anew."""


class VrouterAgent:
    """Threads may ask at once.  Raises Unreachable where no agent answers; any write may simply be repeated.

    An Unreachable that is a MaybeDone may have been carried out, or may still be.
    """

    def __init__(self, address: str, timeout: float = 5.0, *, host: str = "", connections: int = 4) -> None:
        whose = f"{host}'s" if host else "the"
        self._http = Http(
            address, place=f"{whose} vRouter agent", kind="a vRouter agent", timeout=timeout, connections=connections
        )

    @property
    def place(self) -> str:
        """The agent in messages."""
        return f"{self._http.place} at {self._http.address}"

    def plug(self, port: AgentPort) -> None:
        """Have the port.  Of one that it has already, for the same VM, an agent hears nothing: see `change`."""
        self._write("POST", "/port", _document(port))

    def unplug(self, port: PortId) -> None:
        """Forget the port; one that the agent does not have is forgotten already."""
        self._write("DELETE", f"/port/{_check_uuid(port)}")

    def change(self, port: AgentPort) -> None:
        """Have the port as it is now, whatever the agent had.  A fault in between leaves it unplugged: do it again."""
        self.unplug(port.port)
        self.plug(port)

    def enable(self, port: PortId) -> None:
        """Its link goes up.  Raises NotPlugged if the agent does not have it."""
        self._link("enable", port)

    def disable(self, port: PortId) -> None:
        """Its link goes down.  Raises NotPlugged if the agent does not have it."""
        self._link("disable", port)

    def sync(self) -> None:
        """What is not plugged again from now on, the agent forgets after a while (60 s by default)."""
        self._write("POST", "/syncports")

    def held(self, port: PortId) -> HeldPort | None:
        """What the agent shows of a port.

        None: not known, or not configured yet.  It shows a port once the control node has told it of VMI, VM, network
        and IPAM, which it finds by the port's address.  So None never means "unplugged".
        """
        path = f"/port/{_check_uuid(port)}"
        answer = self._http.request("GET", path)
        if answer.status == 404 and _error(answer) is not None:
            return None
        if answer.status != 200:
            raise self._fault("GET", path, answer)
        try:
            return _held(port, answer.said)
        except (KeyError, TypeError, ValueError) as fault:
            raise self._http.stranger("GET", path, answer) from fault

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _link(self, what: str, port: PortId) -> None:
        path = f"/{what}-port/{_check_uuid(port)}"
        try:
            self._write("PUT", path)
        except Refused as fault:  # it lost the port, or has it as one of another type: plugging it anew mends both
            raise NotPlugged(f"{fault}; it is to be plugged anew") from fault

    def _write(self, method: str, path: str, body: Any = None) -> None:
        answer = self._http.request(method, path, body)
        if answer.status != 200 or not isinstance(answer.said, dict):
            raise self._fault(method, path, answer)

    def _fault(self, method: str, path: str, answer: Answer) -> Retry | Refused:
        match _error(answer):
            case None:
                return self._http.stranger(method, path, answer)
            case said if said == NOT_READY:
                return Retry(f"{self.place} is not ready: {said}")
            case said if answer.status == 404:
                return Refused(f"{self.place} does not know the call {method} {path}: {said}; is it of an old release?")
            case said:
                return Refused(f"{self.place} refuses {method} {path}: {said}")


def _error(answer: Answer) -> str | None:
    """What an agent says with a 404 or 500, out of its braces: {"error": "{ Not Found }"}; None if no agent said it."""
    said = answer.said.get("error") if isinstance(answer.said, dict) else None
    return said.strip("{} ") if answer.status in (404, 500) and isinstance(said, str) else None


def _document(port: AgentPort) -> dict[str, Any]:
    return {
        "id": port.port,
        "instance-id": port.vm,
        "vn-id": port.network,
        "vm-project-id": port.project,
        "display-name": port.name,
        "ip-address": port.address or "0.0.0.0",
        "ip6-address": port.address6 or "::",
        "system-name": port.system_name,
        "mac-address": port.mac,
        "type": ESXI_PORT,
        # Towards the VM and from it: two only where each port has a private VLAN.
        "tx-vlan-id": int(port.vid),
        "rx-vlan-id": int(port.vid),
        "vhostuser-mode": 0,
        "link-state": int(port.enabled),
    }


def _held(port: PortId, said: Any) -> HeldPort:
    """Raises KeyError, TypeError or ValueError for what no agent says of this port."""
    if said["id"] != port:
        raise ValueError("another port's")
    tx, rx = int(said["tx-vlan-id"]), int(said["rx-vlan-id"])
    vm, network, project = (str(UUID(_text(said[field]))) for field in ("instance-id", "vn-id", "vm-project-id"))
    return HeldPort(
        port=port,
        vm=VmId(vm),
        network=NetworkId(network),
        project=project,
        mac=mac(_text(said["mac-address"])),
        vid=Vid(tx) if tx == rx and MIN_VID <= tx <= MAX_VID else None,
        address=_text(said.get("ip-address", "")),
        address6=_text(said.get("v6-ip-address", "")),
        system_name=_text(said["system-name"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _check_uuid(text: str) -> str:
    """Raises ValueError for what is no uuid, or not spelled as agents want it: in lower case, with dashes."""
    if str(UUID(text)) != text or not UUID(text).int:
        raise ValueError(f"{text!r} is not a uuid in lower case with dashes, other than nil")
    return text
