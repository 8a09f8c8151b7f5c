"""One ESXi host's vRouter agent, and what is kept from that host on the api-server, as a Target.

Law: what the agent may hold is noted before it is told, and that is taken back after it confirmed that it let go.  An
agent can be asked for no list, so what is held is what is noted; what this process has not said itself, it says again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from isthmus.adapters.contrail.agent import AgentPort, VrouterAgent
from isthmus.adapters.contrail.notes import Record, vmi_uuid
from isthmus.adapters.contrail.objects import Objects
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import HostId, PortId
from isthmus.model.nve import NveEntry, NveKey, Plug, Workload
from isthmus.model.observed import NveMirror, TargetId

ADDRESS_AGAIN = 60.0
"""Seconds until a port that got no address is tried again."""
LOOKS_EVERY = 30.0
"""Seconds between two looks at whether the agent still has what it was told."""
NO_VLANS = "uses no VLANs: set HYPERVISOR.type = vmware in its configuration"


class VrouterTarget:
    """Written by one thread at a time."""

    def __init__(self, host: HostId, agent: VrouterAgent, objects: Objects, clock: Callable[[], float]) -> None:
        self.host = host
        self._agent, self._objects, self._clock = agent, objects, clock
        self._said: dict[PortId, tuple[Plug, tuple[str, ...]]] = {}
        """What the agent was told by this process and confirmed, with the addresses."""
        self._synced = False
        self._asked: dict[PortId, float] = {}
        """When an address was asked for last, of the ports without one."""
        self._seen: set[PortId] = set()
        """The ports that the agent showed when it was looked at last: one that it shows no more it has lost."""
        self._looked_at = clock()
        self._trouble = ""

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        return TargetId("vrouter", self.host)

    def observe(self) -> NveMirror:
        """All that is noted for this host, or held though its note is gone.  Raises Retry if that cannot be read."""
        self._look()
        entries: dict[NveKey, NveEntry] = {}
        for record in self._objects.records.read().values():
            if (workload := record.workload) is not None and record.home == self.host and not self._is_due(record):
                entries[workload.key] = workload
            if (noted := record.plugs.get(self.host)) is not None:
                entries[noted.key] = self._held(record, noted)
        entries.update((plug.key, plug) for plug in self._left_behind())
        troubles = [self._trouble] if self._trouble else []
        return NveMirror(self.id, entries, warnings=(*troubles, *self._lacks(entries)))

    def _look(self) -> None:
        """Now and then, at what the agent has.  One that lost a port may have lost all: it is told all of it again."""
        if self._clock() - self._looked_at < LOOKS_EVERY:
            return
        self._looked_at, self._trouble = self._clock(), ""
        try:
            held = {port: self._agent.held(PortId(vmi_uuid(port))) for port in self._said}
        except (Retry, Refused) as fault:
            self._trouble = str(fault)
            return
        shown = {port for port, found in held.items() if found is not None}
        if (self._seen & held.keys()) - shown:
            self._said.clear()
        for port, found in held.items():
            if found is not None and found.vid is None:
                self._trouble = f"{self._agent.place} {NO_VLANS}"
            elif found is not None and port in self._said and found.vid != self._said[port][0].vid:
                del self._said[port]
        self._seen = shown

    def findings(self) -> Sequence[str]:
        """What is amiss that `check` should name.  Raises Retry or Refused if the agent, or the api-server, is."""
        self._agent.held(PortId(vmi_uuid(PortId("isthmus check"))))
        return self.observe().warnings

    def close(self) -> None:
        """Hang up; the plugs stay."""
        self._agent.close()

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """What is given up first, for its VID may be another's by then; then what is new."""
        with suppress(Retry, Refused):  # it comes again, and nobody waits for it
            self._objects.sweep_now_and_then(self._clock())
        results: dict[int, Result] = {}
        for kind in (BuildNve, Forget, Learn):
            for change in changes:
                if isinstance(change.action, kind):
                    results[change.id] = self._result(change)
        return [results[change.id] for change in changes]

    def _result(self, change: Change) -> Result:
        try:
            match change.action:
                case Learn(entries):
                    self._learn(entries)
                case Forget(entries):
                    self._forget(entries)
        except (Retry, Refused) as fault:
            return Result.failed(change, fault)
        return Result(change, Outcome.DONE)

    def _learn(self, entries: Sequence[NveEntry]) -> None:
        self._say_again()
        plugs = {entry.port: entry for entry in entries if isinstance(entry, Plug)}
        for entry in entries:
            if isinstance(entry, Workload):
                self._asked[entry.port] = self._clock()
                self._leave_other_vid(plugs.get(entry.port))
                self._objects.keep(entry, self.host, plugs.get(entry.port))
        for plug in plugs.values():
            self._leave_other_vid(plug)
            self._plug(plug, self._objects.note_plug(self.host, plug))

    def _leave_other_vid(self, plug: Plug | None) -> None:
        """An agent that has a port already takes no other VID for it: it must let go of it first."""
        record = self._objects.records.of(vmi_uuid(plug.port)) if plug is not None else None
        noted = record.plugs.get(self.host) if record is not None else None
        if plug is not None and noted is not None and noted.vid != plug.vid:
            self._unplug(plug.port)

    def _plug(self, plug: Plug, record: Record) -> None:
        """Tell the agent what it does not know."""
        for elder in self._objects.elders.followed.get(plug.port, ()):  # under which it has it from an older program
            self._agent.unplug(PortId(elder))
        self._objects.elders.followed.pop(plug.port, None)
        wanted = self._agent_port(plug, record)
        if self._has_said(plug, record):
            said, _ = self._said.pop(plug.port)
            if said.enabled != plug.enabled:
                (self._agent.enable if plug.enabled else self._agent.disable)(wanted.port)
        else:
            if plug.port in self._said or plug.port in self._seen:  # it takes no notice of what is new about a port
                self._unplug(plug.port)
            self._agent.plug(wanted)
        self._said[plug.port] = plug, record.addresses

    def _unplug(self, port: PortId) -> None:
        self._agent.unplug(PortId(vmi_uuid(port)))
        self._said.pop(port, None)
        self._seen.discard(port)

    def _forget(self, entries: Sequence[NveEntry]) -> None:
        for entry in entries:
            if isinstance(entry, Plug):
                self._unplug(entry.port)
                self._objects.forget_plug(self.host, entry)
        for entry in entries:
            if isinstance(entry, Workload):
                self._objects.give_up(entry, self.host)

    def _say_again(self) -> None:
        """Before the first word of this process: what the agent holds beyond what is noted it drops by itself."""
        if self._synced:
            return
        noted = [record for record in self._objects.records.read().values() if self.host in record.plugs]
        self._agent.sync()
        for record in noted:
            at_rest = record.workload is None or record.home == self.host
            plug = replace(record.plugs[self.host], enabled=at_rest)
            with suppress(Refused):  # then it is not said, and who wants it is told why
                self._agent.plug(self._agent_port(plug, record))
                if at_rest:  # one that it has already keeps the state it had
                    self._agent.enable(PortId(record.uuid))
                self._said[plug.port] = plug, record.addresses
        self._synced = True

    def _held(self, record: Record, noted: Plug) -> Plug:
        """As it was said, if that is still what is noted; else as something the agent is not known to have."""
        return self._said[noted.port][0] if self._has_said(noted, record) else replace(noted, wired=False)

    def _left_behind(self) -> Iterator[Plug]:
        """What the agent was told and holds, of VMIs that another deleted: the note went with them, the VID did not."""
        for port, (plug, _) in self._said.items():
            if self._objects.records.of(vmi_uuid(port)) is None:
                yield replace(plug, wired=False)

    def _has_said(self, plug: Plug, record: Record) -> bool:
        """The agent was told of this plug, and with the addresses that it has now."""
        said, addresses = self._said.get(plug.port, (None, ()))
        return said is not None and (said.vid, said.mac, addresses) == (plug.vid, plug.mac, record.addresses)

    def _agent_port(self, plug: Plug, record: Record) -> AgentPort:
        """Raises Refused for a VM that has no uuid, say."""
        addresses = record.addresses or plug.addresses
        try:
            return AgentPort(
                port=PortId(record.uuid),
                vm=plug.nic.vm,
                network=plug.network,
                project=self._objects.project_of(plug.network),
                name=record.workload.vm_name if record.workload is not None else plug.nic.vm,
                mac=plug.mac,
                vid=plug.vid,
                address=next((address for address in addresses if ":" not in address), ""),
                address6=next((address for address in addresses if ":" in address), ""),
                enabled=plug.enabled,
            )
        except ValueError as wrong:
            raise Refused(f"port {plug.port} cannot be told to a vRouter agent: {wrong}") from wrong

    def _is_due(self, record: Record) -> bool:
        """It has no address, and it is time to ask for one again: then it is as if it were missing."""
        workload = record.workload
        if workload is None or workload.address == "" or record.addresses:
            return False
        return self._clock() - self._asked.get(workload.port, float("-inf")) >= ADDRESS_AGAIN

    def _lacks(self, entries: dict[NveKey, NveEntry]) -> list[str]:
        stays = self._objects.elders.stays
        here = [entry for entry in entries.values() if isinstance(entry, Workload)]
        lacks = self._objects.lacks
        return [
            *(f"VM {w.vm_name}, MAC {w.mac}: no address: {lacks[w.port]}" for w in here if w.port in lacks),
            *(f"VM {w.vm_name}, MAC {w.mac}: an older port of it: {stays[w.port]}" for w in here if w.port in stays),
        ]
