"""One logged-in conversation with a vCenter: trusted by certificate, always with a deadline, logged in again when lost.

Law: a session-bound object (collector, filter, view) is used only in the epoch (log-in) that made it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree

from pyVmomi import VmomiSupport, vim
from pyVmomi.SoapAdapter import SoapStubAdapter

from isthmus.adapters.vcenter.credentials import Credentials
from isthmus.adapters.vcenter.faults import SessionLost, faults_of
from isthmus.adapters.vcenter.tls import PinnedConnection, trust
from isthmus.model.faults import Refused

log = logging.getLogger(__name__)
T = TypeVar("T")
POOL = 16  # HTTP connections kept open per session; more threads than tasks in flight never call at once
SPELLING = "write it as https://vcenter.example.org[:port][/sdk]"
FAREWELL = 1.0  # seconds given to a log-out
IDLE = 600.0  # vCenter forgets sessions idle for 30 minutes (older: 15); ours is never idle for longer than this


@dataclass(frozen=True, slots=True)
class VcenterSettings:
    """Where a vCenter is and how to trust it.  `password` is asked at each log-in, so it may be rotated."""

    url: str
    user: str
    password: Callable[[], str] = field(repr=False)
    ca_file: str | None = None
    thumbprint: str | None = None
    """SHA-256 of the certificate, with or without colons; then no CA is asked."""
    insecure: bool = False
    timeout: float = 30.0
    """Seconds for any single HTTP answer."""
    task_timeout: float = 120.0
    wait: float = 60.0
    """Seconds a watch stays open; also how soon a session that died without a word is noticed."""
    move_deadline: float = 900.0
    """Seconds after which an announced move without an end is dropped."""
    reads_guests: bool = False
    """Whether what guests' VMware Tools tell of their addresses is read."""

    @property
    def address(self) -> tuple[str, int, str]:
        """Host, port and path.  Raises Refused for a URL that cannot be one of a vCenter."""
        try:
            parts = urlsplit(self.url if "://" in self.url else f"https://{self.url}")
            host, port = parts.hostname, parts.port or 443
        except ValueError as wrong:
            raise Refused(f"{self.place}: its URL has no valid host or port; {SPELLING}") from wrong
        if parts.scheme != "https" or not host:
            raise Refused(f"{self.place}: its URL is none of a vCenter; {SPELLING}")
        return host, port, parts.path if parts.path not in ("", "/") else "/sdk"

    @property
    def place(self) -> str:
        """The vCenter in messages: never with a user or password that the URL may hold."""
        return "vCenter " + self.url.rpartition("@")[2].removeprefix("https://")

    def credentials(self, clock: Callable[[], float]) -> Credentials:
        """To be shared by all sessions of this login."""
        return Credentials(self.place, self.user, self.password, clock)


class Session:
    """A log-in and its connections.  Threads may call at once, but each waits on collectors of its own."""

    def __init__(
        self,
        settings: VcenterSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        credentials: Credentials | None = None,
    ) -> None:
        self.settings = settings
        self.place = settings.place
        self._credentials = credentials or settings.credentials(clock)
        self.epoch = 0
        self._clock = clock
        self._waiting = threading.local()  # how much longer than usual this thread waits for an answer
        self._lock = threading.RLock()
        self._stub: Any = None
        self._content: Any = None
        self._logged_in = False
        self._last_call = clock()
        self._open: weakref.WeakSet[HTTPSConnection] = weakref.WeakSet()

    def call(self, work: Callable[[Any], T]) -> T:
        """`raw`, whose faults leave as Retry or Refused."""
        with faults_of(self.place):
            return self.raw(work)

    def raw(self, work: Callable[[Any], T]) -> T:
        """`work(content)`, once more after a log-in if the session was lost; faults leave as they came."""
        content, epoch = self._entered()
        try:
            result = work(content)
        except SessionLost:
            self.lost(epoch)
            content, _ = self._entered()
            result = work(content)
        self._last_call = self._clock()
        return result

    @contextlib.contextmanager
    def waiting(self, seconds: float) -> Iterator[None]:
        """Answers may take this much longer within: for a wait that vCenter itself keeps open for so long."""
        self._waiting.seconds = seconds
        try:
            yield
        finally:
            self._waiting.seconds = 0.0

    def _patience(self) -> float:
        return self.settings.timeout + float(getattr(self._waiting, "seconds", 0.0))

    def object(self, kind: Any, moref: str) -> Any:
        """A managed object of this session, by moref, without asking whether it exists."""
        self.call(lambda content: content)
        return kind(moref, self._stub)

    @property
    def instance(self) -> str:
        """The vCenter's own id, which makes its morefs unique."""
        return self.call(lambda content: str(content.about.instanceUuid))

    @property
    def logged_in(self) -> bool:
        """As far as is known."""
        return self._logged_in

    def lost(self, epoch: int) -> None:
        """The session of `epoch` is gone: the next call logs in again."""
        with self._lock:
            if epoch == self.epoch:
                self._logged_in = False

    def server_time(self) -> Any:
        """vCenter's clock: its times are compared with no other."""
        return self.raw(lambda _: vim.ServiceInstance("ServiceInstance", self._stub).CurrentTime())

    def keep_alive(self) -> None:
        """Say something if nothing was said for long; a session that was lost meanwhile is left to its next user."""
        with self._lock:
            if not self._logged_in or self._clock() - self._last_call < IDLE:
                return
        with faults_of(self.place):
            self.server_time()

    def sever(self) -> None:
        """Cut every connection, so that a thread blocked in an answer comes back at once."""
        for connection in list(self._open):
            sock = connection.sock
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def close(self) -> None:
        """Log out and hang up.  A vCenter that does not answer is not waited for: its session will expire."""
        content = self._left()
        if content is not None:
            try:
                with faults_of(self.place), self.waiting(min(0.0, FAREWELL - self.settings.timeout)):
                    content.sessionManager.Logout()
            except Exception as fault:
                log.info("%s: no log-out: %s", self.place, fault)
        self.sever()
        if self._stub is not None:
            self._stub.DropConnections()

    def _left(self) -> Any:
        """Be logged out as far as we are concerned.  Gives what to say so with; None if there is nobody to tell."""
        # Who is logging in holds the lock until there is an answer.  Cut off, it has one at once.
        free = self._lock.acquire(timeout=0.2)
        if not free:
            self.sever()
            free = self._lock.acquire(timeout=FAREWELL)
        if not free:
            return None
        try:
            content, was_in, self._logged_in, self._content = self._content, self._logged_in, False, None
        finally:
            self._lock.release()
        return content if was_in else None

    def _entered(self) -> tuple[Any, int]:
        with self._lock:
            if not self._logged_in:
                self._log_in()
            return self._content, self.epoch

    def _log_in(self) -> None:
        self._credentials.check()
        if self._stub is None:
            self._stub = self._connect()
        self._stub.cookie = ""  # a dead session's cookie would be answered with its death
        self._stub.DropConnections()
        content: Any = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
        if content.about.apiType != "VirtualCenter":
            raise Refused(f"{self.place}: is an ESXi host, not a vCenter; give the vCenter that manages it")
        if self._content is not None and self._content.about.instanceUuid != content.about.instanceUuid:
            raise Refused(
                f"{self.place}: is another vCenter now ({content.about.instanceUuid}); restart to work with it"
            )
        self._credentials.present(lambda user, password: content.sessionManager.Login(user, password, None))
        self._content, self._logged_in, self._last_call = content, True, self._clock()
        self.epoch += 1

    def _connect(self) -> Any:
        host, port, path = self.settings.address
        chosen = self.settings
        context = trust(ca_file=chosen.ca_file, thumbprint=chosen.thumbprint, insecure=chosen.insecure)

        def connection(host: str, port: int, **rest: Any) -> HTTPSConnection:
            made = PinnedConnection(
                host, port, pin=chosen.thumbprint, place=self.place, patience=self._patience, **rest
            )
            self._open.add(made)
            return made

        version = self._newest_common_version(connection(host, port, context=context, timeout=chosen.timeout), path)
        stub: Any = SoapStubAdapter(
            host=host, port=port, path=path, version=version, sslContext=context, poolSize=POOL,
            httpConnectionTimeout=chosen.timeout,
        )  # fmt: skip
        # pyVmomi checks a pinned thumbprint only on connections whose CA it does not trust, and after the first
        # such connection no longer at all: so ours is checked by the connection itself, every time.
        stub.scheme = connection
        return stub

    def _newest_common_version(self, connection: HTTPSConnection, path: str) -> str:
        try:
            connection.request("GET", f"{path}/vimServiceVersions.xml")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= 500:
            raise OSError(f"HTTP {answer.status} {answer.reason}")
        spoken = _versions(body) if answer.status == 200 else set()
        for version in VmomiSupport.GetServiceVersions("vim25"):
            if VmomiSupport.versionIdMap[version] in spoken:
                return str(version)
        raise Refused(f"{self.place}: no vSphere API at {path} (HTTP {answer.status}); check the URL")


def _versions(body: bytes) -> set[str]:
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return set()
    for namespace in root.iter("namespace"):
        if namespace.findtext("name") == "urn:vim25":
            return {element.text or "" for element in namespace.iter("version")}
    return set()
