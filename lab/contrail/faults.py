"""What a test does to the api-server, and what it may ask of it: knobs and counters.

Law: a fault is in force until it is taken back; the objects stay what they are.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

HTML = (200, "text/html; charset=UTF-8", b"<html><body><h1>It works!</h1></body></html>")
HALF_JSON = (200, "application/json", b'{"virtual-networks": [{"uuid": "0a1')
BAD_GATEWAY = (502, "text/html", b"<html><body><h1>502 Bad Gateway</h1>\nThe server died.</body></html>")
UNAVAILABLE = (503, "text/html", b"<html><body><h1>503 Service Unavailable</h1>\nNo server.</body></html>")
READING = ("/list-bulk-collection", "/fqname-to-id", "/id-to-fqname")
"""POSTs that change nothing."""
Spoiled = tuple[int, str, bytes]
"""A status, a type and a body, sent in place of an answer; nothing is done."""


def everything(method: str, path: str) -> bool:
    return True


@dataclass(slots=True)
class Faults:
    where: Callable[[str, str], bool] = everything
    """Which requests meet `slowness`, `spoiled`, `is_hung` and `loses_answers`, by method and path."""
    slowness: float = 0.0
    spoiled: Spoiled | None = None
    loses_answers: bool = False
    """What is asked for is done at once, and never answered."""
    failing_lists: dict[str, int] = field(default_factory=dict)
    """The status that a list of a type ends with, by the type's name.  The real one turns a failed read into 404."""
    loses_messages: bool = False
    """Nothing reaches the announcer any more.  Streams of /watch go on."""
    has_watch: bool = True
    """Older servers have no /watch."""
    _is_hung: bool = False
    _is_frozen: bool = False
    _is_stopping: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    # --- knobs that somebody waits for

    def hang(self) -> None:
        """Take connections and requests, and never answer."""
        self._set(hung=True)

    def freeze_writes(self) -> None:
        """As with ZooKeeper frozen: reads are answered; writes wait, and are done when it thaws, whoever has left."""
        self._set(frozen=True)

    def thaw(self) -> None:
        """Go on with what hangs and what waits."""
        self._set(hung=False, frozen=False)

    # --- for the server

    def await_turn(self, method: str, path: str) -> bool:
        """Returns when a request may be dealt with; False if the server ends first."""
        is_write = method != "GET" and path not in READING

        def is_free() -> bool:
            is_held = (self._is_hung and self.where(method, path)) or (self._is_frozen and is_write)
            return self._is_stopping or not is_held

        with self._changed:
            self._changed.wait_for(is_free)
            return not self._is_stopping

    def pause(self, seconds: float) -> None:
        """As long as this, or until the server ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping, seconds)

    def stop_waiting(self) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def start_again(self) -> None:
        with self._changed:
            self._is_stopping = False

    def _set(self, *, hung: bool | None = None, frozen: bool | None = None) -> None:
        with self._changed:
            self._is_hung = self._is_hung if hung is None else hung
            self._is_frozen = self._is_frozen if frozen is None else frozen
            self._changed.notify_all()


@dataclass(slots=True)
class Calls:
    """How often was asked for what: ("GET", "virtual-networks") is a list, ("GET", "virtual-network") a read."""

    _counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, method: str, path: str) -> None:
        with self._lock:
            self._counted[method, path.strip("/").partition("/")[0]] += 1

    def so_far(self) -> Counter[tuple[str, str]]:
        with self._lock:
            return Counter(self._counted)

    def forget(self) -> None:
        with self._lock:
            self._counted.clear()
