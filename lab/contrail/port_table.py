"""The ports that a vRouter agent holds: what it takes from a request, what it ignores, what it writes to disk.

Written from OpenSDN fbb63bcd, src/vnsw/agent/port_ipc (port_ipc_handler.cc, port_subscribe_table.cc).  Law: of a port
that is held nothing changes but its version and its link state, until it is deleted or named for another VM.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

NIL = "00000000-0000-0000-0000-000000000000"
NOVA, NAMESPACE, ESXI = 0, 1, 2
UNSET = 0xFFFF  # of a VLAN: 16 bits are kept of what is sent, so -1 is this
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
MAC = re.compile(r"([0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}")


class Wrong(Exception):
    """The agent does not take it; the text is the agent's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A port as the agent was told of it."""

    vmi: str
    vm: str
    vn: str
    project: str
    name: str
    address: str
    address6: str
    system_name: str
    mac: str
    type: int
    tx: int
    rx: int
    link_state: int
    vhostuser_mode: int = 0
    version: int = 0

    @property
    def enabled(self) -> bool:
        return bool(self.link_state)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a port, or, with none, to the agent."""

    at: float
    what: str
    vmi: str = ""


class PortTable:
    """All calls may come from several threads.  `clock` is what the stale clean-up goes by."""

    def __init__(
        self, folder: Path, cleanup_timeout: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.cleanup_timeout, self._clock = folder, cleanup_timeout, clock
        self.events: list[Event] = []
        self._entries: dict[str, Entry] = {}
        self._version = 0
        self._cleanups: list[tuple[float, int]] = []
        self._lock = threading.RLock()

    def load(self) -> None:
        """Begin anew, with the ports that are on disk."""
        with self._lock:
            self._entries, self._version, self._cleanups = {}, 0, []
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(self.folder.iterdir()):
                if file.is_file() and uuid_of(file.name) != NIL:
                    try:
                        self._add(self._entry(json.loads(file.read_text())))
                    except (Wrong, ValueError):
                        continue

    def note(self, what: str, vmi: str = "") -> None:
        """Write down an event."""
        self.events.append(Event(self._clock(), what, vmi))

    def entries(self) -> dict[str, Entry]:
        """What is held now, by VMI."""
        with self._lock:
            self._clean()
            return dict(self._entries)

    def post(self, raw: bytes) -> None:
        """Plug one port, or several.  An array with a wrong element is no error, and none of it is taken."""
        text = raw.decode(errors="replace")
        try:
            told = json.loads(text)
        except ValueError:
            raise Wrong(f"Invalid Json string ==> {text}") from None
        if not isinstance(told, dict | list):
            raise Wrong(f"Unexpected Json string ==> {text}")
        with self._lock:
            self._clean()
            if isinstance(told, dict):
                self._plug(self._entry(told))
                return
            try:
                entries = [self._entry(one) for one in told]
            except Wrong:
                self.note("array ignored")
                return
            for entry in entries:
                self._plug(entry)

    def delete(self, vmi: str) -> None:
        """Unplug.  One that is not held is fine."""
        with self._lock:
            self._clean()
            if vmi != NIL:
                self._drop(vmi, "unplug")

    def set_link(self, vmi: str, state: int) -> None:
        """Enable (1) or disable (0) a port of an ESXi host."""
        with self._lock:
            self._clean()
            entry = self._entries.get(vmi) if vmi != NIL else None
            if entry is None:
                raise Wrong(f"Port Not found {vmi}")
            if entry.type != ESXI:
                raise Wrong(f"Incorrect Port type for {vmi}")
            if entry.link_state != state:
                entry = self._entries[vmi] = replace(entry, link_state=state)
                self._write(entry)
            self.note("enable" if state else "disable", vmi)

    def sync(self) -> None:
        """Whoever is not plugged anew from now on will be deleted."""
        with self._lock:
            self._clean()
            self._version += 1
            self._cleanups.append((self._clock() + self.cleanup_timeout, self._version))
            self.note("sync")

    def shown(self, vmi: str, *, uses_vlans: bool) -> dict[str, Any] | None:
        """What a GET tells, its configuration being there: neither the name, nor the type, nor the link state.

        An agent finds the IPAM by the port's address, so one without an address is not told of at all.
        """
        entry = self.entries().get(vmi)
        if entry is None or vmi == NIL:
            return None
        told: dict[str, Any] = {
            "id": entry.vmi,
            "instance-id": entry.vm,
            "vn-id": entry.vn,
            "vm-project-id": entry.project,
            "mac-address": ":".join(f"{int(octet, 16):02x}" for octet in entry.mac.split(":")),
            "system-name": entry.system_name,
            "rx-vlan-id": entry.rx if uses_vlans else UNSET,
            "tx-vlan-id": entry.tx if uses_vlans else UNSET,
            "vhostuser-mode": entry.vhostuser_mode,
        }
        if entry.address != "0.0.0.0":
            subnet = IPv4Network((entry.address, 24), strict=False)
            servers = {"dns-server": str(subnet[2]), "gateway": str(subnet[1])}
            told |= {"ip-address": entry.address, "plen": 24, **servers}
        if entry.address6 != "::":
            told |= {"v6-ip-address": entry.address6, "v6-dns-server": "::", "v6-gateway": "::"}
        if "ip-address" not in told and "v6-ip-address" not in told:
            return None
        return told | _signed()

    def _plug(self, entry: Entry) -> None:
        if not (self.folder / entry.vmi).exists():  # and if it exists, it stays as it is, whatever the table has
            self._write(entry)
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        held = self._entries.get(entry.vmi)
        if held is not None and held.vm == entry.vm:
            self._entries[entry.vmi] = replace(held, version=entry.version)
            self.note("plug again", entry.vmi)
            return
        if held is not None:
            self.note("unplug", entry.vmi)
        self._entries[entry.vmi] = entry
        self.note("plug", entry.vmi)

    def _drop(self, vmi: str, why: str) -> None:
        held = self._entries.pop(vmi, None)
        (self.folder / vmi).unlink(missing_ok=True)
        self.note(why if held is not None else f"{why} of none", vmi)

    def _clean(self) -> None:
        """The clean-ups that are due.  A port of a name space stays."""
        now = self._clock()
        due = [version for at, version in self._cleanups if at <= now]
        self._cleanups = [cleanup for cleanup in self._cleanups if cleanup[0] > now]
        for version in due:
            for entry in list(self._entries.values()):
                if entry.type != NAMESPACE and entry.version < version:
                    self._drop(entry.vmi, "stale")

    def _write(self, entry: Entry) -> None:
        kept = _document(entry) | _signed()
        (self.folder / entry.vmi).write_text(json.dumps(kept, indent=4))

    def _entry(self, told: Any) -> Entry:
        """What a request means.  Raises Wrong with the agent's own words, for the field that it reads first."""
        if not isinstance(told, dict):
            raise Wrong("Json Array has invalid element")
        vmi, vm, vn, project = (_uuid(told, field) for field in ("id", "instance-id", "vn-id", "vm-project-id"))
        name, address, address6 = (
            _string(told, "display-name"),
            _string(told, "ip-address"),
            _string(told, "ip6-address"),
        )
        kind = _number(told, "type")
        kind = kind if kind in (NAMESPACE, ESXI) else NOVA
        if kind == NOVA and vn == NIL:
            raise Wrong("Invalid VN uuid")
        system_name, mac = _string(told, "system-name"), _string(told, "mac-address")
        if not MAC.fullmatch(mac) or not any(int(octet, 16) for octet in mac.split(":")):
            raise Wrong("Invalid MAC, Use xx:xx:xx:xx:xx:xx format")
        rx, tx = _number(told, "rx-vlan-id") & 0xFFFF, _number(told, "tx-vlan-id") & 0xFFFF
        link_state = 0 if kind == ESXI else 1
        link_state = told["link-state"] & 0xFF if _is_number(told.get("link-state")) else link_state
        mode = told["vhostuser-mode"] & 0xFF if _is_number(told.get("vhostuser-mode")) else 0
        return Entry(
            vmi, vm, vn, project, name, _address(address), _address6(address6), system_name, mac, kind, tx, rx,
            link_state, mode, self._version,
        )  # fmt: skip


def uuid_of(text: str) -> str:
    """A uuid in the agent's own spelling; the nil uuid for what is none."""
    return text.lower() if UUID.fullmatch(text) else NIL


def _document(entry: Entry) -> dict[str, Any]:
    named = {
        "vmi": "id", "vm": "instance-id", "name": "display-name", "address": "ip-address", "address6": "ip6-address",
        "vn": "vn-id", "project": "vm-project-id", "mac": "mac-address", "system_name": "system-name", "type": "type",
        "rx": "rx-vlan-id", "tx": "tx-vlan-id", "vhostuser_mode": "vhostuser-mode",
    }  # fmt: skip
    values = asdict(entry)
    state = {"link-state": entry.link_state} if entry.type == ESXI else {}
    return {key: values[field] for field, key in named.items()} | state


def _signed() -> dict[str, str]:
    return {"author": "contrail-vrouter-agent", "time": time.strftime("%Y-%b-%d %H:%M:%S.000000", time.gmtime())}


def _uuid(told: dict[str, Any], field: str) -> str:
    if not isinstance(told.get(field), str):
        raise Wrong(f"Invalid or missing data for <{field}>")
    return uuid_of(told[field])


def _string(told: dict[str, Any], field: str) -> str:
    value = told.get(field)
    if not isinstance(value, str):
        raise Wrong(f"Invalid or missing field for <{field}>")
    return value


def _number(told: dict[str, Any], field: str) -> int:
    if not _is_number(told.get(field)):
        raise Wrong(f"Invalid or missing field for <{field}>")
    return int(told[field])


def _is_number(value: Any) -> bool:
    return type(value) is int and -(2**31) <= value < 2**31


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        return "0.0.0.0"


def _address6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except AddressValueError:
        return "::"
