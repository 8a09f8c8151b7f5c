"""Errands carried to Neutron's drivers, and what came of them.

Law: what cannot be had of one kind keeps no other from being asked for, and is shown until it can.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from isthmus.adapters.neutron.bus import Bus
from isthmus.adapters.neutron.errands import Errands, Memory
from isthmus.adapters.neutron.protocol import SERVER_TOPIC
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.names import NetworkId

log = logging.getLogger("isthmus")
AT_ONCE = 200
"""Ports or segments in one message."""
READY_AT_ONCE = 50
"""Neutron takes some hundredths of a second to make a port ACTIVE."""
REBOUND_AT_ONCE = 5
REBOUND_WITHIN = 150.0
"""Seconds for these: each may wait, in Neutron, for a port group."""


class Delivery:
    """For one thread.  Ports are bound again on another, since that takes long."""

    def __init__(self, bus: Bus, memory: Memory, troubles: dict[str, str], rebound: Callable[[], None]) -> None:
        """`troubles`: where what could not be had is written, by kind; `rebound` is told when binding again ended."""
        self._bus = bus
        self._memory = memory
        self._troubles = troubles
        self._rebound = rebound
        self._rebinding = threading.Lock()

    def deliver(self, found: Errands) -> bool:
        """Ask it all of Neutron; whether something changed there that the loop should look at.

        Raises Unreachable when the message bus is away: nothing of what is left counts as tried then.
        """
        try:
            return self._delivered(found)
        except Unreachable:
            self._memory.forget_tries()
            raise
        finally:
            for kind in [kind for kind in self._troubles if not self._memory.has_tried(kind)]:
                del self._troubles[kind]

    def _delivered(self, found: Errands) -> bool:
        corrected = self._asked("correct", found.correct, lambda ports: {"ports": ports})
        self._asked("ready", found.ready, lambda ports: {"ports": ports}, READY_AT_ONCE)
        given = [self._allocated(*item) for item in found.allocate]
        retired = self._asked("retire", found.retire, lambda unused: {"unused": unused})
        gone = self._asked("release", found.release, lambda retiring: {"retiring": retiring})
        self._asked("hold", found.hold, lambda vlans: {"vlans": vlans})
        self._asked("free", found.free, lambda vlans: {"vlans": vlans})
        if found.rebind:
            self._bind_again(found.rebind)
        told = {"ready": [port["id"] for port in found.ready], "retiring": _joined(retired), "released": _joined(gone)}
        for what, ids in told.items():
            if ids:
                log.info("neutron: %s: %s", what, ", ".join(ids))
        return bool(corrected or any(given) or told["retiring"] or told["released"])

    def _asked(
        self, kind: str, items: Sequence[Any], put: Callable[[list[Any]], dict[str, Any]], at_once: int = AT_ONCE
    ) -> list[Any]:
        """The answers to one kind of errand, a portion each."""
        answers = []
        for portion in _portions(items, at_once):
            try:
                answers.append(self._bus.call(SERVER_TOPIC, kind, **put(portion)))
                self._troubles.pop(kind, None)
            except Unreachable:
                raise
            except (Retry, Refused) as fault:
                self._failed(kind, fault)
        return answers

    def _failed(self, kind: str, fault: Exception) -> None:
        if self._troubles.get(kind) != str(fault):
            log.warning("neutron: %s: %s", kind, fault)
        self._troubles[kind] = str(fault)

    def _allocated(self, network: NetworkId, domain: str) -> bool:
        for reason in self._asked("allocate", [(network, domain)], lambda _: {"network": network, "domain": domain}):
            if reason:
                log.warning("network %s has no VLAN in mapping domain %s: %s", network, domain, reason)
            return not reason
        return False

    def _bind_again(self, ports: tuple[str, ...]) -> None:
        if not self._rebinding.acquire(blocking=False):
            self._memory.forget_tries("rebind")
            return
        threading.Thread(target=self._rebind, args=(ports,), name="neutron-rebind", daemon=True).start()

    def _rebind(self, ports: tuple[str, ...]) -> None:
        try:
            log.info("neutron: binding again: %s", ", ".join(ports))
            for some in _portions(ports, REBOUND_AT_ONCE):
                try:
                    self._bus.call(SERVER_TOPIC, "rebind", ports=some, seconds=REBOUND_WITHIN)
                except (Retry, Refused) as fault:
                    log.warning("neutron: binding again: %s", fault)
        finally:
            self._rebinding.release()
            self._rebound()


def _joined(answers: Sequence[list[str]]) -> list[str]:
    return [item for answer in answers for item in answer]


def _portions(items: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
