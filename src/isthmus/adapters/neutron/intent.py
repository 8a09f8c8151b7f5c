"""Neutron as a source of intent: what its drivers answer, read whole for each round and put in our words."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import oslo_messaging

from isthmus.adapters.neutron.bus import Bus
from isthmus.adapters.neutron.facts import Facts, Heard, facts_in, heard_in
from isthmus.adapters.neutron.meaning import Places, Reasons, intent_of, wanted_in
from isthmus.adapters.neutron.protocol import NOTIFY_TOPIC, SERVER_TOPIC, VERSION
from isthmus.adapters.neutron.tenure import Tenure
from isthmus.model.boundary import Wake
from isthmus.model.intent import Intent
from isthmus.model.names import NetworkId

HOLDS = 2.0
"""Seconds that an answer stands while Neutron says of no change: a word of it may be lost."""
SHOWN_WITHIN = 4.0
"""Seconds: whoever asks what is shown waits for it."""
MOST_REFUSED = 10_000
LONGEST_REASON = 500


class NeutronIntent:
    """An IntentSource over Neutron's message bus."""

    def __init__(self, bus: Bus, places: Places, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._places = places
        self._clock = clock
        self._changes = 0
        self._answered = (-1, 0.0)
        """How many changes were heard of when the last good answer was asked for, and when that was."""
        self.facts: Facts | None = None
        """What the last good answer said."""
        self.reasons: dict[tuple[NetworkId, str], str] = {}
        """Why Neutron was given no port group when it last asked, by network and host."""
        self.refused: dict[tuple[str, str], str] = {}
        """Why Neutron's drivers did not bind a port on a host, as they said."""
        self.troubles: Mapping[str, str] = {}
        """What could not be had of Neutron when it was last asked, and why."""
        self.tenure = Tenure()

    def read(self) -> Intent:
        """The whole intent.  Raises Retry if Neutron does not answer."""
        asked = self._changes, self._clock()
        facts = facts_in(self._bus.call(SERVER_TOPIC, "read"))
        self.reasons = {key: why for key, why in list(self.reasons.items()) if key[0] in facts.networks}
        waiting = {(p.id, b.host) for p in facts.ports for b in p.bindings if b.failed or b.unbound}
        self.refused = {key: why for key, why in list(self.refused.items()) if key in waiting}
        leaving, wanted = self.tenure.read(facts, wanted_in(facts, self._places))
        self.facts = facts
        intent = intent_of(facts, self._places, self.why, leaving, self.troubles, wanted)
        self._answered = asked
        return replace(intent, reading=self.tenure.reading)

    def heard(self) -> Mapping[str, Heard]:
        """Who reports which VTEP, as Neutron knows it now.  Raises Retry if Neutron does not answer soon."""
        return heard_in(self._bus.call(SERVER_TOPIC, "heard", seconds=SHOWN_WITHIN))

    def holds(self) -> bool:
        """Whether Neutron would answer what it answered last, as far as is known."""
        changes, asked_at = self._answered
        return changes == self._changes and self._clock() - asked_at < HOLDS

    def changed(self) -> None:
        """Something is not as it was when Neutron was read last."""
        self._changes += 1

    @property
    def why(self) -> Reasons:
        """Why ports are not bound."""
        return Reasons(self.reasons, self.refused)

    def hear(self, port: object, host: object, reason: object) -> None:
        """A driver says why a port is not bound on a host."""
        if len(self.refused) < MOST_REFUSED:
            self.refused[str(port), str(host)] = str(reason)[:LONGEST_REASON]
        self.changed()

    def watch(self, wake: Wake) -> None:
        """Be woken by the drivers' hooks."""
        self._bus.serve(NOTIFY_TOPIC, f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", [_Ear(wake, self)])

    def close(self) -> None:
        """Leave the bus."""
        self._bus.close()


class _Ear:
    """Hears that networks changed."""

    target = oslo_messaging.Target(version=VERSION)

    def __init__(self, wake: Wake, source: NeutronIntent) -> None:
        self._wake = wake
        self._source = source

    def changed(self, context: object, networks: Sequence[str]) -> None:
        """Which ones does not matter: every shard that has something of them looks anew."""
        self._source.changed()
        self._wake(None)

    def refused(self, context: object, port: object, host: object, reason: object) -> None:
        """A port was not bound on a host: shown with the next round."""
        self._source.hear(port, host, reason)
