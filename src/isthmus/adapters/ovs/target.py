"""An OVS appliance as a Target: reads its two bridges whole, writes only what differs.

Law: no flush, neither at start nor at close; a bundle holds exactly the changes asked for, so an unchanged flow keeps
its counters and no frame is lost to a reconcile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from isthmus.adapters.ovs import bridges, text
from isthmus.adapters.ovs.appliance import Appliance
from isthmus.adapters.ovs.findings import OvsFinding, findings, interfaces_beside
from isthmus.adapters.ovs.openflow import OpenFlow, Rejected
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.model.boundary import Wake
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.flow import Bridge, Flow
from isthmus.model.names import HostId
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.observed import NveMirror, TargetId


class OvsTarget:
    """One appliance, read by any number of processes and written by the one that holds its OVSDB lock.

    With `keeps` it is held from the first look on, so that a second keeper is refused before it has anything to write.
    `astray` says where the appliance is if it is not on its host.  Its keeper closes its trunk then.
    """

    def __init__(
        self,
        host: HostId,
        settings: OvsSettings,
        *,
        keeps: bool = False,
        astray: Callable[[], str] = str,
    ) -> None:
        self.host = host
        self.astray = astray
        self._settings = settings
        self._appliance = Appliance(host, settings, bridges.closing, keeps=keeps, astray=astray)
        self._openflow = OpenFlow(settings)
        self._read: dict[tuple[Bridge, str], Flow | None] = {}

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        return TargetId("ovs", self.host)

    def observe(self) -> NveMirror:
        """All flows of our bridges, and whether these stand as they should."""
        snapshot = self._appliance.look()
        present = [bridge for bridge in Bridge if bridges.is_ours(snapshot, bridge, self._settings)]
        lines = [(bridge, line) for bridge in present for line in self._openflow.dump(bridge)]
        # A line seen before means what it meant before: an appliance at rest costs a dump and no parsing.
        self._read = {at: self._read[at] if at in self._read else text.parse(*at) for at in lines}
        entries: dict[NveKey, NveEntry] = {flow.key: flow for flow in self._read.values() if flow is not None}
        return NveMirror(self.id, entries, ready=self._stands(snapshot))

    def findings(self) -> Sequence[OvsFinding]:
        """What is not as configured.  Changes nothing and needs no lock.  Raises Retry if the appliance is silent."""
        local = self._settings.ovsdb.startswith("unix:")
        nics = interfaces_beside(self._settings.rundir) if local else None
        return findings(self._appliance.snapshot(), self._settings, nics)

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Build first, then all flows: one bundle per bridge, or two where br-tun both gains and loses flows."""
        try:
            self._appliance.stay_closed_astray(closes=True)
        except (Retry, Refused) as fault:
            return [Result.failed(change, fault) for change in changes]
        results: dict[int, Result] = {}
        flows = [change for change in changes if not isinstance(change.action, BuildNve)]
        for change in changes:
            if isinstance(change.action, BuildNve):
                results[change.id] = self._build(change)
        results |= {result.change.id: result for result in self._write(flows)}
        return [results[change.id] for change in changes]

    def watch(self, wake: Wake) -> None:
        """Call `wake` for this host when ovs-vswitchd restarts or somebody else alters the bridges, until `close`."""
        self._appliance.watch(wake)

    def claim(self) -> None:
        """Become the writer of this appliance until `close`, as `apply` does.  Raises Refused if another process is."""
        self._appliance.claim()

    def close(self) -> None:
        """Let go of watch, connection and lock.  The flows stay and go on forwarding."""
        self._appliance.close()

    def _stands(self, snapshot: bridges.Snapshot) -> bool:
        try:
            return not bridges.corrections(snapshot, self._settings) and not bridges.faults(snapshot, self._settings)
        except Refused:
            return False  # BuildNve says why

    def _build(self, change: Change) -> Result:
        try:
            self._appliance.claim()
            bridges.corrections(self._appliance.snapshot(), self._settings)  # nothing is tried where it is refused
            self._try_replacements()
            self._appliance.commit(bridges.corrections(self._appliance.snapshot(), self._settings))
            faults = bridges.faults(self._appliance.snapshot(), self._settings)
        except (Retry, Refused) as fault:
            return Result.failed(change, fault)
        return Result(change, Outcome.RETRY, "; ".join(faults)) if faults else Result(change, Outcome.DONE)

    def _try_replacements(self) -> None:
        """Raise Retry, with everything as it was, if a port that is to replace one of ours cannot be had."""
        if not bridges.unproven(self._appliance.snapshot(), self._settings):
            return
        self._appliance.commit(bridges.trials(self._appliance.snapshot(), self._settings))
        failed = bridges.failed_trials(self._appliance.snapshot(), self._settings)
        if failed:
            self._appliance.commit([removal for removal, _ in failed])
            raise Retry("; ".join(why for _, why in failed))

    def _write(self, changes: Sequence[Change]) -> list[Result]:
        """Write all at once; if the switch rejects that, halve until what it rejects stands alone."""
        middle = len(changes) // 2
        try:
            self._bundle(changes)
        except Rejected as fault:
            if middle:
                return self._write(changes[:middle]) + self._write(changes[middle:])
            return _all(changes, Outcome.REFUSED, fault)
        except (Retry, Refused) as fault:
            return [Result.failed(change, fault) for change in changes]
        return [Result(change, Outcome.DONE) for change in changes]

    def _bundle(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self._appliance.claim()
        snapshot = self._appliance.snapshot()
        for bridge, lines in steps(changes):
            if not bridges.is_ours(snapshot, bridge, self._settings):
                raise Retry(f"{bridge.value} of {self.host} is not built")
            self._openflow.bundle(bridge, lines)


def steps(changes: Iterable[Change]) -> Iterator[tuple[Bridge, list[str]]]:
    """What to send to which bridge, in an order that never points a frame at a table that is not there.

    Frames of VMs go br-int -> br-tun, so br-tun gains before br-int does and loses after br-int did.
    """
    gains: dict[Bridge, list[str]] = {bridge: [] for bridge in Bridge}
    losses: dict[Bridge, list[str]] = {bridge: [] for bridge in Bridge}
    for change in changes:
        match change.action:
            case Learn(entries):
                for flow in map(_flow, entries):
                    gains[flow.bridge].append(f"add {text.render(flow)}")
            case Forget(entries):
                for flow in map(_flow, entries):
                    losses[flow.bridge].append(f"delete_strict {text.render_key(flow.key)}")
                # What the data path learnt for a network must not outlive what it was learnt by: the VID may get
                # another meaning next.  Where the network stays, the computed flows know as much.
                for vni in sorted({flow.vni for flow in map(_flow, entries) if flow.vni is not None}):
                    losses[Bridge.TUN].append(f"delete {text.render_learnt(vni)}")
            case other:
                raise TypeError(f"an OVS appliance knows no {type(other).__name__}")
    ordered = (
        (Bridge.TUN, gains[Bridge.TUN]),
        (Bridge.INT, losses[Bridge.INT] + gains[Bridge.INT]),
        (Bridge.TUN, losses[Bridge.TUN]),
    )
    return ((bridge, lines) for bridge, lines in ordered if lines)


def _all(changes: Sequence[Change], outcome: Outcome, fault: Exception) -> list[Result]:
    return [Result(change, outcome, str(fault)) for change in changes]


def _flow(entry: NveEntry) -> Flow:
    if not isinstance(entry, Flow):
        raise TypeError(f"an OVS appliance holds no {type(entry).__name__}")
    return entry
