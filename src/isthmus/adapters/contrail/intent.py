"""A Contrail api-server as a source of intent: its virtual networks, and its VMIs where others make them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.meaning import ADDRESS_FIELDS, NETWORK_FIELDS, PORT_FIELDS, Choice, intent_of
from isthmus.model.boundary import Wake
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent
from isthmus.model.names import NetworkId

POLL = 5.0
"""Seconds between two looks where nobody tells of changes."""


class ContrailIntent:
    """An IntentSource over REST, which looks again every few seconds."""

    def __init__(self, api: ApiServer, choice: Choice, poll: float = POLL) -> None:
        self._api, self._choice, self._poll = api, choice, poll
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._last: Intent | None = None
        self._names: Mapping[str, Sequence[str]] = {}

    def read(self) -> Intent:
        """The whole intent.  Raises Retry if a list cannot be had whole, Refused if the server refuses one."""
        self._last = self._asked()
        return self._last

    def named(self, network: NetworkId) -> Sequence[str]:
        """Domain, project and name of a network that was read.  Raises Retry for one that was not."""
        try:
            return self._names[network]
        except KeyError:
            raise Retry(f"network {network}: the api-server has not told of it yet") from None

    def watch(self, wake: Wake) -> None:
        """Look again and again, and wake everybody when what is there is not what was read last."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._look, args=(wake,), name="contrail-intent", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(timeout=self._poll + 1)

    def _look(self, wake: Wake) -> None:
        while not self._stopping.wait(self._poll):
            try:
                now = self._asked()
            except (Retry, Refused):  # who reads says so
                continue
            if now != self._last:
                self._last = now
                wake(None)

    def _asked(self) -> Intent:
        networks = self._api.listed("virtual-network", NETWORK_FIELDS)
        self._names = {fields["uuid"]: fields["fq_name"] for fields in networks}
        if not self._choice.listed:
            return intent_of(self._choice, networks)
        ports = self._api.listed("virtual-machine-interface", PORT_FIELDS)
        addresses = self._api.listed("instance-ip", ADDRESS_FIELDS)
        return intent_of(self._choice, networks, ports, addresses)
