"""One ESXi host's vRouter agent, and what is kept from that host on the api-server, as a Target.

Law: what the agent may hold is noted before it is told, and that is taken back after it confirmed that it let go.  So
what is held is what is noted, and what this process told (told.py), though its note went with a VMI; what was noted by
another process is said again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from isthmus.adapters.contrail.agent import AgentPort, VrouterAgent
from isthmus.adapters.contrail.notes import Record, vmi_uuid
from isthmus.adapters.contrail.objects import Objects
from isthmus.adapters.contrail.told import Told
from isthmus.model.change import BuildNve, Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.names import HostId, PortId
from isthmus.model.nve import NveEntry, NveKey, Plug, Workload
from isthmus.model.observed import NveMirror, TargetId

ADDRESS_AGAIN = 60.0
"""Seconds until a port that got no address, or not the one that its guest uses, is tried again."""


class VrouterTarget:
    """Written by one thread at a time."""

    def __init__(
        self,
        host: HostId,
        agent: VrouterAgent,
        objects: Objects,
        clock: Callable[[], float],
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_write` is asked before each change: a batch may take longer than this process leads."""
        self.host, self._may_write = host, may_write
        self._agent, self._objects, self._clock = agent, objects, clock
        self._told = Told(agent, clock)
        self._asked: dict[PortId, float] = {}
        """When an address was asked for last, of the ports without one."""
        self._forgets = False

    def forget(self) -> None:
        """Look and write from now on as a new process does.  Any thread may say it."""
        self._forgets = True

    def _as_new(self) -> None:
        if self._forgets:
            self._forgets = False
            self._told.forget()

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        return TargetId("vrouter", self.host)

    def observe(self) -> NveMirror:
        """All that is noted for this host, or held though its note is gone.  Raises Retry if that cannot be read."""
        self._as_new()
        self._told.look()
        entries: dict[NveKey, NveEntry] = {plug.key: replace(plug, wired=False) for plug in self._told.plugs()}
        for record in self._objects.records.read().values():
            if (workload := record.workload) is not None and record.home == self.host and not self._is_due(record):
                entries[workload.key] = workload
            if (noted := record.plugs.get(self.host)) is not None:
                entries[noted.key] = self._told.confirmed(noted, record.addresses) or replace(noted, wired=False)
        troubles = [self._told.trouble] if self._told.trouble else []
        return NveMirror(self.id, entries, warnings=(*troubles, *self._lacks(entries)))

    def findings(self) -> Sequence[str]:
        """What is amiss that `check` should name.  Raises Retry or Refused if the agent, or the api-server, is."""
        self._agent.held(PortId(vmi_uuid(PortId("isthmus check"))))
        return self.observe().warnings

    def close(self) -> None:
        """Hang up; the plugs stay."""
        self._agent.close()

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """What is given up first, for its VID may be another's by then; then what is new."""
        self._as_new()
        with suppress(Retry, Refused):  # it comes again, and nobody waits for it
            self._objects.sweep_now_and_then(self._clock())
        results: dict[int, Result] = {}
        for kind in (BuildNve, Forget, Learn):
            for change in changes:
                if isinstance(change.action, kind):
                    results[change.id] = self._result(change)
        return [results[change.id] for change in changes]

    def _result(self, change: Change) -> Result:
        if self._forgets or not self._may_write():  # it led again meanwhile, and knows no more what is there
            return Result(change, Outcome.RETRY, "this process does not lead any more")
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
                self._leave_other(plugs.get(entry.port))
                self._objects.keep(entry, self.host, plugs.get(entry.port))
        for plug in plugs.values():
            self._leave_other(plug)
            record = self._objects.note_plug(self.host, plug)
            self._unplug_elders(plug.port)
            self._told.plug(plug, self._agent_port(plug, record), record.addresses)

    def _leave_other(self, plug: Plug | None) -> None:
        """What the agent has with another VID or MAC it lets go of before the note of that is replaced."""
        if plug is None:
            return
        record = self._objects.records.of(vmi_uuid(plug.port))
        noted = record.plugs.get(self.host) if record is not None else None
        held = [other for other in (noted, self._told.of(plug.port)) if other is not None]
        if any((other.vid, other.mac) != (plug.vid, plug.mac) for other in held):
            self._told.unplug(plug.port)

    def _unplug_elders(self, port: PortId) -> None:
        """Those under which the agent has it from an older program."""
        for elder in self._objects.elders.followed.get(port, ()):
            self._agent.unplug(PortId(elder))
        self._objects.elders.followed.pop(port, None)

    def _forget(self, entries: Sequence[NveEntry]) -> None:
        for entry in entries:
            if isinstance(entry, Plug):
                self._told.unplug(entry.port)
                self._objects.forget_plug(self.host, entry)
        for entry in entries:
            if isinstance(entry, Workload):
                self._objects.give_up(entry, self.host)

    def _say_again(self) -> None:
        """Before the first word of this process: what the agent holds beyond what is noted it drops by itself.

        Put off while what to say of a port is not known, for that the agent would drop.
        """
        if self._told.is_synced:
            return
        noted = []
        for record in self._objects.records.read().values():
            if (plug := record.plugs.get(self.host)) is not None:
                try:
                    noted.append((plug, self._agent_port(plug, record), record.addresses))
                except Refused:  # then it is not said, and who wants it is told why
                    continue
                except Unreachable:
                    raise
                except Retry:
                    return
        self._told.say_again(noted)

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
        """It has not the address that it should, and it is time to ask again: then it is as if it were missing."""
        workload = record.workload
        if workload is None or workload.address == "":
            return False
        if workload.address in record.addresses or (workload.address is None and record.addresses):
            return False
        return self._clock() - self._asked.get(workload.port, float("-inf")) >= ADDRESS_AGAIN

    def _lacks(self, entries: dict[NveKey, NveEntry]) -> list[str]:
        here = [entry for entry in entries.values() if isinstance(entry, Workload)]
        # Other hosts' threads write there.
        said = [(w, self._objects.addresses.lacks.get(w.port)) for w in here]
        said += [(w, self._objects.elders.stays.get(w.port)) for w in here]
        return [f"VM {w.vm_name}, MAC {w.mac}: {what}" for w, what in said if what is not None]
