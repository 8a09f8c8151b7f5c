"""Neutron's message bus, as one who is not Neutron speaks on it: calls, casts, and what is asked of us.

A bus that is down, a server that does not answer, and one that failed are all Retry; none is an empty answer.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from oslo_service import backend

with contextlib.suppress(backend.exceptions.BackendAlreadySelected):
    # Before oslo.messaging is imported, or it would choose eventlet.
    backend.init_backend(backend.BackendType.THREADING)

import oslo_messaging
from oslo_config import cfg

from isthmus.adapters.neutron.protocol import EXCHANGE, VERSION
from isthmus.adapters.neutron.reach import Reach
from isthmus.model.faults import Refused, Retry, Unreachable

ADMIN: Mapping[str, Any] = {"is_admin": True, "roles": ["admin"]}
"""Whom Neutron takes us for: the bus itself is the credential, as for its own agents."""
NO_URL = "Neutron's message bus: its URL is not one such as rabbit://user:password@host:5672/"
AGAIN = 2.0
"""Seconds until a broker that could not be reached is tried again."""
REACH_HOLDS = 2.0
"""Seconds for which it is taken as found whether a broker takes connections."""
TRIES = 2
"""How often a message is offered to a broker that does not take it."""


@dataclass(frozen=True, slots=True)
class BusSettings:
    """How Neutron's message bus is reached.

    `url` gives the transport_url anew each time that it is connected to, since it holds a password; `options_file` is
    an oslo.config file with more of oslo.messaging's options ([oslo_messaging_rabbit] ssl, ...); `timeout` in seconds.
    """

    url: Callable[[], str]
    options_file: str | None = None
    timeout: float = 30.0
    exchange: str = EXCHANGE


class Bus:
    """Connected when first used; forgets its connection when told to close."""

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._transport: Any = None
        self._clients: dict[str, Any] = {}
        self._servers: list[Any] = []
        self._hosts: list[Any] = []
        self._reach = Reach(REACH_HOLDS)
        self._closing = threading.Event()

    def call(self, topic: str, method: str, *, seconds: float | None = None, **arguments: Any) -> Any:
        """The answer.  Raises Retry if there is none within `seconds`."""
        timeout = seconds or self._settings.timeout
        self._reached()
        return self._said(lambda: self._client(topic).prepare(timeout=timeout, retry=TRIES), method, arguments, "call")

    def cast(self, topic: str, method: str, *, fanout: bool = False, server: str | None = None, **of: Any) -> None:
        """Said, and nobody asked whether it was heard.  Raises Retry if the broker did not take it."""
        where = {"server": server} if server is not None else {"fanout": fanout}
        self._reached()
        self._said(lambda: self._client(topic).prepare(retry=TRIES, **where), method, of, "cast")

    def serve(self, topic: str, server: str, endpoints: Sequence[object]) -> None:
        """Answer what is asked on a topic, on threads of this process, from when the broker can be reached on."""
        work = partial(self._serve, topic, server, endpoints)
        threading.Thread(target=work, name=f"serve {topic}", daemon=True).start()

    def _serve(self, topic: str, server: str, endpoints: Sequence[object]) -> None:
        target = oslo_messaging.Target(topic=topic, server=server, exchange=self._settings.exchange)
        while not self._closing.is_set():
            try:
                transport = self._reached()
            except (Retry, Refused):  # said by whoever reads
                self._closing.wait(AGAIN)
                continue
            made = oslo_messaging.get_rpc_server(transport, target, list(endpoints))
            made.start()
            self._servers.append(made)
            return

    def close(self) -> None:
        """Stop answering and let go of the connection."""
        self._closing.set()
        for server in self._servers:
            server.stop()
            server.wait()
        if self._transport is not None:
            self._transport.cleanup()

    def _said(self, prepared: Callable[[], Any], method: str, arguments: Mapping[str, Any], how: str) -> Any:
        try:
            return getattr(prepared(), how)(dict(ADMIN), method, **arguments)
        except oslo_messaging.MessagingTimeout as fault:
            raise Retry(
                f"Neutron did not answer '{method}': is neutron-rpc-server running, with isthmus's mechanism drivers?"
            ) from fault
        except oslo_messaging.RemoteError as fault:
            raise Retry(f"Neutron failed at '{method}': {fault.exc_type}: {_first_line(fault.value)}") from fault
        except oslo_messaging.MessagingException as fault:
            raise Unreachable(f"Neutron's message bus cannot be reached: {_first_line(fault)}") from fault

    def _client(self, topic: str) -> Any:
        with self._lock:
            if topic in self._clients:
                return self._clients[topic]
        transport = self._connected()
        target = oslo_messaging.Target(topic=topic, version=VERSION, exchange=self._settings.exchange)
        client = oslo_messaging.get_rpc_client(transport, target)
        with self._lock:
            return self._clients.setdefault(topic, client)

    def _reached(self) -> Any:
        """The transport, of a broker that takes connections now."""
        transport = self._connected()
        if why := self._reach.why_not(self._hosts):
            raise Unreachable(f"Neutron's message bus cannot be reached: {why}")
        return transport

    def _connected(self) -> Any:
        with self._lock:
            if self._transport is None:
                conf, url = configured(self._settings.options_file), self._settings.url()
                # What these say of a URL holds its password.
                try:
                    self._hosts = list(oslo_messaging.TransportURL.parse(conf, url).hosts)
                    self._transport = oslo_messaging.get_rpc_transport(conf, url=url)
                except (oslo_messaging.InvalidTransportURL, ValueError):
                    raise Refused(NO_URL) from None
                except oslo_messaging.DriverLoadFailure as fault:
                    raise Refused(f"{NO_URL} (there is no driver '{fault.driver}')") from None
            return self._transport


def configured(options_file: str | None) -> Any:
    """oslo.messaging's options: the process's one configuration, since it makes some of them known nowhere else."""
    files = [options_file] if options_file else []
    try:
        cfg.CONF([], project="isthmus", default_config_files=files, default_config_dirs=[])
    except cfg.Error as fault:
        raise Refused(f"intent.neutron.options_file: {_first_line(fault)}") from fault
    return cfg.CONF


def _first_line(fault: object) -> str:
    return (str(fault).strip() or type(fault).__name__).splitlines()[0][:300]
