"""One leaf's OVSDB: a snapshot of it, changes to it, and the lock of the one writer.

Law: a snapshot comes from a server that has just answered, or not at all; it holds all that was committed before it was
asked for, by whomever.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ovs.db.error
import ovs.poller
from ovs.db.idl import Idl, SchemaHelper
from ovs.jsonrpc import Connection as Rpc
from ovs.jsonrpc import Message, Session
from ovsdbapp.backend.ovs_idl import connection as idl_connection
from ovsdbapp.backend.ovs_idl.transaction import Transaction
from ovsdbapp.exceptions import TimeoutException

from isthmus.adapters.leaf.hwvtep import rows
from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.snapshot import Snapshot
from isthmus.adapters.leaf.hwvtep.steps import Draft
from isthmus.adapters.leaf.hwvtep.streams import Wires
from isthmus.model.change import Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.names import Mac

logging.getLogger("ovsdbapp").setLevel(logging.CRITICAL)  # what it reports is raised here, and shown once

SCHEMA = "hardware_vtep"
WRITTEN_AT_ONCE = 2000
"""Entries in one transaction: it must be made within the time that an answer is given (ovsdb-server 3.1: 0.5 s)."""
Known = frozenset[tuple[str, Mac]]


class Database:
    """A connection to one ovsdb-server, made anew when it is lost.  For one thread that writes and one that watches."""

    def __init__(self, settings: HwvtepSettings) -> None:
        self._settings = settings
        self._wires = Wires(settings)
        self._door = threading.Lock()
        self._link: _Link | None = None
        self._closed = False

    @property
    def alive(self) -> bool:
        """There is a connection and it knows the whole database."""
        return self._link is not None and self._link.alive

    def snapshot(self) -> Snapshot:
        """All that is of interest.  Raises Unreachable if there is no answer, Refused if it is no VTEP's."""
        link = self._connected()
        link.run(_Barrier())
        return link.contents().snapshot

    def glance(self, patience: float) -> Snapshot:
        """What the connection knows by now, free of a question.  Raises as `snapshot` does if there is none."""
        return self._connected(patience).contents().snapshot

    def claim(self) -> None:
        """Become the one writer of our part of this leaf in any process.  Raises Refused if another is."""
        self._connected().claim()

    def commit(self, changes: Sequence[Change], known: Known) -> list[Result]:
        """Make changes, many in a transaction.  One that the server rejects is halved until the culprit stands alone.

        `known`: the MACs that the leaf was seen to have below itself when they were thought out.
        """
        return [result for batch in _batches(changes) for result in self._commit(batch, known)]

    def _commit(self, changes: Sequence[Change], known: Known) -> list[Result]:
        link = self._connected()
        link.claim()
        writing = _Writing(self._settings, link, changes, known)
        try:
            link.run(writing)
        except Rejected as fault:
            middle = len(changes) // 2
            if middle:
                return self._commit(changes[:middle], known) + self._commit(changes[middle:], known)
            return [Result(changes[0], Outcome.RETRY, str(fault))]
        return writing.results

    def close(self) -> None:
        """Let go of connection and lock, and listen no more."""
        with self._door:
            self._closed = True
            self._hang_up()
            self._wires.close()

    def _connected(self, patience: float | None = None) -> _Link:
        with self._door:
            link = self._link
            if link is not None and link.alive:
                return link
            self._hang_up()
            if self._closed:
                raise Unreachable(f"the connection to {self._settings.target} was closed")
            self._link = link = _Link(self._settings, self._wires.connect(patience or self._settings.timeout))
            return link

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _batches(changes: Sequence[Change]) -> Iterator[list[Change]]:
    batch: list[Change] = []
    size = 0
    for change in changes:
        batch.append(change)
        size += len(change.action.entries) if isinstance(change.action, Learn | Forget) else 1
        if size >= WRITTEN_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class KeptByAnother(Refused):
    """Another process writes this leaf."""


class Rejected(Retry):
    """The server would not make a transaction: something in it, or something that happened meanwhile."""


class HungUp(Exception):
    """The connection ended while an answer was awaited."""


class _OneConnection(Idl):  # type: ignore[misc]
    """What the library follows, over a connection that is not made anew: where it ends nobody waits for an answer."""

    awaited = True
    """Somebody waits: first of all for all that the database holds."""

    def run(self) -> bool:
        changed = bool(super().run())
        if self.awaited and not self._session.is_connected():
            raise HungUp
        return changed


class _Question(Transaction):  # type: ignore[misc]
    """A transaction whose answer comes over this connection or not at all."""

    def do_commit(self) -> Any:
        self.api.idl.awaited = True
        try:
            return super().do_commit()
        finally:
            self.api.idl.awaited = False


class _Link:
    """One connection, from its beginning to its end."""

    def __init__(self, settings: HwvtepSettings, stream: Any) -> None:
        self._settings = settings
        rpc = Rpc(stream)
        try:
            helper, self._lockable = _asked(rpc, settings)
            # The library reconnects by itself only where it dialled, and with one set of TLS files for a process.
            self.idl = _OneConnection(settings.target, helper)
            session = Session.open_unreliably(rpc)
            session.rpc = rpc
            if settings.place.kind == "unix":
                session.reconnect.set_probe_interval(0)
            self.idl._session = session
            self._connection = idl_connection.Connection(self.idl, settings.timeout)
            self._connection.start()
            self.idl.awaited = False
        except (Retry, Refused):
            rpc.close()
            raise
        except HungUp as fault:
            raise Unreachable(f"OVSDB at {settings.target} hung up") from fault
        except TimeoutException as fault:
            rpc.close()
            raise Unreachable(f"OVSDB at {settings.target} did not tell what it holds in time") from fault
        self._seen: tuple[int, rows.Rows] | None = None

    @property
    def alive(self) -> bool:
        return bool(self.idl.state == Idl.IDL_S_MONITORING and self.idl._session.is_connected())

    def contents(self) -> rows.Rows:
        with self._held():
            now = self.idl.change_seqno
            if self._seen is None or self._seen[0] != now:
                self._seen = now, rows.read(self.idl.tables)
            return self._seen[1]

    def claim(self) -> None:
        lock = f"isthmus_{re.sub(r'[^A-Za-z0-9]', '_', self._settings.owner)}"
        if not self._lockable:
            return
        with self._held():
            self.idl.set_lock(lock)
        self._until(lambda: self.idl.has_lock or self.idl.is_lock_contended, "the lock")
        if not self.idl.has_lock:
            raise KeptByAnother(
                f"another isthmus process writes the leaf at {self._settings.target} "
                f"(it holds the OVSDB lock {lock!r}): stop that one, or leave this leaf to it"
            )

    def run(self, command: _Barrier | _Writing) -> None:
        """Have a command carried out by the thread that owns the connection, and wait for the server's answer."""
        transaction = _Question(self, self._connection, self._settings.timeout, check_error=True, log_errors=False)
        transaction.add(command)
        try:
            transaction.commit()
        except HungUp as fault:
            raise Unreachable(f"OVSDB at {self._settings.target} hung up") from fault
        except TimeoutException as fault:  # a RuntimeError too
            raise Unreachable(f"OVSDB at {self._settings.target} did not answer in time") from fault
        except RuntimeError as fault:  # all that the library raises for an answer that is not the wished one
            raise Rejected(f"OVSDB at {self._settings.target}: {fault}") from fault

    def close(self) -> None:
        # Not the library's stop(): that waits for room in a queue which a server that hangs may never empty.
        self._connection.is_running = False
        self._connection.txns.alert_notify()
        self._connection.thread.join(self._settings.timeout)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Have the connection to ourselves.  Its thread may be waiting for a server that hangs; we wait no longer."""
        if not self._connection.lock.acquire(timeout=self._settings.timeout):
            raise Unreachable(f"OVSDB at {self._settings.target} did not answer in time")
        try:
            yield
        finally:
            self._connection.lock.release()

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self._settings.timeout
        while not done():
            if time.monotonic() > deadline or not self.alive:
                raise Unreachable(f"OVSDB at {self._settings.target} did not answer the request for {what}")
            time.sleep(0.005)


class _Barrier:
    """A question whose answer comes after news of all that was committed before (RFC 7047, 4.1.6)."""

    result = None

    def run_idl(self, transaction: Any) -> None:
        transaction.add_op({"op": "select", "table": "Physical_Switch", "where": [], "columns": ["name"]})

    def post_commit(self, transaction: Any) -> None:
        pass


class _Writing:
    """Changes as one transaction, worked out anew each time that the database changed under us."""

    result = None

    def __init__(self, settings: HwvtepSettings, link: _Link, changes: Sequence[Change], known: Known) -> None:
        self._settings = settings
        self._link = link
        self._changes = changes
        self._local = known
        self.results: list[Result] = []

    def run_idl(self, transaction: Any) -> None:
        known = self._link.contents()
        draft = Draft(known.snapshot, self._settings, self._local)
        self.results = [draft.take(change) for change in self._changes]
        writer = rows.Writer(self._link.idl.tables, known, transaction, draft.switch, self._settings.mark)
        for step in draft.steps():
            writer.write(step)

    def post_commit(self, transaction: Any) -> None:
        pass


def _asked(rpc: Any, settings: HwvtepSettings) -> tuple[SchemaHelper, bool]:
    """What to follow, of what the server's schema has; and whether it knows locks."""
    deadline = time.monotonic() + settings.timeout
    schema = _ask(rpc, "get_schema", [SCHEMA], deadline, settings)
    if schema.type == Message.T_ERROR:
        raise Refused(f"OVSDB at {settings.target} has no database {SCHEMA}: is it a switch's VTEP database?")
    probe = _ask(rpc, "lock", ["isthmus_probe"], deadline, settings)
    if probe.type == Message.T_REPLY:
        _ask(rpc, "unlock", ["isthmus_probe"], deadline, settings)
    return _helper(schema.result, settings), bool(probe.type == Message.T_REPLY)


def _helper(schema: Any, settings: HwvtepSettings) -> SchemaHelper:
    try:
        tables: Mapping[str, Any] = schema["tables"]
        there = {name: frozenset(table["columns"]) for name, table in tables.items()}
        helper = SchemaHelper(None, schema)
    except (KeyError, TypeError, ovs.db.error.Error) as fault:
        raise Unreachable(f"OVSDB at {settings.target} tells a schema that is none: {fault}") from fault
    for table, columns in rows.COLUMNS.items():
        needed, wished = columns
        missing = sorted(needed - there.get(table, frozenset()))
        if missing:
            what = f"column {', '.join(missing)} of table {table}"
            raise Refused(f"{SCHEMA} at {settings.target} has no {what}: the switch's software is too old for us")
        helper.register_columns(table, sorted(needed | wished & there[table]))
    return helper


def _ask(rpc: Any, method: str, params: list[str], deadline: float, settings: HwvtepSettings) -> Any:
    request = Message.create_request(method, params)
    rpc.send(request)
    while True:
        rpc.run()
        error, message = rpc.recv()
        if message is not None and message.type in (Message.T_REPLY, Message.T_ERROR) and message.id == request.id:
            return message
        if message is not None and message.type == Message.T_REQUEST and message.method == "echo":
            rpc.send(Message.create_reply(message.params, message.id))
        if error not in (0, errno.EAGAIN):
            raise Unreachable(f"OVSDB at {settings.target} hung up")
        if time.monotonic() > deadline:
            raise Unreachable(f"OVSDB at {settings.target} did not answer")
        if message is None:
            poller = ovs.poller.Poller()
            rpc.wait(poller)
            rpc.recv_wait(poller)
            poller.timer_wait(max(1, int((deadline - time.monotonic()) * 1000)))
            poller.block()
