"""A read in a thread of its own, so that who asked may stop waiting.  Law: it goes on, and is told of when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 3.0
"""Seconds given to a far side whose last good answer is known."""


def no_answer(seconds: float) -> str:
    """Why there is nothing newer."""
    return f"no answer within {seconds:g} s"


class Asking(Generic[T]):
    """One read under way.  `ended` takes its answer or its fault in, before anyone who waits goes on."""

    def __init__(
        self, read: Callable[[], T], ended: Callable[[Asking[T]], None], late: Callable[[Asking[T]], None]
    ) -> None:
        self._read = read
        self._ended = ended
        self._late = late
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._given_up = False
        self.answer: T | None = None
        self.fault: BaseException | None = None
        threading.Thread(target=self._work, name="read", daemon=True).start()

    def wait(self, seconds: float | None) -> bool:
        """Whether it ended.  Once somebody gave up on it, nobody waits any more."""
        if self._over.wait(0 if self._given_up and seconds is not None else seconds):
            return True
        with self._lock:
            if self._over.is_set():
                return True
            self._given_up = True
            return False

    def _work(self) -> None:
        try:
            self.answer = self._read()
        except BaseException as fault:  # carried to the thread that asked, decided there
            self.fault = fault
        self._ended(self)
        with self._lock:
            self._over.set()
            late = self._given_up
        if late:
            self._late(self)
