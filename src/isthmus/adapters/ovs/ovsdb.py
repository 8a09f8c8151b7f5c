"""One appliance's OVSDB, by ovsdbapp: a snapshot of its bridges, corrections to them, and the lock of the one writer.

Law: a snapshot comes from a live connection or not at all.  The connection, and with it the lock, is held until close.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from ovs.db.idl import Idl
from ovs.stream import Stream
from ovsdbapp.backend.ovs_idl import connection as idl_connection
from ovsdbapp.backend.ovs_idl import idlutils
from ovsdbapp.schema.open_vswitch.impl_idl import OvsdbIdl

from isthmus.adapters.ovs.bridges import (
    OWNER_KEY,
    AddBridge,
    AddPort,
    BridgeState,
    Correction,
    PortState,
    RemovePort,
    Set,
    Snapshot,
)
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.model.faults import Refused, Retry

logging.getLogger("ovsdbapp").setLevel(logging.CRITICAL)  # what it reports is raised here, and shown once

LOCK = "isthmus"
SCHEMA = "Open_vSwitch"
REMOVED_AT_ONCE = 50
"""Ports removed in one transaction: the cost grows with the square of their number (OVS 3.1: 1,000 take 36 s)."""

# Only these are followed: statistics, which change every few seconds, are of no concern.
_COLUMNS = {
    "Open_vSwitch": ["bridges", "next_cfg", "cur_cfg"],
    "Bridge": ["name", "ports", "external_ids", "datapath_type", "fail_mode", "protocols", "controller"],
    "Port": ["name", "interfaces", "tag", "vlan_mode", "trunks"],
    "Interface": ["name", "type", "options", "external_ids", "ofport", "ofport_request", "error"],
    "Controller": ["target", "is_connected"],
}


class _Api(OvsdbIdl):  # type: ignore[misc]
    """ovsdbapp's commands.  Its own class keeps one connection for a whole process; here every appliance has one."""

    @property
    def ovsdb_connection(self) -> Any:
        return self._connection

    @ovsdb_connection.setter
    def ovsdb_connection(self, connection: Any) -> None:
        self._connection = connection


class Ovsdb:
    """A connection to one ovsdb-server that comes back by itself.  For one thread that writes and one that watches."""

    def __init__(self, settings: OvsSettings) -> None:
        self._settings = settings
        self._api: Any = None

    @property
    def alive(self) -> bool:
        """There is a connection and it knows the whole database."""
        if self._api is None:
            return False
        idl = self._api.idl
        return bool(idl.state == Idl.IDL_S_MONITORING and idl._session.is_connected())

    def snapshot(self) -> Snapshot:
        """All bridges and ports.  Raises Retry if ovsdb-server cannot be reached."""
        api = self._connected()
        with api.ovsdb_connection.lock:
            return _snapshot(api.tables)

    def claim(self) -> None:
        """Become the one writer of this appliance in any process.  Raises Refused if another is."""
        api = self._connected()
        idl = api.idl
        with api.ovsdb_connection.lock:
            idl.set_lock(LOCK)
        self._until(lambda: idl.has_lock or idl.is_lock_contended, "the lock")
        if not idl.has_lock:
            raise Refused(
                f"another isthmus process writes the appliance at {self._settings.ovsdb} "
                f"(it holds the OVSDB lock {LOCK!r}): stop that one, or leave this appliance to it"
            )

    def commit(self, corrections: Sequence[Correction]) -> None:
        """Write corrections and wait until ovs-vswitchd has carried them out.  Raises Retry."""
        removals = [step for step in corrections if isinstance(step, RemovePort)]
        others = [step for step in corrections if not isinstance(step, RemovePort)]
        for batch in _batches(removals):
            self._commit(batch)
        if others:
            self._commit(others)

    def close(self) -> None:
        """Let go of connection and lock."""
        if self._api is not None:
            self._api.ovsdb_connection.stop(self._settings.timeout)
            self._api = None

    def _commit(self, corrections: Sequence[Correction]) -> None:
        api = self._connected()
        try:
            with api.transaction(check_error=True, log_errors=False) as transaction:
                for step in corrections:
                    for command in _commands(api, step):
                        transaction.add(command)
        except Exception as fault:  # ovsdbapp raises RuntimeError for all: time-outs, lost locks and lost connections
            raise Retry(f"OVSDB at {self._settings.ovsdb}: {fault}; is ovs-vswitchd running there?") from fault

    def _connected(self) -> Any:
        if not self.alive:
            self.close()
            self._api = self._connect()
        return self._api

    def _connect(self) -> Any:
        settings = self._settings
        socket = settings.ovsdb.removeprefix("unix:")
        if socket != settings.ovsdb and not os.path.exists(socket):
            raise Retry(
                f"no OVSDB socket at {socket}: is Open vSwitch running on the appliance "
                "(systemctl start openvswitch-switch), and is this the path it uses?"
            )
        if settings.tls:  # the library keeps one set of files for the whole process
            Stream.ssl_set_private_key_file(settings.tls.key)
            Stream.ssl_set_certificate_file(settings.tls.certificate)
            Stream.ssl_set_ca_cert_file(settings.tls.ca)
        try:
            helper = idlutils.get_schema_helper(settings.ovsdb, SCHEMA)
            for table, columns in _COLUMNS.items():
                helper.register_columns(table, columns)
            connection = idl_connection.Connection(idl_connection.OvsdbIdl(settings.ovsdb, helper), settings.timeout)
            api = _Api(connection, start=False)
            connection.start()
        except Exception as fault:  # the library has no class of its own for a server that cannot be reached
            raise Retry(f"OVSDB at {settings.ovsdb} cannot be reached: {fault}") from fault
        return api

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self._settings.timeout
        while not done():
            if time.monotonic() > deadline or not self.alive:
                raise Retry(f"OVSDB at {self._settings.ovsdb} did not answer the request for {what}")
            time.sleep(0.005)


def _batches(steps: Sequence[Correction]) -> Iterator[list[Correction]]:
    remaining = iter(steps)
    while batch := list(islice(remaining, REMOVED_AT_ONCE)):
        yield batch


def _commands(api: Any, step: Correction) -> Iterator[Any]:
    match step:
        case AddBridge(name, datapath_type):
            yield api.add_br(name, may_exist=True, datapath_type=datapath_type)
        case AddPort(bridge, name, columns):
            yield api.add_port(bridge, name, may_exist=True, **columns)
        case RemovePort(bridge, name):
            yield api.del_port(name, bridge=bridge, if_exists=True)
        case Set("Controller", bridge, columns):
            yield api.set_controller(bridge, [columns["target"]])
        case Set(table, row, columns):
            yield api.db_set(table, row, *columns.items())


def _snapshot(tables: Any) -> Snapshot:
    bridges: dict[str, BridgeState] = {}
    ports: dict[str, PortState] = {}
    for row in tables["Bridge"].rows.values():
        bridges[row.name] = BridgeState(
            name=row.name,
            owner=row.external_ids.get(OWNER_KEY),
            datapath_type=row.datapath_type or "system",
            fail_mode=_one(row.fail_mode) or "",
            protocols=frozenset(row.protocols),
            listeners=frozenset(controller.target for controller in row.controller),
            # Whoever calls in at a listener (ptcp:, pssl:) comes and goes: that is no news.
            controlled=any(each.is_connected for each in row.controller if not each.target.startswith("p")),
        )
        for port in row.ports:
            for interface in port.interfaces:
                ports[interface.name] = _port(row.name, port, interface)
    return Snapshot(bridges, ports)


def _port(bridge: str, port: Any, row: Any) -> PortState:
    return PortState(
        bridge=bridge,
        name=row.name,
        type=row.type,
        options=dict(row.options),
        owner=row.external_ids.get(OWNER_KEY),
        wanted_number=_one(row.ofport_request),
        number=_one(row.ofport),
        error=_one(row.error) or "",
        tag=_one(port.tag),
        vlan_mode=_one(port.vlan_mode) or "",
        external_ids=dict(row.external_ids),
    )


def _one(column: Any) -> Any:
    """OVSDB writes an optional value as a list of none or one."""
    return column[0] if column else None
