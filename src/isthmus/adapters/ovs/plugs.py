"""Plugs as pairs of patch ports, both ways: read from a snapshot of an appliance, and what makes or ends them.

                  br-vds                                            br-int, the stock Neutron OVS agent's
    trunk NIC [vlan_mode trunk]  isv-9f3c1a2b-4d [tag 101] == isi-9f3c1a2b-4d [tag of the agent's own, 4095: none yet]
                                 [4095: a dead Plug]

Law: both halves say all of the Plug, and one VID is one pair: no frame of one port goes to another by br-vds.  The half
on br-int is what the agent filters: without it there is no Plug, and what is left is a stray.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from isthmus.adapters.ovs.bridges import OWNER_KEY, AddPort, Correction, PortState, RemovePort, Set, Snapshot
from isthmus.adapters.ovs.settings import BR_VDS, OvsSettings
from isthmus.model.faults import Refused, Retry
from isthmus.model.flow import Bridge
from isthmus.model.names import NetworkId, NicId, PortId, VmId, unicast_mac
from isthmus.model.nve import Plug
from isthmus.model.tags import Vid, Vni

BR_INT = Bridge.INT.value
DEAD = 4095
"""The tag of a port of br-int that the agent has not wired, or wires no longer."""
PORT_KEY = "isthmus-port"
ASKED_KEY = "isthmus-asked"
"""How often the agent was asked to look at a port again."""
FILTERED = 60
"""The table of br-int where the agent's firewall `openvswitch` knows by its port who speaks: each that it has filters
for, and each that needs none (without port security), has a flow there which puts its number into register 5.  Others
of the agent's have flows there too, of a port of the same number."""
_SPEAKS = re.compile(r"\bpriority=\d+,in_port=(\d+) actions=(?:load|set_field):0x([0-9a-f]+)->(?:NXM_NX_REG5\[\]|reg5)")
_LENGTH = 11
"""Of a port's id in interface names, which have 15 characters; Neutron's own have as many of it."""


def names(port: PortId) -> tuple[str, str]:
    """The interfaces of a port's pair, on br-vds and on br-int."""
    return f"isv-{port[:_LENGTH]}", f"isi-{port[:_LENGTH]}"


def filtered(lines: Iterable[str]) -> frozenset[int]:
    """The ports of br-int that the agent has filters for, or knows to need none, by its flows in table FILTERED."""
    found = [(int(said[1]), int(said[2], 16)) for line in lines if (said := _SPEAKS.search(line))]
    return frozenset(port for port, number in found if port == number)


def plugs_of(snapshot: Snapshot, settings: OvsSettings, filtered: Collection[int] = ()) -> Iterator[Plug]:
    """The pairs of ours, and halves on br-int that lack the other: dead ones.  `filtered`: ports of br-int."""
    for port in {state.external_ids[PORT_KEY]: None for state in _marked(snapshot, settings) if _is_half(state)}:
        plug = _plug(snapshot, settings, PortId(port), filtered)
        if plug is not None:
            yield plug


def strays(snapshot: Snapshot, settings: OvsSettings) -> Iterator[PortState]:
    """Ports with our mark that are neither the trunk nor half of a pair that can be read."""
    pairs = {name for plug in plugs_of(snapshot, settings) for name in names(plug.port)}
    for state in _marked(snapshot, settings):
        if state.name not in pairs and (state.bridge, state.name) != (BR_VDS, settings.trunk):
            yield state


def is_tagged(snapshot: Snapshot, port: PortId) -> bool:
    """The agent has given the plug of a port its VLAN on br-int, which it does before it filters."""
    state = snapshot.ports.get(names(port)[1])
    return state is not None and state.bridge == BR_INT and state.tag not in (None, DEAD)


def why_not_made(snapshot: Snapshot, port: PortId) -> str:
    """What Open vSwitch says of a half of a pair that it could not make; empty if it says nothing."""
    found = (snapshot.ports.get(name) for name in names(port))
    return next((f"interface {state.name}: {state.error}" for state in found if state is not None and state.error), "")


def agent_is_there(snapshot: Snapshot) -> bool:
    """The agent is br-int's OpenFlow controller, and on the line."""
    state = snapshot.bridges.get(BR_INT)
    return state is not None and state.controlled


def has_had_a_firewall(snapshot: Snapshot) -> bool:
    """The agent's driver `openvswitch` has been at br-int: nothing else of the agent's turns on OpenFlow 1.4."""
    state = snapshot.bridges.get(BR_INT)
    return state is None or not state.protocols or "OpenFlow14" in state.protocols


def learning(snapshot: Snapshot, settings: OvsSettings, plug: Plug) -> Iterator[Correction]:
    """What makes the pair of a plug, or makes it right.  Raises Retry or Refused where something is in the way."""
    _check_the_way(snapshot, settings, plug)
    yield from _making(snapshot, settings, plug)


def _making(snapshot: Snapshot, settings: OvsSettings, plug: Plug) -> Iterator[Correction]:
    ids = _ids(settings, plug)
    on_vds, on_int = names(plug.port)
    # A port in this state takes part in no VLAN of its bridge: not even of those that are dead (LP 1930414).
    closed: dict[str, object] = {"tag": DEAD, "vlan_mode": "trunk", "trunks": DEAD}
    has_vid: dict[str, object] = {"tag": int(plug.vid), "vlan_mode": [], "trunks": []}
    new, right = (closed, (DEAD, "trunk")) if plug.dead else (has_vid, (plug.vid, ""))
    yield from _half(snapshot, BR_VDS, on_vds, on_int, ids, new)
    state = snapshot.ports.get(on_vds)
    if state is not None and state.bridge == BR_VDS and (state.tag, state.vlan_mode) != right:
        yield Set("Port", on_vds, new)
    # Until the agent has wired it.
    yield from _half(snapshot, BR_INT, on_int, on_vds, {**ids, **_iface(plug)}, closed)
    state = snapshot.ports.get(on_int)
    if state is not None and state.bridge == BR_INT and (state.tag, state.vlan_mode) == (DEAD, ""):
        # By hand, or by the agent itself.  It puts back a tag that was changed, but looks only when an interface
        # changes.  It is asked once: from then on the port is in the state that a new one has.
        yield Set("Port", on_int, closed)
        yield Set("Interface", on_int, {"external_ids": {ASKED_KEY: _next(state.external_ids.get(ASKED_KEY, ""))}})


def forgetting(snapshot: Snapshot, settings: OvsSettings, ports: Iterable[PortId]) -> Iterator[RemovePort]:
    """What ends the pairs of these ports, first where the VIDs are."""
    gone = set(ports)
    halves = [state for state in _marked(snapshot, settings) if state.external_ids.get(PORT_KEY) in gone]
    for state in sorted(halves, key=lambda state: (state.bridge != BR_VDS, state.name)):
        yield RemovePort(state.bridge, state.name)


def _marked(snapshot: Snapshot, settings: OvsSettings) -> Iterator[PortState]:
    return (state for state in snapshot.ports.values() if state.owner == settings.owner)


def _is_half(state: PortState) -> bool:
    return PORT_KEY in state.external_ids


def _plug(snapshot: Snapshot, settings: OvsSettings, port: PortId, filtered: Collection[int]) -> Plug | None:
    """What stands of a port's pair, by either half; None without the one on br-int, or if neither can be read."""
    found = (snapshot.ports.get(name) for name in names(port))
    halves = [s for s in found if s and s.owner == settings.owner and s.external_ids.get(PORT_KEY) == port]
    tag = next((state.tag for state in halves if state.bridge == BR_VDS), None)
    plug = next((read for state in halves if (read := _read(state.external_ids, tag)) is not None), None)
    if plug is None or all(state.bridge != BR_INT for state in halves):
        return None
    whole = not any(True for _ in _making(snapshot, settings, plug))
    works = all((state.number or -1) > 0 and not state.error for state in halves)
    # It tags all ports before it lays the filters of any.
    done = is_tagged(snapshot, port) and any(state.bridge == BR_INT and state.number in filtered for state in halves)
    # One that is only expected is wired when its binding is activated, and not before.
    wired = (agent_is_there(snapshot) and done) or not plug.enabled
    return replace(plug, wired=whole and works and wired)


def _read(ids: Mapping[str, str], tag: int | None) -> Plug | None:
    try:
        vm, _, key = ids["isthmus-nic"].rpartition("/")
        return Plug(
            PortId(ids[PORT_KEY]),
            Vid(int(ids["isthmus-vid"]) if tag in (None, DEAD) else tag),
            NetworkId(ids["isthmus-network"]),
            Vni(int(ids["isthmus-vni"])),
            NicId(VmId(vm), int(key)),
            unicast_mac(ids["isthmus-mac"]),
            tuple(ids["isthmus-addresses"].split()),
            ids["isthmus-enabled"] == "yes",
            dead=tag in (None, DEAD),
        )
    except (KeyError, ValueError):
        return None


def _ids(settings: OvsSettings, plug: Plug) -> dict[str, str]:
    return {
        OWNER_KEY: settings.owner,
        PORT_KEY: plug.port,
        "isthmus-vid": str(int(plug.vid)),
        "isthmus-network": plug.network,
        "isthmus-vni": str(int(plug.vni)),
        "isthmus-nic": str(plug.nic),
        "isthmus-mac": plug.mac,
        "isthmus-addresses": " ".join(plug.addresses),
        "isthmus-enabled": "yes" if plug.enabled else "no",
    }


def _iface(plug: Plug) -> dict[str, str]:
    """What the agent knows a port by."""
    return {"iface-id": plug.port, "attached-mac": plug.mac, "iface-status": "active", "vm-uuid": plug.nic.vm}


def _next(count: str) -> str:
    return str(int(count) + 1) if count.isdecimal() else "1"


def _half(
    snapshot: Snapshot, bridge: str, name: str, peer: str, ids: Mapping[str, str], new: Mapping[str, object]
) -> Iterator[Correction]:
    state = snapshot.ports.get(name)
    if state is None or state.bridge != bridge:
        if state is not None:
            yield RemovePort(state.bridge, name)
        yield AddPort(bridge, name, {"type": "patch", "options": {"peer": peer}, "external_ids": dict(ids)})
        yield Set("Port", name, new)
        return
    wrong: dict[str, object] = {}
    if state.type != "patch":
        wrong["type"] = "patch"
    if state.options.get("peer") != peer:
        wrong["options"] = {"peer": peer}
    if any(state.external_ids.get(key) != value for key, value in ids.items()):
        wrong["external_ids"] = dict(ids)
    if wrong:
        yield Set("Interface", name, wrong)


def _check_the_way(snapshot: Snapshot, settings: OvsSettings, plug: Plug) -> None:
    pair = names(plug.port)
    for name in pair:
        state = snapshot.ports.get(name)
        if state is None:
            continue
        if state.owner != settings.owner:
            raise Refused(
                f"interface {name} of {state.bridge} is not ours: remove it (ovs-vsctl del-port {state.bridge} {name})"
            )
        if (other := state.external_ids.get(PORT_KEY)) not in (None, plug.port):
            raise Refused(f"port {plug.port} begins as {other} does, which has {name}: make the port anew")
    for state in snapshot.ports.values():
        if state.name in pair:
            continue
        if state.bridge == BR_VDS and state.tag == plug.vid:
            other = state.external_ids.get(PORT_KEY, state.name)
            raise Retry(f"VID {int(plug.vid)} is still that of {other} on {BR_VDS}: it must leave it first")
        if state.bridge == BR_INT and state.external_ids.get("iface-id") == plug.port:
            raise Refused(
                f"port {plug.port} is plugged in on br-int already, as {state.name}, which is not ours: remove that one"
            )
