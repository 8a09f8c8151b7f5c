"""Several blocking calls at once, in plain daemon threads: a far side that hangs must not keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_parallel(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The results of all calls, in order.  What one raised is raised again when all have ended."""
    if len(calls) == 1:
        return [calls[0]()]
    results: dict[int, T] = {}
    raised: dict[int, BaseException] = {}

    def make(index: int) -> None:
        try:
            results[index] = calls[index]()
        except BaseException as fault:  # carried to the caller's thread, decided there
            raised[index] = fault

    threads = [threading.Thread(target=make, args=(index,), daemon=True) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fault in raised.values():
        raise fault
    return [results[index] for index in range(len(calls))]
