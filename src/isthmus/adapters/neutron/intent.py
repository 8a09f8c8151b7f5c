"""Neutron as a source of intent: what its drivers answer, read whole for each round and put in our words."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence

import oslo_messaging

from isthmus.adapters.neutron.bus import Bus
from isthmus.adapters.neutron.facts import Facts, Segment, facts_of
from isthmus.adapters.neutron.meaning import Places, intent_of
from isthmus.adapters.neutron.protocol import NOTIFY_TOPIC, SERVER_TOPIC, VERSION
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
        self.troubles: dict[str, str] = {}
        """What could not be had of Neutron when it was last asked, and why."""
        self.retiring: frozenset[Segment] = frozenset()
        """The segments that the last answer told to be on their way out.  They lose their place when the next answer
        says so too: whoever asks for a port group in between is not given what is about to go.  (At the first answer
        nobody was given anything yet.)"""

    def read(self) -> Intent:
        """The whole intent.  Raises Retry if Neutron does not answer."""
        facts = facts_of(self._bus.call(SERVER_TOPIC, "read"))
        self.reasons = {key: why for key, why in list(self.reasons.items()) if key[0] in facts.networks}
        retiring = frozenset(segment for segment in facts.segments if not segment.wanted)
        leaving = retiring & self.retiring if self.facts is not None else retiring
        self.facts, self.retiring = facts, retiring
        return intent_of(facts, self._places, self.reasons, leaving, dict(self.troubles))

    def is_retiring(self, domain: str, network: NetworkId) -> bool:
        """The last answer says that the network's VLAN in the domain is on its way out."""
        return any(segment.domain == domain and segment.network == network for segment in self.retiring)

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
