"""When to try again.  Law: each key waits for its own failures only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits that double from `first` to `longest` seconds, one per key."""

    first: float = 1.0
    longest: float = 60.0
    _failures: dict[Hashable, int] = field(default_factory=dict)
    _until: dict[Hashable, float] = field(default_factory=dict)

    def failed(self, key: Hashable, now: float) -> None:
        """It failed again: wait longer."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self._until[key] = now + min(self.longest, self.first * 2 ** min(count, 30))

    def succeeded(self, key: Hashable) -> None:
        """It worked: forget its failures."""
        self._failures.pop(key, None)
        self._until.pop(key, None)

    def waiting(self, key: Hashable, now: float) -> bool:
        """Whether it is too early to try again."""
        return self._until.get(key, now) > now

    def until(self, keys: Iterable[Hashable]) -> float | None:
        """The earliest moment at which one of `keys` may be tried again; None if none of them waits."""
        return min((moment for key in keys if (moment := self._until.get(key)) is not None), default=None)
