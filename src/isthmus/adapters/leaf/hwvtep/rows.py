"""The rows of schema hardware_vtep: read into a snapshot, and written step by step within a transaction.

Law: whatever another hand does meanwhile, a VID that it bound stays bound, and a VNI that it took is not taken twice:
then nothing is written, and the transaction is worked out anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.adapters.leaf.hwvtep.mirror import SOURCE_NODE
from isthmus.adapters.leaf.hwvtep.snapshot import LogicalSwitch, PhysicalPort, PhysicalSwitch, Snapshot, Tunnel
from isthmus.adapters.leaf.hwvtep.steps import Bind, MakeSwitch, RemoveSwitch, SetFlood, SetMac, Step, Unbind
from isthmus.model.names import Mac, mac

UNKNOWN_DST = "unknown-dst"
ENCAPSULATION = "vxlan_over_ipv4"
_MACS = ("Ucast_Macs_Remote", "Mcast_Macs_Remote", "Ucast_Macs_Local", "Mcast_Macs_Local")

# What is followed: columns that must be there, and columns that older schemas lack.  Statistics are of no concern.
COLUMNS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "Physical_Switch": (frozenset({"name", "ports", "tunnel_ips"}), frozenset({"tunnels", "switch_fault_status"})),
    "Physical_Port": (frozenset({"name", "vlan_bindings"}), frozenset({"port_fault_status"})),
    "Tunnel": (frozenset({"remote"}), frozenset({"bfd_params", "bfd_status"})),
    "Logical_Switch": (frozenset({"name", "description", "tunnel_key"}), frozenset({"replication_mode"})),
    "Ucast_Macs_Local": (frozenset({"MAC", "logical_switch"}), frozenset()),
    "Ucast_Macs_Remote": (frozenset({"MAC", "logical_switch", "locator"}), frozenset()),
    "Mcast_Macs_Remote": (frozenset({"MAC", "logical_switch", "locator_set"}), frozenset()),
    "Physical_Locator_Set": (frozenset({"locators"}), frozenset()),
    "Physical_Locator": (frozenset({"encapsulation_type", "dst_ip"}), frozenset({"tunnel_key"})),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """What a database holds at one moment, and the rows that hold it; these are good until it changes."""

    snapshot: Snapshot
    switches: Mapping[str, Any]
    locators: Mapping[str, Any]
    ports: Mapping[tuple[str, str], Any]
    unicast: Mapping[tuple[str, Mac], Sequence[Any]]
    flood: Mapping[str, Sequence[Any]]


def read(tables: Any) -> Rows:
    """All of it.  A value is taken from a row but once: the library makes it anew each time."""
    switches = {row.name: row for row in tables["Logical_Switch"].rows.values()}
    names = {row.uuid: name for name, row in switches.items()}
    vteps = {row.uuid: _vtep(row) for row in tables["Physical_Locator"].rows.values()}
    unicast: defaultdict[tuple[str, Mac], list[Any]] = defaultdict(list)
    places: defaultdict[tuple[str, Mac], list[str]] = defaultdict(list)
    for row in tables["Ucast_Macs_Remote"].rows.values():
        for address in _mac(row):
            key = names[row.logical_switch.uuid], address
            unicast[key].append(row)
            places[key].append(vteps[row.locator.uuid])
    flood: defaultdict[str, list[Any]] = defaultdict(list)
    for row in tables["Mcast_Macs_Remote"].rows.values():
        if row.MAC == UNKNOWN_DST:
            flood[names[row.logical_switch.uuid]].append(row)
    owners = tables["Physical_Switch"].rows.values()
    local = tables["Ucast_Macs_Local"].rows.values()
    snapshot = Snapshot(
        physical={row.name: _physical(row, names) for row in owners},
        logical={name: _logical(name, row) for name, row in switches.items()},
        unicast={key: tuple(sorted(found)) for key, found in places.items()},
        flood={
            name: frozenset(vteps[locator.uuid] for row in rows for locator in row.locator_set.locators)
            for name, rows in flood.items()
        },
        local=frozenset((names[row.logical_switch.uuid], address) for row in local for address in _mac(row)),
        replicates="replication_mode" in tables["Logical_Switch"].columns,
    )
    locators = {vteps[row.uuid]: row for row in tables["Physical_Locator"].rows.values()}
    ports = {(row.name, port.name): port for row in owners for port in row.ports}
    return Rows(snapshot, switches, locators, ports, unicast, flood)


class Writer:
    """Steps as rows of one transaction."""

    def __init__(self, tables: Any, rows: Rows, transaction: Any, switch: str, mark: str) -> None:
        """`switch` is the physical switch whose ports are bound, `mark` the description of what we make."""
        self._tables = tables
        self._rows = rows
        self._transaction = transaction
        self._switch = switch
        self._mark = mark
        self._switches = dict(rows.switches)
        self._locators = dict(rows.locators)

    def write(self, step: Step) -> None:
        """Add one step to the transaction."""
        match step:
            case MakeSwitch(name, vni):
                self._make(name, int(vni))
            case RemoveSwitch(name):
                self._remove(name)
            case Bind(port, vid, name):
                self._port(port).setkey("vlan_bindings", int(vid), self._switches[name])
            case Unbind(port, vid):
                self._port(port).delkey("vlan_bindings", int(vid))
            case SetFlood(name, vteps):
                self._send(name, vteps)
            case SetMac(name, address, vtep):
                self._place(name, address, vtep)

    def _make(self, name: str, vni: int) -> None:
        row = self._switches.get(name)
        if row is None:
            row = self._switches[name] = self._transaction.insert(self._tables["Logical_Switch"])
            row.name, row.description = name, self._mark
        row.tunnel_key = [vni]
        alone = {"op": "wait", "timeout": 0, "table": "Logical_Switch", "until": "==", "columns": ["name"]}
        self._transaction.add_op({**alone, "where": [["tunnel_key", "==", vni]], "rows": [{"name": name}]})
        if "replication_mode" in self._tables["Logical_Switch"].columns:
            row.replication_mode = [SOURCE_NODE]

    def _remove(self, name: str) -> None:
        row = self._switches.pop(name)
        # What the leaf itself has seen there would hold it, and who knows what it has seen this very moment.
        for table in _MACS:
            where = [["logical_switch", "==", ["uuid", str(row.uuid)]]]
            self._transaction.add_op({"op": "delete", "table": table, "where": where})
        row.delete()

    def _port(self, name: str) -> Any:
        row = self._rows.ports[self._switch, name]
        row.verify("vlan_bindings")
        return row

    def _send(self, name: str, vteps: frozenset[str]) -> None:
        first, *rest = self._rows.flood.get(name) or [None]
        for row in rest:
            row.delete()
        if not vteps:
            if first is not None:
                first.delete()
            return
        if first is None:
            first = self._transaction.insert(self._tables["Mcast_Macs_Remote"])
            first.MAC, first.logical_switch = UNKNOWN_DST, self._switches[name]
        # A set never changes: another one takes its place, and the old one goes with its last user.
        located = self._transaction.insert(self._tables["Physical_Locator_Set"])
        located.locators = [self._locator(vtep) for vtep in sorted(vteps)]
        first.locator_set = located

    def _place(self, name: str, address: Mac, vtep: str | None) -> None:
        first, *rest = self._rows.unicast.get((name, address)) or [None]
        for row in rest:
            row.delete()
        if vtep is None:
            if first is not None:
                first.delete()
            return
        if first is None:
            first = self._transaction.insert(self._tables["Ucast_Macs_Remote"])
            first.MAC, first.logical_switch = address, self._switches[name]
        first.locator = self._locator(vtep)

    def _locator(self, vtep: str) -> Any:
        """Locators are shared by all that lead to one VTEP."""
        if vtep not in self._locators:
            row = self._locators[vtep] = self._transaction.insert(self._tables["Physical_Locator"])
            row.encapsulation_type, row.dst_ip = ENCAPSULATION, vtep
        return self._locators[vtep]


def _physical(row: Any, names: Mapping[Any, str]) -> PhysicalSwitch:
    return PhysicalSwitch(
        name=row.name,
        tunnel_ips=frozenset(row.tunnel_ips),
        ports={port.name: _port(port, names) for port in row.ports},
        faults=frozenset(getattr(row, "switch_fault_status", ())),
        tunnels=tuple(map(_tunnel, getattr(row, "tunnels", ()))),
    )


def _port(row: Any, names: Mapping[Any, str]) -> PhysicalPort:
    bindings = {vid: names[switch.uuid] for vid, switch in row.vlan_bindings.items()}
    return PhysicalPort(bindings, frozenset(getattr(row, "port_fault_status", ())))


def _tunnel(row: Any) -> Tunnel:
    status, params = getattr(row, "bfd_status", {}), getattr(row, "bfd_params", {})
    watched = "true" in (params.get("enable"), status.get("enabled"))
    return Tunnel(row.remote.dst_ip, watched, status.get("state", ""), status.get("diagnostic", ""))


def _logical(name: str, row: Any) -> LogicalSwitch:
    mode = getattr(row, "replication_mode", ())
    return LogicalSwitch(name, row.description, _one(row.tunnel_key), _one(mode) or "")


def _vtep(row: Any) -> str:
    """Where a locator leads.  One with a key of its own (schema 1.3 on) leads elsewhere than the switch's VNI does."""
    key = _one(getattr(row, "tunnel_key", ()))
    return str(row.dst_ip) if key is None else f"{row.dst_ip} key {key}"


def _mac(row: Any) -> Iterator[Mac]:
    """A row's MAC, unless it is none: nobody sends to that."""
    try:
        yield mac(row.MAC)
    except ValueError:
        return


def _one(column: Iterable[Any]) -> Any:
    """OVSDB writes an optional value as a list of none or one."""
    return next(iter(column), None)
