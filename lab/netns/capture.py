"""Hearing every frame on an interface, tags included, and sending any frame one likes.

The kernel keeps the frames while the scenario goes on; they are taken when asked for, and a lost one raises.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from lab.netns.frames import ETH_VLAN, Frame
from lab.netns.namespace import packet_socket, within

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA = 263, 6, 8
_OUTGOING = 4
_SO_RCVBUFFORCE = 33
_TAG_IS_VALID = 0x10
_AUXDATA = struct.Struct("@IIIHHHH")  # status, len, snaplen, mac, net, vlan_tci, vlan_tpid
_BUFFER = 16 << 20


@dataclass(frozen=True, slots=True)
class Heard:
    interface: str
    frame: Frame


class Capture:
    """From its making until it is closed: what comes in on one interface, or on all of a namespace ("")."""

    def __init__(self, namespace: str, interface: str = "") -> None:
        self._socket = within(namespace, lambda: _open(interface))
        self._heard: list[Heard] = []

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> list[Heard]:
        """All so far."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(65535, socket.CMSG_SPACE(_AUXDATA.size))
            except BlockingIOError:
                break
            if address[2] != _OUTGOING:
                self._heard.append(Heard(address[0], Frame.parse(_with_tag(data, ancillary))))
        _, dropped = struct.unpack("@II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        if dropped:
            raise BufferError(f"{dropped} frames were lost by the capture itself")
        return list(self._heard)

    def frames(self, which: Callable[[Frame], bool] = lambda frame: True) -> list[Frame]:
        return [heard.frame for heard in self.heard() if which(heard.frame)]

    def hears(self, which: Callable[[Frame], bool], within_seconds: float) -> bool:
        """Whether such a frame comes, or has come."""
        deadline = time.monotonic() + within_seconds
        while not self.frames(which):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True


def _open(interface: str) -> socket.socket:
    # A socket made with a protocol hears all interfaces until it is bound; one without hears none.
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0 if interface else socket.htons(_ETH_P_ALL))
    raw.setblocking(False)
    raw.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    if interface:
        raw.bind((interface, _ETH_P_ALL))
    return raw


def send(namespace: str, interface: str, *frames: Frame) -> None:
    with packet_socket(namespace, interface) as raw:
        for frame in frames:
            raw.send(frame.to_bytes())


def _with_tag(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """The kernel takes an 802.1Q tag out of the frame and tells it beside; put it back."""
    for level, kind, told in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack(told[: _AUXDATA.size])
            if status & _TAG_IS_VALID:
                return data[:12] + struct.pack("!HH", tpid or ETH_VLAN, tci) + data[12:]
    return data
