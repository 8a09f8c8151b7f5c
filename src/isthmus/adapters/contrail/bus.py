"""The message bus of an api-server, which says that something changed, and not how it is now (OpenSDN fbb63bcd).

Law: listened first and listed then, so that nothing falls between; what was missed while nobody listened is in the next
list.  A message is no more than a reason to read, since an update has no content: those of a moment are read at once.
"""

from __future__ import annotations

import ssl
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError
from kombu import Connection, Consumer, Exchange, Queue
from kombu.exceptions import KombuError

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.meaning import KINDS
from isthmus.adapters.contrail.mirror import Mirror
from isthmus.model.faults import Refused, Unreachable

BUS = "its message bus"
EXCHANGE = "vnc_config.object-update"
HEARTBEAT = 10
"""Seconds: after two of them without a word the broker is taken for gone."""
BOUNDED = {"read_timeout": 2 * HEARTBEAT, "write_timeout": 2 * HEARTBEAT}
SHORTLY = 0.01
"""Seconds: no more than a look whether something came, between two lists that may take long."""
MOMENT = 0.05
"""Seconds in which messages are gathered before what they are about is read."""


class Ear(Protocol):
    """Who listens."""

    def begun_by(self, way: str) -> None:
        """The mirror is whole, and is told of every change from now on."""
        ...

    def heard(self) -> None:
        """The far side lives."""
        ...

    def is_over(self) -> bool:
        """Whether to listen no more."""
        ...


@dataclass(frozen=True, slots=True)
class Bus:
    """`url` gives ``amqp://user:password@host:5672//``, or ``amqps``, anew each time, since it holds a password.

    `ca_file` is whom to trust with ``amqps``; without it whom the system trusts.
    """

    url: Callable[[], str]
    ca_file: str | None = None

    def follow(self, api: ApiServer, mirror: Mirror, ear: Ear) -> None:
        """Keep a mirror right until it is over.  Raises Unreachable when the bus breaks off, Refused for a bad URL."""
        connection = self._connected()
        try:
            self._follow(connection, api, mirror, ear)
        except (OSError, KombuError, AMQPError) as fault:
            raise Unreachable(
                f"the api-server's message bus cannot be listened to: {_said(fault)}; check that it runs, and its URL"
            ) from fault
        finally:
            connection.collect()  # without a good-bye, which one that hangs would never answer

    def _connected(self) -> Connection:
        try:
            url = self.url()
            tls = self._tls(urlsplit(url).hostname) if url.startswith("amqps:") else False
            return Connection(url, heartbeat=HEARTBEAT, connect_timeout=5, transport_options=BOUNDED, ssl=tls)
        except (ValueError, KeyError) as fault:
            raise Refused(
                "the api-server's message bus: its URL is not one such as amqp://user:password@host:5672//"
            ) from fault

    def _tls(self, host: str | None) -> dict[str, Any]:
        """The library by itself would check no name."""
        trusted = {} if self.ca_file is None else {"ca_certs": self.ca_file}
        return {"server_hostname": host, "cert_reqs": ssl.CERT_REQUIRED, **trusted}

    def _follow(self, connection: Any, api: ApiServer, mirror: Mirror, ear: Ear) -> None:
        news: defaultdict[str, set[str]] = defaultdict(set)

        def hear(said: Any, message: Any) -> None:
            kind = str(said.get("type", "")).replace("_", "-") if isinstance(said, dict) else ""
            if kind in KINDS and isinstance(said.get("uuid"), str):
                news[kind].add(said["uuid"])

        # The server declares it; what is not there yet is waited for, and never made here.
        exchange = Exchange(EXCHANGE, type="fanout", durable=False, passive=True)
        queue = Queue("", exchange=exchange, exclusive=True, durable=False, auto_delete=True)
        Consumer(connection.channel(), [queue], callbacks=[hear], no_ack=True, accept=["json"]).consume()
        mirror.opening()
        lists = {}
        for kind, fields in KINDS.items():
            lists[kind] = api.listed(kind, fields)
            _drain(connection, SHORTLY)
        mirror.begin(lists)
        ear.begun_by(BUS)
        while not ear.is_over():
            _drain(connection, 1.0)
            ear.heard()  # a broker that says nothing for two heartbeats has ended this
            if news:
                _gather(connection)
                _read(connection, api, mirror, news)


def _drain(connection: Any, seconds: float) -> None:
    """Hear what comes, and that the broker lives; and let it hear that we do, for it leaves who only listens."""
    with suppress(TimeoutError):  # nothing came
        connection.drain_events(timeout=seconds)
    connection.heartbeat_check()


def _gather(connection: Any) -> None:
    """Hear what comes right after."""
    end = time.monotonic() + MOMENT
    while time.monotonic() < end:
        try:
            connection.drain_events(timeout=MOMENT / 5)
        except TimeoutError:
            return


def _read(connection: Any, api: ApiServer, mirror: Mirror, news: dict[str, set[str]]) -> None:
    gathered = dict(news)
    news.clear()  # what comes meanwhile is read the next time
    for kind, uuids in gathered.items():
        asked = sorted(uuids)
        found = {item["uuid"]: item for item in api.listed(kind, KINDS[kind], among=asked)}
        for uuid in asked:
            if uuid in found:
                mirror.put(kind, found[uuid])
            else:
                mirror.drop(kind, uuid)
        _drain(connection, SHORTLY)


def _said(fault: BaseException) -> str:
    """Without what may hold the URL."""
    return f"{type(fault).__name__}: {str(fault).splitlines()[0][:200] if str(fault) else 'no reason given'}"
