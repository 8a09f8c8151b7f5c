"""Frames that no rule allows, said all the time: how many of them are heard while parts of a host start anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.netns.frames import gratuitous_arp
from lab.netns.guest import Guest

INTERVAL = 0.02


@dataclass(slots=True)
class Heard:
    """When somebody heard what no rule allows, on the machine's clock."""

    times: list[float] = field(default_factory=list)
    sent: int = 0

    def __str__(self) -> str:
        span = f" in {self.times[-1] - self.times[0]:.1f} s" if self.times else ""
        return f"{len(self.times)} of {self.sent} heard{span}"


@contextmanager
def says_to_be(address: str, speaker: Guest, listener: Guest) -> Iterator[Heard]:
    """For the duration of a block a VM says every 20 ms that it has an address which is not its own."""
    said, heard, stop = gratuitous_arp(speaker.mac, address), Heard(), threading.Event()
    with listener.listen() as ear:

        def count() -> None:
            new = len(ear.frames(lambda frame: frame.src == said.src and frame.payload == said.payload))
            heard.times += [time.monotonic()] * (new - len(heard.times))

        def speak() -> None:
            while not stop.wait(INTERVAL):
                speaker.send(said)
                heard.sent += 1
                count()

        thread = threading.Thread(target=speak, name=f"{speaker.name} says to be {address}", daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            stop.set()
            thread.join()
            count()
