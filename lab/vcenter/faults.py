"""Faults on demand: which calls and tasks of the simulated vCenter are spoilt, and how.

Law: a call is spoilt before anything of it is done, or after all of it is done (`after=True`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab.vcenter.control import Control


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the vSphere API by its name, with fields as the API calls them."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, fault: str, /, **arguments: Any) -> Fault:
        return cls(fault, tuple(arguments.items()))


@dataclass(frozen=True, slots=True)
class Delay:
    """The call, or its answer, comes late."""

    ms: int


@dataclass(frozen=True, slots=True)
class Hang:
    """The call, or its answer, waits until the rule is released or cleared."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection closes without an answer."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """HTTP 503, as a vCenter that throttles answers; `retry_after` in seconds, 0 for no such header."""

    retry_after: int = 0


What = Fault | Delay | Hang | Drop | Unavailable


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is in force: how many calls it matched and how many it struck."""

    id: int
    method: str
    object: str
    host: str
    act: str
    matched: int
    struck: int


class Faults:
    """The rules of one simulator."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def add(
        self,
        what: What,
        *,
        method: str = "",
        object: str = "",
        host: str = "",
        after: bool = False,
        in_task: bool = False,
        probability: float = 1.0,
        skip: int = 0,
        count: int = 0,
    ) -> int:
        """Puts a rule into force and returns its number.

        `method` as in the API (`ReconfigureDVPort_Task`), `object` a name or a reference (`red`, `vm-12`), `host` for
        every call about this host; what is left out selects all.  `in_task` spoils the task, not the call that starts
        it.  The first `skip` matches go through, and after `count` strikes the rule rests (0: never).
        """
        return int(
            self._control.do(
                "faults.add",
                method=method,
                object=object,
                host=host,
                after=after,
                inTask=in_task,
                probability=probability,
                skip=skip,
                count=count,
                **_rendered(what),
            )
        )

    @contextmanager
    def during(self, what: What, **where: Any) -> Iterator[int]:
        """A rule for the length of a block."""
        number = self.add(what, **where)
        try:
            yield number
        finally:
            self.clear(number)

    def list(self) -> tuple[Rule, ...]:
        """The rules in force."""
        return tuple(
            Rule(r["id"], r["method"], r["object"], r["host"], r["act"], r["matched"], r["struck"])
            for r in self._control.do("faults.list")
        )

    def struck(self, number: int) -> int:
        """How often a rule has struck."""
        return next(r.struck for r in self.list() if r.id == number)

    def clear(self, number: int = 0) -> None:
        """Takes out a rule, or all; what hangs on it goes on."""
        self._control.do("faults.clear", id=number)

    def release(self, number: int = 0) -> None:
        """Lets go of what hangs on a rule, which stays in force."""
        self._control.do("faults.release", id=number)

    def seed(self, seed: int) -> None:
        """Seeds the dice that `probability` throws."""
        self._control.do("faults.seed", seed=seed)


def _rendered(what: What) -> dict[str, Any]:
    match what:
        case Fault(name, arguments):
            return {"act": "fault", "fault": name, "arguments": dict(arguments)}
        case Delay(ms):
            return {"act": "delay", "delayMs": ms}
        case Hang():
            return {"act": "hang"}
        case Drop():
            return {"act": "drop"}
        case Unavailable(retry_after):
            return {"act": "unavailable", "retryAfter": retry_after}
