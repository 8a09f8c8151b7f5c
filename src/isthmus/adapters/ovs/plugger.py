"""An appliance that runs the stock Neutron OVS agent, as a Target: what it holds is pairs of patch ports, by OVSDB.

Law: a plug is held when the agent has wired and filtered it, as its flows show, and only then; one that it has not is
neither made anew nor taken away for that.  All beyond the pair (flows, tunnels, security groups) is the agent's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from isthmus.adapters.ovs import plug_frame, plugs
from isthmus.adapters.ovs.appliance import Appliance
from isthmus.adapters.ovs.bridges import Correction, RemovePort, Snapshot
from isthmus.adapters.ovs.findings import OvsFinding, interfaces_beside
from isthmus.adapters.ovs.openflow import OpenFlow
from isthmus.adapters.ovs.settings import BR_VDS, OvsSettings
from isthmus.model.boundary import Wake
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.flow import Bridge
from isthmus.model.names import HostId, PortId
from isthmus.model.nve import NveEntry, NveKey, Plug
from isthmus.model.observed import NveMirror, TargetId

AGENT_AWAY = (
    "the Neutron Open vSwitch agent is not connected to br-int: what it has wired goes on, and nothing is opened or "
    "changed until it runs (systemctl start neutron-openvswitch-agent)"
)
NOT_WIRED = (
    "the Neutron Open vSwitch agent has not wired it: is it bound to the agent's own host? The agent's log says more"
)
_FIREWALL = (
    "firewall_driver = openvswitch and enable_security_group = true in its [securitygroup] (systemctl restart "
    "neutron-openvswitch-agent)"
)
NOT_FILTERED = (
    "the Neutron Open vSwitch agent has wired it, and has no filters for it in br-int, without which nothing opens: "
    f"if that lasts, set {_FIREWALL}"
)
NO_FIREWALL = (
    "the Neutron Open vSwitch agent has never filtered on this br-int, so nothing that is plugged in is opened: set "
    f"{_FIREWALL}"
)
PATIENCE = 1.0
"""Seconds that the agent is given to wire what was just plugged, before others are told that it has not."""


class PluggerTarget:
    """One appliance, read by any number of processes and written by the one that holds its OVSDB lock.

    `keeps` and `astray` as in OvsTarget.
    """

    def __init__(
        self,
        host: HostId,
        settings: OvsSettings,
        *,
        keeps: bool = False,
        astray: Callable[[], str] = str,
        patience: float = PATIENCE,
    ) -> None:
        self.host = host
        self.astray = astray
        self._settings = replace(settings, own_flows=False)
        self._appliance = Appliance(host, self._settings, plug_frame.closing, keeps=keeps, astray=astray)
        self._patience = patience
        self._openflow = OpenFlow(self._settings)

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        return TargetId("stock-ovs", self.host)

    def observe(self) -> NveMirror:
        """All plugs, and whether the bridge that they are on stands as it should."""
        snapshot = self._appliance.look()
        held: dict[NveKey, NveEntry] = {plug.key: plug for plug in self._held(snapshot)}
        return NveMirror(self.id, held, ready=self._stands(snapshot), warnings=_of_the_agent(snapshot))

    def findings(self) -> Sequence[OvsFinding]:
        """What is not as configured.  Changes nothing and needs no lock.  Raises Retry if the appliance is silent."""
        snapshot, settings = self._appliance.snapshot(), self._settings
        nics = interfaces_beside(settings.rundir) if settings.ovsdb.startswith("unix:") else None
        if nics is not None and settings.trunk not in nics:
            what = f"the appliance has no interface {settings.trunk}, which 'trunk' names"
            return [OvsFinding(what, "correct 'trunk', or give the appliance this NIC", is_problem=True)]
        try:
            steps = plug_frame.corrections(snapshot, settings)
        except Refused as fault:
            return [OvsFinding(str(fault), is_problem=True)]
        found = []
        if steps and BR_VDS in snapshot.bridges:
            found.append(OvsFinding(f"{BR_VDS} is not as it should be: apply puts it right"))
        for what in self._faults(snapshot) if not steps else ():
            found.append(OvsFinding(what, "see the log of ovs-vswitchd", is_problem=True))
        return [*found, *(OvsFinding(what, is_problem=True) for what in _of_the_agent(snapshot))]

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Build first, then take away, and then plug in, each in one transaction."""
        try:
            self._appliance.stay_closed_astray(closes=True)
        except (Retry, Refused) as fault:
            return [Result.failed(change, fault) for change in changes]
        results: dict[int, Result] = {}
        for act, kind in ((self._build, BuildNve), (self._forget, Forget), (self._learn, Learn)):
            asked = [change for change in changes if isinstance(change.action, kind)]
            try:
                made = act(asked) if asked else []
            except (Retry, Refused) as fault:
                made = [Result.failed(change, fault) for change in asked]
            results |= {result.change.id: result for result in made}
        return [results[change.id] for change in changes]

    def watch(self, wake: Wake) -> None:
        """Call `wake` for this host when the agent comes, goes or wires, or somebody alters bridges, until `close`."""
        self._appliance.watch(wake)

    def claim(self) -> None:
        """Become the writer of this appliance until `close`, as `apply` does.  Raises Refused if another process is."""
        self._appliance.claim()

    def close(self) -> None:
        """Let go of watch, connection and lock.  The plugs stay, and the agent goes on."""
        self._appliance.close()

    def _faults(self, snapshot: Snapshot) -> tuple[str, ...]:
        return plug_frame.faults(snapshot, self._settings)

    def _stands(self, snapshot: Snapshot) -> bool:
        try:
            return not plug_frame.corrections(snapshot, self._settings) and not self._faults(snapshot)
        except Refused:
            return False  # BuildNve says why

    def _build(self, changes: Sequence[Change]) -> list[Result]:
        self._appliance.claim()
        plug_frame.corrections(self._appliance.snapshot(), self._settings)  # nothing is tried where it would be refused
        self._try_replacement()
        self._appliance.commit(plug_frame.corrections(self._appliance.snapshot(), self._settings))
        if faults := self._faults(self._appliance.snapshot()):
            raise Retry("; ".join(faults))
        return [Result(change, Outcome.DONE) for change in changes]

    def _try_replacement(self) -> None:
        """Raise Retry, with everything as it was, if a trunk NIC that is to replace another cannot be had."""
        trial = plug_frame.trial(self._appliance.snapshot(), self._settings)
        if not trial:
            return
        self._appliance.commit(trial)
        trunk = self._settings.trunk
        state = self._appliance.snapshot().ports.get(trunk)
        if not plug_frame.works(state):
            self._appliance.commit([RemovePort(BR_VDS, trunk)])
            why = state.error if state is not None and state.error else "it has no port number"
            raise Retry(
                f"trunk interface {trunk}: {why}: the one before stays; give the appliance this NIC, or correct it"
            )

    def _forget(self, changes: Sequence[Change]) -> list[Result]:
        self._appliance.claim()
        gone = [plug.port for change in changes for plug in _plugs(change)]
        self._appliance.commit(list(plugs.forgetting(self._appliance.snapshot(), self._settings, gone)))
        return [Result(change, Outcome.DONE) for change in changes]

    def _learn(self, changes: Sequence[Change]) -> list[Result]:
        self._appliance.claim()
        snapshot = self._appliance.snapshot()
        if not self._stands(snapshot):
            raise Retry(f"{BR_VDS} of {self.host} is not built")
        results: dict[int, Result] = {}
        steps: list[Correction] = []
        taken: dict[int, PortId] = {}
        for change in changes:
            try:
                steps += self._steps(snapshot, _plugs(change), taken)
            except (Retry, Refused) as fault:
                results[change.id] = Result.failed(change, fault)
        self._appliance.commit(steps)
        told = [change for change in changes if change.id not in results]
        unwired = self._unwired({plug.port for change in told for plug in _plugs(change)})
        for change in told:
            waiting = [plug.port for plug in _plugs(change) if plug.port in unwired]
            results[change.id] = self._waits(change, waiting) if waiting else Result(change, Outcome.DONE)
        return [results[change.id] for change in changes]

    def _steps(self, snapshot: Snapshot, wanted: Sequence[Plug], taken: dict[int, PortId]) -> list[Correction]:
        """The steps of one change.  `taken`: the VIDs of those before it."""
        for plug in wanted:
            if taken.setdefault(int(plug.vid), plug.port) != plug.port:
                raise Retry(f"VID {int(plug.vid)} is being given to {taken[int(plug.vid)]}: it must leave it first")
        return [step for plug in wanted for step in plugs.learning(snapshot, self._settings, plug)]

    def _waits(self, change: Change, waiting: Sequence[PortId]) -> Result:
        snapshot = self._appliance.snapshot()
        if broken := next((why for port in waiting if (why := plugs.why_not_made(snapshot, port))), ""):
            return Result(change, Outcome.RETRY, broken)
        tagged = all(plugs.is_tagged(snapshot, port) for port in waiting)
        why = NOT_FILTERED if tagged else NOT_WIRED
        return Result(change, Outcome.RETRY, why if plugs.agent_is_there(snapshot) else AGENT_AWAY)

    def _held(self, snapshot: Snapshot) -> list[Plug]:
        """The plugs.  Raises Retry if nobody can tell which of them are filtered."""
        if not any(True for _ in plugs.plugs_of(snapshot, self._settings)):
            return []
        flows = self._openflow.dump(Bridge.INT, f"table={plugs.FILTERED}")
        return list(plugs.plugs_of(snapshot, self._settings, plugs.filtered(flows)))

    def _unwired(self, ports: set[PortId]) -> set[PortId]:
        """Which of these the agent has not wired, when it was given a moment for it."""
        deadline = time.monotonic() + self._patience
        while True:
            snapshot = self._appliance.snapshot()
            wired = {plug.port for plug in self._held(snapshot) if plug.wired}
            if ports <= wired or not plugs.agent_is_there(snapshot) or time.monotonic() > deadline:
                return ports - wired
            time.sleep(0.1)


def _of_the_agent(snapshot: Snapshot) -> tuple[str, ...]:
    """What is amiss with it."""
    if not plugs.agent_is_there(snapshot):
        return (AGENT_AWAY,)
    return () if plugs.has_had_a_firewall(snapshot) else (NO_FIREWALL,)


def _plugs(change: Change) -> list[Plug]:
    entries: Sequence[NveEntry] = change.action.entries if isinstance(change.action, Learn | Forget) else ()
    for entry in entries:
        if not isinstance(entry, Plug):
            raise TypeError(f"an appliance with the stock agent holds no {type(entry).__name__}")
    return [entry for entry in entries if isinstance(entry, Plug)]
