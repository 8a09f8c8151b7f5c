"""The sessions of a simulated vCenter: who is in, how many may be, and the ways in which they end."""

from __future__ import annotations

from dataclasses import dataclass

from lab.vcenter.control import Control


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One logged-in session."""

    key: str
    user: str
    user_agent: str
    calls: int


class Sessions:
    """The sessions of one simulator."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def list(self) -> tuple[SessionLine, ...]:
        """Who is logged in."""
        return tuple(
            SessionLine(s["key"], s["user"], s["userAgent"], s["calls"]) for s in self._control.do("sessions.list")
        )

    def limits(self, *, idle: float = 0.0, most: int = 0, lock_after: int = 0, lock_seconds: float = 0.0) -> None:
        """Sets all limits; what is left out is off.

        `idle` seconds without a call end a session; with `most` sessions a log-in gets HTTP 503; `lock_after` wrong
        passwords in a row lock the user for `lock_seconds`.
        """
        self._control.do(
            "sessions.limits", idleMs=int(idle * 1000), max=most, lockAfter=lock_after, lockMs=int(lock_seconds * 1000)
        )

    def end(self, *, key: str = "", user: str = "") -> int:
        """Ends sessions (all by default); their next call is NotAuthenticated.  Returns how many."""
        return int(self._control.do("sessions.end", key=key, user=user, hollow=False))

    def hollow(self, *, key: str = "", user: str = "") -> int:
        """Lets sessions expire without being told: reads answer HTTP 200 with every property missing."""
        return int(self._control.do("sessions.end", key=key, user=user, hollow=True))
