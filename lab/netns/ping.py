"""Echo requests at an even pace, with an account of every one: when it left, and when its answer came."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from lab.netns.control import Stunned
from lab.netns.frames import checksum
from lab.netns.namespace import within

_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_HEADER = struct.Struct("!BBHHHQ")  # type, code, checksum, identity, sequence, our own count
ANSWER_PATIENCE = 1.0
SLACK = 0.01


@dataclass(frozen=True, slots=True)
class Echo:
    """One request.  Times are seconds of the machine's monotonic clock."""

    sent: float
    answered: float | None


@dataclass(frozen=True, slots=True)
class PingResult:
    echoes: tuple[Echo, ...]
    duplicates: int

    @property
    def sent(self) -> int:
        return len(self.echoes)

    @property
    def received(self) -> int:
        return sum(echo.answered is not None for echo in self.echoes)

    @property
    def lost(self) -> int:
        return self.sent - self.received

    @property
    def all_answered(self) -> bool:
        return self.sent > 0 and self.lost == 0

    @property
    def none_answered(self) -> bool:
        return self.sent > 0 and self.received == 0

    @property
    def longest_gap_ms(self) -> float:
        """The longest time without an answered request, by when they were sent."""
        ends = {self.echoes[0].sent, self.echoes[-1].sent} if self.echoes else set()
        return _longest_gap(sorted(ends | {echo.sent for echo in self.echoes if echo.answered is not None}))

    @property
    def longest_pause_ms(self) -> float:
        """The longest time in which we sent nothing: a figure well above the interval says the run proves little."""
        return _longest_gap([echo.sent for echo in self.echoes])

    def lost_beyond(self, stuns: Iterable[Stunned], slack: float = SLACK) -> int:
        """Requests lost that were sent while nobody was stunned.

        `slack`: a request sent that long before a stun may have met it under way, or its answer may; and that long
        after, it may have met a switch of the lab that has its new flows and still turns over its cache.
        """
        times = [(stun.began - slack, stun.ended + slack) for stun in stuns if stun.ended is not None]
        return sum(
            echo.answered is None and not any(began <= echo.sent <= ended for began, ended in times)
            for echo in self.echoes
        )

    def __str__(self) -> str:
        return f"{self.received} of {self.sent} answered"


def ping(namespace: str, address: str, count: int, interval: float, patience: float = ANSWER_PATIENCE) -> PingResult:
    running = Ping(namespace, address, interval, count, patience)
    running.thread.join()
    return running.result()


class Ping:
    """A ping that runs in the background until `stop` (or `count` requests)."""

    def __init__(
        self, namespace: str, address: str, interval: float, count: int | None = None, patience: float = ANSWER_PATIENCE
    ) -> None:
        self._version = ip_address(address).version
        self._address = address
        self._interval, self._count, self._patience = interval, count, patience
        self._identity = int.from_bytes(os.urandom(2), "big")
        self._sent: list[float] = []
        self._answered: dict[int, float] = {}
        self._duplicates = 0
        self._stopping = threading.Event()
        self._socket = within(namespace, self._open)
        self.thread = threading.Thread(target=self._run, name=f"ping {address}", daemon=True)
        self.thread.start()

    def stop(self) -> PingResult:
        self._stopping.set()
        self.thread.join()
        return self.result()

    def result(self) -> PingResult:
        echoes = (Echo(sent, self._answered.get(number)) for number, sent in enumerate(self._sent))
        return PingResult(tuple(echoes), self._duplicates)

    def await_answer(self, timeout: float) -> bool:
        """Whether any answer has come by then."""
        deadline = time.monotonic() + timeout
        while not self._answered and time.monotonic() < deadline:
            time.sleep(0.005)
        return bool(self._answered)

    def _open(self) -> socket.socket:
        if self._version == 4:
            return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        return socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)

    def _run(self) -> None:
        with self._socket:
            due = time.monotonic()
            while not self._stopping.is_set() and len(self._sent) != self._count:
                self._send()
                due += self._interval
                self._receive_until(due)
            last = time.monotonic() + self._patience
            while len(self._answered) < len(self._sent) and time.monotonic() < last:
                self._receive_until(min(last, time.monotonic() + 0.02))

    def _send(self) -> None:
        number = len(self._sent)
        parts = (_REQUEST[self._version], 0, 0, self._identity, number & 0xFFFF, number)
        packet = _HEADER.pack(*parts)
        if self._version == 4:  # for ICMPv6 the kernel does it
            packet = _HEADER.pack(*parts[:2], checksum(packet), *parts[3:])
        self._sent.append(time.monotonic())
        # No route, no neighbour, no carrier: a request that was not answered, and so on the account.
        with contextlib.suppress(OSError):
            self._socket.sendto(packet, (self._address, 0))

    def _receive_until(self, deadline: float) -> None:
        while (rest := deadline - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], rest)[0]:
                return
            with contextlib.suppress(OSError):
                self._take(self._socket.recv(2048), time.monotonic())

    def _take(self, packet: bytes, now: float) -> None:
        if self._version == 4:
            packet = packet[(packet[0] & 0x0F) * 4 :]
        if len(packet) < _HEADER.size:
            return
        kind, _, _, identity, _, number = _HEADER.unpack_from(packet)
        if (kind, identity) != (_REPLY[self._version], self._identity):
            return
        self._duplicates += number in self._answered
        self._answered.setdefault(number, now)


def _longest_gap(times: Sequence[float]) -> float:
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0) * 1000
