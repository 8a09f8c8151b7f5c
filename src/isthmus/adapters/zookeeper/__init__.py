"""The leader lock: one node of ZooKeeper that goes with the session of the process that made it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from isthmus.model.boundary import Held
from isthmus.model.faults import Retry

T = TypeVar("T")
CERTAIN = 2 / 3
"""The share of a session that we count on: the servers tell each other late, by a tick, whom they heard of."""
PATIENCE = 1 / 6
"""The share of a session that one question may take."""

logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # what fails is said by what we raise


class ZooKeeperLock:
    """Connects when it is first asked for."""

    def __init__(self, servers: Sequence[str], installation: str, name: str, lease: float) -> None:
        self._path, self._name, self._lease = f"/isthmus/{installation}/leader", name.encode(), lease
        self._place = f"ZooKeeper {', '.join(servers)}"
        self._client = KazooClient(",".join(servers), timeout=lease)
        self._agreed = 0.0
        """The servers' own word on how long a session lasts: it may be shorter than what was asked for."""
        connect = self._client._connection._connect

        def connected(*where: Any) -> Any:
            read_timeout, connect_timeout = connect(*where)
            self._agreed = read_timeout * 1.5 / 1000.0  # two thirds of it, in ms: kazoo tells it nowhere else
            return read_timeout, connect_timeout

        self._client._connection._connect = connected
        self._began = self._closed = False
        self._closing = threading.Lock()

    def hold(self) -> Held:
        """The node is ours if our session made it; a write to it proves that the session lives, a read does not."""
        return self._told(self._held)

    def holder(self) -> str:
        """Whose session made the node."""
        return self._told(self._read)[0]

    def _told(self, ask: Callable[[], T]) -> T:
        with self._closing:
            if self._closed:
                raise Retry(f"{self._place} was left")
            if not self._began:
                self._client.start_async()
                self._began = True
        if not self._client.connected:
            raise Retry(f"{self._place} does not answer")
        try:
            return ask()
        except (KazooException, KazooTimeoutError) as fault:
            raise Retry(f"{self._place}: {type(fault).__name__}") from fault

    def _read(self) -> tuple[str, Any]:
        try:
            holder, stat = self._ask(self._client.get_async, self._path)
        except NoNodeError:
            return "", None
        return holder.decode(errors="replace"), stat

    def _held(self) -> Held:
        with suppress(NodeExistsError):  # made by another, or by ourselves in a question that was not waited for
            self._ask(self._client.create_async, self._path, self._name, ephemeral=True, makepath=True)
        holder, stat = self._read()
        if stat is None or not self._is_ours(stat):
            return Held(holder)
        try:
            stat = self._ask(self._client.set_async, self._path, self._name, version=stat.version)
        except (NoNodeError, BadVersionError):  # it changed hands between two questions
            return Held("")
        seconds = self._session * CERTAIN
        return Held(self._name.decode(), seconds) if self._is_ours(stat) else Held("")

    def _is_ours(self, stat: Any) -> bool:
        session = self._client.client_id
        return session is not None and stat.ephemeralOwner == session[0]

    @property
    def _session(self) -> float:
        """How long it lasts, in seconds."""
        return min(self._lease, self._agreed)

    def _ask(self, question: Callable[..., Any], *args: Any, **how: Any) -> Any:
        return question(*args, **how).get(timeout=self._session * PATIENCE)

    def close(self) -> None:
        """End the session, and with it the node."""
        with self._closing:
            self._closed = True
            if self._began:
                self._client.stop()
                self._client.close()
                self._began = False
