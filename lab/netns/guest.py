"""A running VM as a scenario sees it: it pings, sends frames, listens, transfers."""

from __future__ import annotations

from dataclasses import dataclass

from lab.netns import namespace, ping, transfer
from lab.netns.capture import Capture, send
from lab.netns.frames import BROADCAST, Frame, marked
from lab.netns.ping import Ping, PingResult
from lab.netns.transfer import Transfer


@dataclass(frozen=True, slots=True)
class Guest:
    name: str
    namespace: str
    interface: str
    mac: str

    def set_addresses(self, *addresses: str) -> None:
        """With their prefix lengths, IPv4 or IPv6."""
        namespace.ip(
            self.namespace,
            (f"addr replace {a} dev {self.interface}{' nodad' if ':' in a else ''}" for a in addresses),
        )

    def set_mtu(self, mtu: int) -> None:
        namespace.ip(self.namespace, [f"link set {self.interface} mtu {mtu}"])

    def ping(self, address: str, count: int = 5, interval: float = 0.02, patience: float = 1.0) -> PingResult:
        return ping.ping(self.namespace, address, count, interval, patience)

    def keep_pinging(self, address: str, interval: float = 0.01) -> Ping:
        """In the background, until it is stopped; it begins when the first answer has come."""
        found = Ping(self.namespace, address, interval, count=None)
        if not found.await_answer(timeout=5.0):
            found.stop()
            raise ConnectionError(f"{self.name} has no answer from {address}, so there is nothing to keep up")
        found.stop()
        return Ping(self.namespace, address, interval)

    def reaches(self, address: str, within_seconds: float = 5.0) -> bool:
        """Whether an answer comes in that time."""
        running = Ping(self.namespace, address, interval=0.05, patience=0.0)
        answered = running.await_answer(within_seconds)
        running.stop()
        return answered

    def send(self, *frames: Frame) -> None:
        send(self.namespace, self.interface, *frames)

    def listen(self) -> Capture:
        return Capture(self.namespace, self.interface)

    def hears(self, speaker: Guest) -> bool:
        """Whether one of several broadcasts of another VM arrives."""
        with self.listen() as heard:
            for _ in range(5):
                speaker.send(marked(speaker.mac, BROADCAST, f"from {speaker.name}"))
                if heard.hears(lambda frame: frame.src == speaker.mac, 0.2):
                    return True
        return False

    def gets(self, said: Frame, speaker: Guest, patience: float) -> bool:
        """Whether one of three such frames of another VM arrives, each waited for as long as a third of `patience`."""
        with self.listen() as heard:
            for _ in range(3):
                speaker.send(said)
                if heard.hears(lambda frame: frame.src == said.src and frame.payload == said.payload, patience / 3):
                    return True
        return False

    def connects(self, to: Guest, address: str, within_seconds: float) -> bool:
        """Whether a TCP connection comes about in that time."""
        return transfer.connects(self.namespace, to.namespace, address, within_seconds)

    def transfer(self, to: Guest, address: str, size: int = 1 << 20) -> Transfer:
        return transfer.transfer(self.namespace, to.namespace, address, size)
