"""The OpenFlow numbers of our ports, and the cookies of our flows: what is agreed with a switch once and for all."""

from __future__ import annotations

from isthmus.model.flow import Bridge, FlowPort
from isthmus.model.tags import Vni

MARK, LEARNT_MARK, SCHEMA = 0x157A, 0x157B, 1
PORT_NUMBERS = {FlowPort.TRUNK: 1, FlowPort.PATCH: 2, FlowPort.VXLAN: 3}
"""What OVSDB is asked for (`ofport_request`): the same after every restart."""
PORTS = {Bridge.INT: {FlowPort.TRUNK, FlowPort.PATCH}, Bridge.TUN: {FlowPort.PATCH, FlowPort.VXLAN}}
TOWARDS_VMS = {Bridge.INT: FlowPort.TRUNK, Bridge.TUN: FlowPort.PATCH}

_NAMES = {number: port for port, number in PORT_NUMBERS.items()}


def port_number(bridge: Bridge, port: FlowPort) -> int:
    """The number of a port.  Raises ValueError if the bridge has no such port."""
    if port not in PORTS[bridge]:
        raise ValueError(f"{bridge.value} has no {port.value} port")
    return PORT_NUMBERS[port]


def port_numbered(bridge: Bridge, number: str) -> FlowPort:
    """The port of a number as text.  Raises KeyError or ValueError if the bridge has no such port."""
    port = _NAMES[int(number)]
    port_number(bridge, port)
    return port


def cookie(mark: int, vni: Vni | None) -> str:
    """The cookie of a flow, as Open vSwitch prints it."""
    return f"0x{mark << 48 | SCHEMA << 32 | (vni or 0):x}"
