"""Neutron as a source of intent: what its drivers answer, read whole for each round and put in our words."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

import oslo_messaging

from isthmus.adapters.neutron.bus import Bus
from isthmus.adapters.neutron.facts import Facts, facts_of
from isthmus.adapters.neutron.meaning import Places, intent_of, wanted_in
from isthmus.adapters.neutron.protocol import NOTIFY_TOPIC, SERVER_TOPIC, VERSION
from isthmus.adapters.neutron.tenure import Tenure
from isthmus.model.boundary import Wake
from isthmus.model.intent import Intent
from isthmus.model.names import NetworkId


class NeutronIntent:
    """An IntentSource over Neutron's message bus."""

    def __init__(self, bus: Bus, places: Places) -> None:
        self._bus = bus
        self._places = places
        self.facts: Facts | None = None
        """What the last good answer said."""
        self.reasons: dict[tuple[NetworkId, str], str] = {}
        """Why Neutron was given no port group when it last asked, by network and host."""
        self.troubles: Mapping[str, str] = {}
        """What could not be had of Neutron when it was last asked, and why."""
        self.tenure = Tenure()

    def read(self) -> Intent:
        """The whole intent.  Raises Retry if Neutron does not answer."""
        facts = facts_of(self._bus.call(SERVER_TOPIC, "read"))
        self.reasons = {key: why for key, why in list(self.reasons.items()) if key[0] in facts.networks}
        leaving, wanted = self.tenure.read(facts, wanted_in(facts, self._places))
        self.facts = facts
        intent = intent_of(facts, self._places, self.reasons, leaving, self.troubles, wanted)
        return replace(intent, reading=self.tenure.reading)

    def watch(self, wake: Wake) -> None:
        """Be woken by the drivers' hooks."""
        self._bus.serve(NOTIFY_TOPIC, f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", [_Ear(wake)])

    def close(self) -> None:
        """Leave the bus."""
        self._bus.close()


class _Ear:
    """Hears that networks changed."""

    target = oslo_messaging.Target(version=VERSION)

    def __init__(self, wake: Wake) -> None:
        self._wake = wake

    def changed(self, context: object, networks: Sequence[str]) -> None:
        """Which ones does not matter: every shard that has something of them looks anew."""
        self._wake(None)
