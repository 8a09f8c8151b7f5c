"""Notices that a leaf is no longer as it was last observed, or cannot be reached, or can be again.  It only wakes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from isthmus.model.faults import Refused, Retry

Sight: TypeAlias = object
_LOST: Sight = object()


class Watch:
    """A thread that looks every `interval` seconds and calls `wake` when what it sees is neither known nor told yet."""

    def __init__(
        self, name: str, look: Callable[[], Sight], known: Callable[[], Sight], wake: Callable[[], None],
        interval: float = 1.0,
    ) -> None:  # fmt: skip
        """`look` is what is, and raises if that cannot be told; `known` is what was last observed, None if nothing."""
        self._look, self._known, self._wake = look, known, wake
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {name}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        told = self._sight()
        while not self._stop.wait(self._interval):
            sight = self._sight()
            if sight != told and (told is _LOST or sight != self._known()):
                self._wake()
            told = sight

    def _sight(self) -> Sight:
        try:
            return self._look()
        except (Retry, Refused):
            return _LOST
