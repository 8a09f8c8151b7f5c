"""Errands carried to Neutron's drivers, and what came of them.

Law: what cannot be had of one kind keeps no other from being asked for, and is shown until it can; and Neutron is
seldom asked for what it did not do when it was asked for that alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.adapters.neutron.bus import Bus
from isthmus.adapters.neutron.errands import Errands, Memory, key_of, kind_of
from isthmus.adapters.neutron.protocol import SERVER_TOPIC
from isthmus.model.faults import Refused, Retry, Unreachable

log = logging.getLogger("isthmus")
AT_ONCE = 200
"""Segments or VLANs in one message."""
PORTS_AT_ONCE = 10
"""Neutron takes some hundredths of a second to change a port, and tenths while its agents ask for each of 200.  What is
not answered in time it goes on with, beside the same asked for again."""
IMPATIENT = 2.0
"""Seconds of failures of one kind until the other kinds have their turn."""
SHARE = 0.2
"""Of the time, at most, goes into what failed of one kind when it was asked for alone, and BREATHER s pass between."""
BREATHER = 1.0
STRANGE = "Neutron's isthmus drivers answered something else than expected: are they of this isthmus's release?"
LACKING = ("network", "domain")
"""What a network without a VLAN is asked for with."""
REBIND = "rebind"
REBOUND_AT_ONCE = 5
REBOUND_WITHIN = 150.0
"""Seconds for these: each may wait, in Neutron, for a port group."""


class Delivery:
    """For one thread.  Ports are bound again on another, since that takes long."""

    def __init__(
        self,
        bus: Bus,
        memory: Memory,
        show: Callable[[Mapping[str, str]], None],
        rebound: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`show` is told what cannot be had, by kind, and why; `rebound` that binding again ended."""
        self._bus = bus
        self._memory = memory
        self._show = show
        self._rebound = rebound
        self._clock = clock
        self._failing: dict[str, str] = {}
        """Why, by errand."""
        self._rests: dict[str, float] = {}
        """Until when what failed alone is not tried, by kind."""
        self._ended: _Rebinding | None = None

    def settle(self, now: float) -> None:
        """Before the next errands are thought out: take in what ended meanwhile."""
        if (ended := self._ended) is not None:
            self._ended = None
            self._memory.ended(REBIND, ended.ports, now, tried=ended.tried)
            self._note(REBIND, ended.ports, ended.reason)

    def deliver(self, found: Errands) -> bool:
        """Ask it all of Neutron; whether something changed there that the loop should look at.

        Raises Unreachable when the message bus is away: nothing counts as tried then.
        """
        try:
            return self._delivered(found)
        except Unreachable:
            self._memory.forget_tries()
            raise
        finally:
            self._failing = {key: why for key, why in self._failing.items() if key in self._memory.again_at}
            self._show({kind_of(key): why for key, why in self._failing.items()})

    def _delivered(self, found: Errands) -> bool:
        corrected = self._asked("correct", found.correct, lambda ports: {"ports": ports}, PORTS_AT_ONCE)
        ready = self._asked("ready", found.ready, lambda ports: {"ports": ports}, PORTS_AT_ONCE)
        down = self._asked("down", found.down, lambda ports: {"ports": ports}, PORTS_AT_ONCE)
        given = self._asked("allocate", found.allocate, lambda items: dict(zip(LACKING, items[0], strict=True)), 1)
        retired = self._asked("retire", found.retire, lambda unused: {"unused": unused})
        gone = self._asked("release", found.release, lambda retiring: {"retiring": retiring})
        self._asked("hold", found.hold, lambda vlans: {"vlans": vlans})
        self._asked("free", found.free, lambda vlans: {"vlans": vlans})
        if found.rebind:
            self._begin_to_rebind(found.rebind)
        told = {"ready": _ids(ready), "down": _ids(down), "retiring": _joined(retired), "released": _joined(gone)}
        for ((network, domain),), reason in given:
            if reason:
                log.warning("network %s has no VLAN in mapping domain %s: %s", network, domain, reason)
        for what, ids in told.items():
            if ids:
                log.info("neutron: %s: %s", what, ", ".join(ids))
        is_given = any(not reason for _, reason in given)
        return bool(corrected or is_given or told["retiring"] or told["released"])

    def _asked(
        self, kind: str, items: Sequence[Any], put: Callable[[list[Any]], dict[str, Any]], at_once: int = AT_ONCE
    ) -> list[tuple[list[Any], Any]]:
        """What was answered of one kind of errand: portion by portion, with the answers.

        What failed is tried after all that did not, and by itself: so one item that hangs costs the others of its kind
        one answer for each time that it is tried.  When failures took a while the rest is due again at once, after all
        other kinds were asked for: so a kind that hangs costs the others one answer.  What failed by itself is tried
        last, and rests together.
        """
        answers = []
        wasted = 0.0
        portions = self._in_turn(kind, items, at_once)
        for number, portion in enumerate(portions):
            began = self._clock()
            if key_of(kind, portion[0]) in self._memory.failed_alone and began < self._rests.get(kind, began):
                self._postpone(kind, portions[number:], self._rests[kind])
                break
            try:
                answer = self._bus.call(SERVER_TOPIC, kind, **put(portion))
                if not _is_expected(kind, answer):
                    raise Retry(STRANGE)
                answers.append((portion, answer))
                self._memory.answered(kind, portion)
                self._note(kind, portion)
            except Unreachable:
                raise
            except (Retry, Refused) as fault:
                wasted += self._failed(kind, portion, str(fault), began)
                if wasted >= IMPATIENT:
                    self._postpone(kind, portions[number + 1 :], self._clock())
                    break
        return answers

    def _in_turn(self, kind: str, items: Sequence[Any], at_once: int) -> list[list[Any]]:
        """In portions: what never failed; then one by one what failed, longest ago first, and last what did alone."""
        tried_at, failed_alone = self._memory.tried_at, self._memory.failed_alone
        fresh = [item for item in items if key_of(kind, item) not in tried_at]
        failed = [(key, item) for item in items if (key := key_of(kind, item)) in tried_at]
        failed.sort(key=lambda one: (one[0] in failed_alone, tried_at[one[0]]))
        return [*_portions(fresh, at_once), *_portions([item for _, item in failed], 1)]

    def _failed(self, kind: str, portion: list[Any], reason: str, began: float) -> float:
        """Remember it.  Returns the seconds that it took."""
        now = self._clock()
        self._note(kind, portion, reason)
        self._memory.ended(kind, portion, now)
        if len(portion) == 1:
            self._memory.failed_alone.add(key_of(kind, portion[0]))
            self._rests[kind] = now + max(BREATHER, (now - began) * (1 / SHARE - 1))
        return now - began

    def _postpone(self, kind: str, portions: list[list[Any]], until: float) -> None:
        self._memory.postponed(kind, [item for portion in portions for item in portion], until)

    def _note(self, kind: str, items: Iterable[object], reason: str = "") -> None:
        """What came of some errands: done, or why not."""
        if reason and reason not in {why for key, why in self._failing.items() if kind_of(key) == kind}:
            log.warning("neutron: %s: %s", kind, reason)
        for key in (key_of(kind, item) for item in items):
            self._failing.pop(key, None)
            if reason:
                self._failing[key] = reason

    def _begin_to_rebind(self, ports: tuple[str, ...]) -> None:
        self._memory.begun(REBIND)
        try:
            threading.Thread(target=self._rebind, args=(ports,), name="neutron-rebind", daemon=True).start()
        except RuntimeError as fault:  # the machine has no thread left
            self._ended = _Rebinding(ports, str(fault))

    def _rebind(self, ports: tuple[str, ...]) -> None:
        ended = _Rebinding(ports, "it was broken off")
        try:
            log.info("neutron: binding again: %s", ", ".join(ports))
            ended = self._tried_again(ports)
        finally:
            self._ended = ended
            self._rebound()

    def _tried_again(self, ports: tuple[str, ...]) -> _Rebinding:
        reason = ""
        for some in _portions(ports, REBOUND_AT_ONCE):
            try:
                self._bus.call(SERVER_TOPIC, REBIND, ports=some, seconds=REBOUND_WITHIN)
            except Unreachable as fault:
                return _Rebinding(ports, str(fault), tried=False)
            except (Retry, Refused) as fault:
                reason = str(fault)
        return _Rebinding(ports, reason)


@dataclass(frozen=True, slots=True)
class _Rebinding:
    """What came of it: why some could not be tried, at the worst; `tried` is False when the message bus was away."""

    ports: tuple[str, ...]
    reason: str
    tried: bool = True


def _is_expected(kind: str, answer: Any) -> bool:
    """Whether it is an answer to that kind of errand; to most there is nothing to be said."""
    match kind:
        case "retire" | "release":
            return isinstance(answer, list) and all(isinstance(id_, str) for id_ in answer)
        case "allocate":
            return isinstance(answer, str)
    return True


def _ids(answers: Sequence[tuple[list[Any], Any]]) -> list[str]:
    return [port["id"] for ports, _ in answers for port in ports]


def _joined(answers: Sequence[tuple[list[Any], list[str]]]) -> list[str]:
    return [item for _, answer in answers for item in answer]


def _portions(items: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
