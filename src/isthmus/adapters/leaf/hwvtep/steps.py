"""From changes to what must be written: the least that makes the database hold what it shall, and in vtep-ctl's words.

Law: foreign rows are not touched, and no VNI is ever on two logical switches, which ends the VTEP service of some
switches (ovs-vtep, OVS 3.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isthmus.adapters.leaf.hwvtep.mirror import SOURCE_NODE, is_sound, is_vid, our_vnis, the_switch
from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.snapshot import Snapshot
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry
from isthmus.model.tags import Vid, Vni


@dataclass(frozen=True, slots=True)
class MakeSwitch:
    """Make a logical switch, or bring its own columns back to what they were."""

    name: str
    vni: Vni
    exists: bool = False


@dataclass(frozen=True, slots=True)
class RemoveSwitch:
    """Remove a logical switch with all MACs that anybody has written for it."""

    name: str


@dataclass(frozen=True, slots=True)
class Bind:
    """On a port, a VID means a logical switch, whatever it meant there."""

    port: str
    vid: Vid
    name: str


@dataclass(frozen=True, slots=True)
class Unbind:
    """On a port, a VID means nothing any more."""

    port: str
    vid: Vid


@dataclass(frozen=True, slots=True)
class SetFlood:
    """Where the frames go that are for all or for an unknown MAC: nowhere, if to no VTEP."""

    name: str
    vteps: frozenset[str]
    before: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SetMac:
    """Behind which VTEP a MAC is; None: nothing is known of it."""

    name: str
    mac: Mac
    vtep: str | None


LeafEntry: TypeAlias = LeafBinding | LeafFlood | LeafUnicast
Step: TypeAlias = MakeSwitch | RemoveSwitch | Bind | Unbind | SetFlood | SetMac


class _Held:
    """What the leaf holds of ours, changed entry by entry as it shall be."""

    def __init__(self) -> None:
        self.networks: set[Vni] = set()
        self.bindings: dict[tuple[str, Vid], Vni] = {}
        self.flood: dict[Vni, frozenset[str]] = {}
        self.macs: dict[tuple[Vni, Mac], str] = {}
        self.unsound: set[Vni] = set()
        self.asked_for: set[Vni] = set()
        """Networks to be there even if nothing is in them."""
        self._things: Counter[Vni] = Counter()

    def copy(self) -> _Held:
        other = _Held()
        other.networks, other.unsound, other.asked_for = set(self.networks), set(self.unsound), set(self.asked_for)
        other.bindings, other.flood, other.macs = dict(self.bindings), dict(self.flood), dict(self.macs)
        other._things = Counter(self._things)
        return other

    def bind(self, port: str, vid: Vid, vni: Vni | None) -> None:
        self._count(self.bindings.pop((port, vid), None), vni)
        if vni is not None:
            self.bindings[port, vid] = vni

    def send_to(self, vni: Vni, vteps: frozenset[str]) -> None:
        self._count(vni if self.flood.pop(vni, None) else None, vni if vteps else None)
        if vteps:
            self.flood[vni] = vteps

    def place(self, vni: Vni, mac: Mac, vtep: str | None) -> None:
        self._count(vni if self.macs.pop((vni, mac), None) else None, vni if vtep else None)
        if vtep:
            self.macs[vni, mac] = vtep

    def is_empty(self, vni: Vni) -> bool:
        return not self._things[vni] and vni not in self.asked_for

    def _count(self, less: Vni | None, more: Vni | None) -> None:
        if less is not None:
            self._things[less] -= 1
        if more is not None:
            self._things[more] += 1


class Draft:
    """Changes taken up one after the other; `steps` is what has to be written for all of them together."""

    def __init__(self, snapshot: Snapshot, settings: HwvtepSettings, known: frozenset[tuple[str, Mac]]) -> None:
        """`known` are the MACs that the leaf was seen to have below itself when these changes were thought out.

        Raises Refused if the switch is not the one that was configured.
        """
        self._snapshot = snapshot
        self._settings = settings
        self._switch = the_switch(snapshot, settings)
        self._ours = our_vnis(snapshot, settings)
        self._news = snapshot.local - known
        self._by_key: dict[int, list[str]] = {}
        for logical in snapshot.logical.values():
            if logical.key is not None:
                self._by_key.setdefault(logical.key, []).append(logical.name)
        self._before = self._read()
        self._after = self._before.copy()
        bound = (port for port, _ in self._before.bindings)
        self._ports = tuple(dict.fromkeys((*settings.ports, *bound)))
        """Those that are ours, and those that once were."""

    @property
    def switch(self) -> str:
        """The name of the physical switch that is written."""
        return self._switch.name

    def take(self, change: Change) -> Result:
        """What becomes of a change if the draft is written."""
        try:
            match change.action:
                case Learn(entries):
                    why, outcome = self._learn([_entry(entry) for entry in entries]), Outcome.RETRY
                case Forget(entries):
                    why, outcome = self._forget([_entry(entry) for entry in entries]), Outcome.REFUSED
                case BuildNve():  # the switch is its operator's, and it was looked at when the draft was begun
                    return Result(change, Outcome.DONE)
                case other:
                    raise TypeError(f"a leaf knows no {type(other).__name__}")
        except (Retry, Refused) as fault:
            return Result.failed(change, fault)
        return Result(change, outcome, "; ".join(why)) if why else Result(change, Outcome.DONE)

    def steps(self) -> tuple[Step, ...]:
        """Logical switches come first and go last."""
        return (*self._made(), *self._bound(), *self._flooded(), *self._placed(), *self._removed())

    # --- what is, and what shall be

    def _read(self) -> _Held:
        ours, held = self._ours, _Held()
        held.networks = set(ours.values())
        for port, state in self._switch.ports.items():
            for vid, name in state.bindings.items():
                if name in ours and is_vid(vid):
                    held.bind(port, Vid(vid), ours[name])
        for name, vteps in self._snapshot.flood.items():
            if name in ours:
                held.send_to(ours[name], vteps)
        for (name, mac), places in self._snapshot.unicast.items():
            if name in ours:
                held.place(ours[name], mac, ",".join(places))
        for name, vni in ours.items():
            if not is_sound(self._snapshot.logical[name], vni, replicates=self._snapshot.replicates):
                held.unsound.add(vni)
        return held

    def _learn(self, entries: Sequence[LeafEntry]) -> list[str]:
        """Learn all that can be; what cannot be now, and why.  Raises, with nothing learnt, for what is in the way."""
        for entry in entries:
            self._check_network(entry.vni)
            if isinstance(entry, LeafBinding):
                self._check_binding(entry.vid)
        late = []
        for entry in entries:
            self._after.networks.add(entry.vni)
            self._after.unsound.discard(entry.vni)
            match entry:
                case LeafBinding(vid, vni):
                    self._rebind(vid, vni)
                case LeafFlood(vni, vteps):
                    self._after.send_to(vni, vteps)
                    self._after.asked_for.add(vni)
                case LeafUnicast(vni, mac, vtep):
                    # Whoever saw it last is right.  The world was read after the leaf, so it is later than what the
                    # leaf knew then, and earlier than what the leaf has come to know since.
                    if (self._settings.name_of(vni), mac) in self._news:
                        late.append(f"the leaf has just seen {mac} below itself in VNI {int(vni)}")
                    else:
                        self._after.place(vni, mac, vtep)
        return late

    def _rebind(self, vid: Vid, vni: Vni) -> None:
        meant = {self._after.bindings.get((port, vid)) for port in self._ports}
        for port in self._ports:
            self._after.bind(port, vid, vni if port in self._settings.ports else None)
        for other in meant - {vni}:
            if other is not None:
                self._drop_if_empty(other)

    def _forget(self, entries: Sequence[LeafEntry]) -> list[str]:
        """Forget all of it; what must stay, and why."""
        for entry in entries:
            match entry:
                case LeafBinding(vid, vni):
                    for port in self._ports:
                        if self._after.bindings.get((port, vid)) == vni:  # by now it may mean another network
                            self._after.bind(port, vid, None)
                case LeafFlood(vni):
                    self._after.send_to(vni, frozenset())
                    self._after.asked_for.discard(vni)
                case LeafUnicast(vni, mac):
                    self._after.place(vni, mac, None)
        stays = (self._drop_if_empty(vni) for vni in sorted({entry.vni for entry in entries}))
        return [why for why in stays if why]

    def _check_network(self, vni: Vni) -> None:
        name = self._settings.name_of(vni)
        if name in self._snapshot.logical and name not in self._ours:
            raise Refused(
                f"logical switch {name} exists and does not say that it is ours (its description is "
                f"{self._snapshot.logical[name].description!r}): remove or rename it"
            )
        for other in self._by_key.get(vni, ()):
            if other != name and other in self._ours:
                raise Retry(f"VNI {int(vni)} is on logical switch {other}, which has to be mended first")
            if other != name:
                raise Refused(
                    f"VNI {int(vni)} is taken on switch {self._switch.name} by logical switch {other!r}, which is not "
                    "ours: give the network another VNI, or remove that logical switch"
                )

    def _check_binding(self, vid: Vid) -> None:
        for port in self._settings.ports:
            name = self._switch.ports[port].bindings.get(vid)
            if name is not None and name not in self._ours:
                raise Refused(
                    f"VID {int(vid)} of port {port} of switch {self._switch.name} is bound to logical switch "
                    f"{name!r}, which is not ours: unbind it, or keep this VID out of the pool"
                )

    def _drop_if_empty(self, vni: Vni) -> str:
        """A logical switch goes with the last that it holds.  Else why it stays although nothing of ours is in it."""
        if vni not in self._after.networks or not self._after.is_empty(vni):
            return ""
        name = self._settings.name_of(vni)
        if elsewhere := bound_elsewhere(self._snapshot, self._settings, name):
            return (
                f"logical switch {name} stays, since {' and '.join(elsewhere)} is bound to it, which is not ours to "
                "unbind: unbind it there"
            )
        self._after.networks.discard(vni)
        self._after.unsound.discard(vni)
        return ""

    # --- the difference

    def _made(self) -> Iterator[Step]:
        mended = (self._before.unsound - self._after.unsound) & self._after.networks
        for vni in sorted((self._after.networks - self._before.networks) | mended):
            yield MakeSwitch(self._settings.name_of(vni), vni, exists=vni in mended)

    def _bound(self) -> Iterator[Step]:
        for port, vid in sorted(self._before.bindings.keys() - self._after.bindings.keys()):
            yield Unbind(port, vid)
        for (port, vid), vni in sorted(self._after.bindings.items()):
            if self._before.bindings.get((port, vid)) != vni:
                yield Bind(port, vid, self._settings.name_of(vni))

    def _flooded(self) -> Iterator[Step]:
        for vni in sorted(self._after.networks):
            vteps = self._after.flood.get(vni, frozenset())
            if vteps != self._before.flood.get(vni, frozenset()):
                yield SetFlood(self._settings.name_of(vni), vteps, self._before.flood.get(vni, frozenset()))

    def _placed(self) -> Iterator[Step]:
        before, after = self._before.macs, self._after.macs
        for vni, mac in sorted(before.keys() - after.keys()):
            if vni in self._after.networks:
                yield SetMac(self._settings.name_of(vni), mac, None)
        for (vni, mac), vtep in sorted(after.items()):
            if before.get((vni, mac)) != vtep:
                yield SetMac(self._settings.name_of(vni), mac, vtep)

    def _removed(self) -> Iterator[Step]:
        for vni in sorted(self._before.networks - self._after.networks):
            yield RemoveSwitch(self._settings.name_of(vni))


def _entry(entry: NveEntry) -> LeafEntry:
    if not isinstance(entry, LeafBinding | LeafFlood | LeafUnicast):
        raise TypeError(f"a leaf holds no {type(entry).__name__}")
    return entry


def bound_elsewhere(snapshot: Snapshot, settings: HwvtepSettings, name: str) -> list[str]:
    """Where a logical switch of ours is bound in ways in which we do not bind: other switches, untagged frames."""
    ours = the_switch(snapshot, settings).name
    return [
        f"VLAN {vid} of port {port} of switch {switch.name}"
        for switch in snapshot.physical.values()
        for port, state in sorted(switch.ports.items())
        for vid, bound in sorted(state.bindings.items())
        if bound == name and not (switch.name == ours and is_vid(vid))
    ]


def words(switch: str, step: Step) -> tuple[str, ...]:
    """A step as an operator would type it."""
    match step:
        case MakeSwitch(name, vni, exists):
            made = () if exists else (f"vtep-ctl add-ls {name}",)
            columns = f"tunnel_key={int(vni)} replication_mode={SOURCE_NODE}"
            return (*made, f"vtep-ctl set Logical_Switch {name} {columns}")
        case RemoveSwitch(name):
            return (f"vtep-ctl clear-remote-macs {name} -- clear-local-macs {name} -- del-ls {name}",)
        case Bind(port, vid, name):
            return (f"vtep-ctl bind-ls {switch} {port} {int(vid)} {name}",)
        case Unbind(port, vid):
            return (f"vtep-ctl unbind-ls {switch} {port} {int(vid)}",)
        case SetFlood(name, vteps, before):
            less = (f"vtep-ctl del-mcast-remote {name} unknown-dst {vtep}" for vtep in sorted(before - vteps))
            more = (f"vtep-ctl add-mcast-remote {name} unknown-dst {vtep}" for vtep in sorted(vteps - before))
            return (*more, *less)
        case SetMac(name, mac, None):
            return (f"vtep-ctl del-ucast-remote {name} {mac}",)
        case SetMac(name, mac, vtep):
            return (f"vtep-ctl add-ucast-remote {name} {mac} {vtep}",)
