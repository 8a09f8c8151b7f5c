"""Listens to an api-server's changes: by /watch where it has that, else on its message bus, else not at all.

Law: whatever breaks off is begun anew with everything, ever more seldom while that does not last.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from isthmus.adapters.contrail.api import ApiServer, Fields, Gone
from isthmus.adapters.contrail.bus import Bus
from isthmus.adapters.contrail.http import Stream
from isthmus.adapters.contrail.meaning import KINDS
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.adapters.contrail.watch import told
from isthmus.model.faults import Refused, Retry

log = logging.getLogger("isthmus")
WATCH = "/watch"
SILENCE = 90.0
"""Seconds without a byte: the server says something each minute."""
FIRST, LONGEST = 1.0, 60.0
"""Seconds until it is tried again."""
LASTED = 60.0
"""Seconds after which a listening was none of those that do not last."""
ANEW = 600.0
"""Seconds after which all is asked for anew: the server is told by RabbitMQ itself, and may have missed something."""
GIVEN_UP = "it told something late, or began long ago, and is asked for everything anew"
LOOKED_AGAIN = 600.0
"""Seconds until a server that had no /watch is asked again: it may be a newer one by then."""


class Feed:
    """A thread that keeps a mirror right."""

    def __init__(self, api: ApiServer, mirror: Mirror, bus: Bus | None = None, silence: float = SILENCE) -> None:
        self._api, self._mirror, self._bus, self._silence = api, mirror, bus, silence
        mirror.listeners.append(self)
        self._stopping = threading.Event()
        self._again = threading.Event()
        """Set to give up what is listened to."""
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None
        self.way = ""
        """How changes are heard of now; empty: they are not."""
        self.why = "not listened yet"
        """Why they are not heard of otherwise."""
        self._begun_at = self.heard_at = time.monotonic()
        """When the server said anything last."""

    def start(self) -> None:
        """Begin to listen."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="contrail-feed", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._stopping.set()
        self._give_up()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    # --- as an ear

    def begun_by(self, way: str) -> None:
        """The mirror is whole."""
        self.way, self.why = way, ""
        self._begun_at = time.monotonic()

    def heard(self) -> None:
        """The far side lives."""
        self.heard_at = time.monotonic()
        if self.way and self.heard_at - self._begun_at > ANEW:
            self._give_up()

    def is_over(self) -> bool:
        """Whether to listen no more."""
        return self._again.is_set() or self._stopping.is_set()

    # --- what the mirror says

    def opening(self) -> None:
        """It was we."""

    def begun(self) -> None:
        """It was we."""

    def changed(self, kind: str, uuid: str, before: Fields | None, after: Fields | None) -> None:
        """It was we."""

    def ended(self) -> None:
        """Somebody found that it tells too late."""
        self._give_up()

    def _give_up(self) -> None:
        self._again.set()
        if (stream := self._stream) is not None:
            stream.close()

    def _run(self) -> None:
        wait = FIRST
        while not self._stopping.is_set():
            self._again.clear()
            began, pause = time.monotonic(), 0.0
            try:
                pause = self._once()
            except Exception as bug:  # the lists are read meanwhile
                log.exception("listening to the api-server: a bug: %r", bug)
                self.why = f"its listener had a bug, which the log has ({type(bug).__name__}), and begins anew"
            finally:
                self.way = ""
                self._mirror.end()
            wait = FIRST if time.monotonic() - began > LASTED else min(LONGEST, 2 * wait)
            self._stopping.wait(pause or wait * random.uniform(0.5, 1.0))

    def _once(self) -> float:
        """Listen until it breaks off.  Returns after how many seconds there is another chance, if that is known."""
        for listen in (self._watch, self._hear):
            try:
                listen()
                self.why = GIVEN_UP
                return 0.0
            except Gone as fault:
                self.why = str(fault)
            except (Retry, Refused) as fault:
                self.why = GIVEN_UP if self._again.is_set() else str(fault)
                return 0.0
        return LOOKED_AGAIN

    def _watch(self) -> None:
        """Raises Gone if the server has no such call."""
        self._mirror.opening()
        with self._api.watch(KINDS, self._silence) as stream:
            self._stream = stream
            try:
                if not self._stopping.is_set():
                    self._follow(stream)
            finally:
                self._stream = None

    def _follow(self, stream: Stream) -> None:
        lists: dict[str, list[Fields]] = {}
        for event in told(stream, KINDS, self.heard):
            if self.is_over():
                return
            if event.is_all:
                lists[event.kind] = event.objects
                if lists.keys() == KINDS.keys():
                    self._mirror.begin(lists)
                    self.begun_by(WATCH)
                continue
            for fields in event.objects:
                if not self._mirror.is_whole:  # one that was not given yet will be given as it is then
                    self._keep(lists.get(event.kind, []), fields, gone=event.gone)
                elif event.gone:
                    self._mirror.drop(event.kind, fields["uuid"])
                else:
                    self._mirror.put(event.kind, fields)

    @staticmethod
    def _keep(held: list[Fields], fields: Fields, *, gone: bool) -> None:
        held[:] = [one for one in held if one["uuid"] != fields["uuid"]] + ([] if gone else [fields])

    def _hear(self) -> None:
        """Raises Gone without a bus."""
        if self._bus is None:
            raise Gone(self.why)

        self._bus.follow(self._api, self._mirror, self)
