"""DV ports: read by criteria, all or by key, and written in one batch.

Law: a port is written only for the NIC and the state that the plan saw: it is read before anything opens, and vCenter
compares its version.  What is reported done vCenter confirmed, and the next look reads it; after any fault it is read
back at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, TypeAlias

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import meaning, said
from isthmus.adapters.vcenter.fetched import FETCH_DV_PORTS, FetchedPort, each_dv_port
from isthmus.adapters.vcenter.seen import SeenPorts
from isthmus.adapters.vcenter.session import Session
from isthmus.adapters.vcenter.tasks import Tasks
from isthmus.model.change import Change, Gate, Outcome, Result, SetDvPort
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.observed import Access, DvPortState

VmwareSwitch = vim.dvs.VmwareDistributedVirtualSwitch
Write: TypeAlias = tuple[Change, SetDvPort]
Decode = Callable[[FetchedPort], DvPortState]
Known = Callable[[FetchedPort], bool]
ATTEMPTS = 3  # at a port that others keep changing at the same moment


class DvPorts:
    """Reads and writes the DV ports of one distributed switch.

    `decode` puts a port in our words; `known` tells whether it can now, or only when the inventory has caught up.
    """

    def __init__(self, session: Session, tasks: Tasks, dvs: Any, decode: Decode, known: Known) -> None:
        self._session, self._tasks, self._dvs, self._decode, self._known = session, tasks, dvs, decode, known
        self._written: dict[str, DvPortState] = {}  # what we left behind, under the version that the plan knew
        self._before: dict[str, tuple[SetDvPort, DvPortState]] = {}  # confirmed writes, and their ports until then
        self.seen = SeenPorts()

    def read_all(self, ready: Callable[[], object]) -> None:
        """See all ports that are connected or override something; once `ready`, all of them can be put in our words.

        Free ports are read too, since no criterion asks for overrides; static groups keep few of them.
        """
        begun = self.seen.begin()
        ports, later, there = self._session.call(lambda _: self._taken_in())
        ready()
        self.seen.all(begun, ports | {port.key: self._decode(port) for port in later})
        self._written = {key: left for key, left in list(self._written.items()) if key in there}
        self._before = {key: before for key, before in list(self._before.items()) if key in there}

    def _taken_in(self) -> tuple[dict[str, DvPortState], list[FetchedPort], set[str]]:
        """All ports that matter, those among them that must wait, and which of those we wrote to exist.

        As they arrive: kept aside until all are there, they leave half of the memory they took full of holes.
        """
        ports: dict[str, DvPortState] = {}
        later: list[FetchedPort] = []
        there: set[str] = set()
        ours = self._written.keys() | self._before.keys()

        def take(port: FetchedPort) -> None:
            if port.key in ours:
                there.add(port.key)
            if not _matters(port):
                return
            if self._known(port):
                state = self._decode(port)
                ports[state.key] = state
            else:
                later.append(port)

        each_dv_port(self._dvs, vim.dvs.PortCriteria(nsxPort=False), take)
        return ports, later, there

    def read(self, keys: Iterable[str], ready: Callable[[], object] = lambda: None) -> dict[str, DvPortState]:
        """See the ports with these keys, and return them as far as they exist."""
        asked = list(keys)
        begun = self.seen.begin()
        fetched = self._fetched(vim.dvs.PortCriteria(portKey=asked))
        ready()
        ports = {port.key: self._decode(port) for port in fetched}
        self.seen.some(begun, asked, {port.key: ports[port.key] for port in fetched if _matters(port)})
        return ports

    def _fetched(self, criteria: Any) -> list[FetchedPort]:
        return self._session.call(lambda _: FETCH_DV_PORTS.ask(self._dvs, criteria))

    def write(self, writes: Sequence[Write], seen: Mapping[str, DvPortState]) -> list[Result]:
        """Write these ports in one task; `seen` is what the plan was made on."""
        results: list[Result] = []
        waiting = list(writes)
        for attempt in range(ATTEMPTS):
            now = self._as_planned(waiting, seen) if attempt == 0 else {}
            now = now or self.read(action.key for _, action in waiting)
            waiting, judged = self._still_right(waiting, now, seen, again=attempt > 0)
            results += judged
            if not waiting:
                return results
            fault = self._reconfigure(waiting, now)
            if fault is None:
                return results + self._confirmed(waiting, now)
            if not isinstance(fault, vim.fault.ConcurrentAccess):
                break
        if len(waiting) > 1 and _refuses_the_whole(fault):
            half = len(waiting) // 2
            return results + self.write(waiting[:half], seen) + self.write(waiting[half:], seen)
        return results + self._read_back(waiting, fault)

    def _as_planned(self, writes: Sequence[Write], seen: Mapping[str, DvPortState]) -> Mapping[str, DvPortState]:
        """The ports as the plan saw them, if that will do: they come or stay closed, by a first write of ours."""
        known = {action.key: seen[action.key] for _, action in writes if action.key in seen}
        doubtful = self.seen.doubtful
        return known if all(_opens_nothing(action, known.get(action.key), doubtful) for _, action in writes) else {}

    def _reconfigure(self, writes: Sequence[Write], now: Mapping[str, DvPortState]) -> BaseException | None:
        host = writes[0][1].host
        specs = [written_spec(action, now[action.key].version) for _, action in writes]
        try:
            what = f"write {len(specs)} DV ports"
            self._tasks.run(lambda _: self._dvs.ReconfigureDVPort_Task(specs), what, host, self._dvs)
        except (vmodl.MethodFault, Retry) as fault:
            expected = meaning(fault, "DV ports")
            if isinstance(expected, Refused):
                raise expected from fault
            return fault
        finally:  # however it ended, it may have been carried out
            self.seen.doubt(action.key for _, action in writes)
        return None

    def _confirmed(self, writes: Sequence[Write], before: Mapping[str, DvPortState]) -> list[Result]:
        for _, action in writes:
            self._written[action.key] = _left_behind(action, before[action.key])
            self._before[action.key] = action, before[action.key]
        return [Result(change, Outcome.DONE) for change, _ in writes]

    def _read_back(self, writes: Sequence[Write], fault: BaseException | None) -> list[Result]:
        now = self.read(action.key for _, action in writes)
        results = [_judged(change, action, now.get(action.key), fault) for change, action in writes]
        for result, (_, action) in zip(results, writes, strict=True):
            if result.outcome is Outcome.DONE:
                self._written[action.key] = replace(now[action.key], version=action.version)
        return results

    def _still_right(
        self, writes: Sequence[Write], now: Mapping[str, DvPortState], seen: Mapping[str, DvPortState], *, again: bool
    ) -> tuple[list[Write], list[Result]]:
        """Part the writes that may go out from those whose port is not as the plan saw it."""
        right: list[Write] = []
        judged: list[Result] = []
        for change, action in writes:
            port = now.get(action.key)
            if port is None:
                judged.append(Result(change, Outcome.RETRY, f"port {action.key} is gone"))
            elif port.cookie != (action.cookie or None):
                judged.append(Result(change, Outcome.RETRY, f"port {action.key} was taken over by another NIC"))
            elif again and holds(port, action):
                judged.append(Result(change, Outcome.DONE))
            elif self._before.pop(action.key, None) == (action, port):
                text = f"port {action.key} holds {state(port)} after a write that vCenter called a success"
                judged.append(Result(change, Outcome.RETRY, text))
            elif port.version == action.version or any(
                # Only what is not ours (a name, a shaping policy) changed since, or it was we who changed it.
                _same(port, known.get(action.key), action.version)
                for known in (seen, self._written)
            ):
                right.append((change, action))
            else:
                text = f"port {action.key} changed since it was read: it holds {state(port)}"
                judged.append(Result(change, Outcome.RETRY, text))
        return right, judged


def _opens_nothing(action: SetDvPort, port: DvPortState | None, doubtful: Set[str]) -> bool:
    known = port is not None and port.version == action.version and action.key not in doubtful
    return action.gate is not Gate.OPEN and known


def _left_behind(action: SetDvPort, port: DvPortState) -> DvPortState:
    """The port after a write, as far as it is ours, under the version that the plan knew."""
    if action.gate is Gate.BARE:
        return replace(port, version=action.version, vlan_own=False, blocked_own=False)
    vlan = port.vlan if action.vid is None else Access(action.vid)
    return replace(
        port,
        version=action.version,
        vlan=vlan,
        vlan_own=action.vid is not None,
        blocked=action.gate is not Gate.OPEN,
        blocked_own=True,
    )


def _matters(port: FetchedPort) -> bool:
    return port.connected or port.vlan_own or port.blocked_own


def _same(port: DvPortState, known: DvPortState | None, version: str) -> bool:
    return known is not None and known.version == version and _ours(port) == _ours(known)


def _ours(port: DvPortState) -> tuple[object, ...]:
    return port.cookie, port.vlan, port.blocked, port.vlan_own, port.blocked_own


def _refuses_the_whole(fault: BaseException | None) -> bool:
    """One bad port made vCenter refuse the batch; a bulk fault is by host, and the other hosts' ports are written."""
    return isinstance(fault, vmodl.MethodFault) and not isinstance(
        fault, vim.fault.ConcurrentAccess | vim.fault.DvsOperationBulkFault
    )


def _judged(change: Change, action: SetDvPort, port: DvPortState | None, fault: BaseException | None) -> Result:
    if port is not None and holds(port, action) and port.cookie == (action.cookie or None):
        return Result(change, Outcome.DONE)
    now = "is gone" if port is None else f"holds {state(port)}"
    because = f": {said(fault)}" if fault is not None else ""
    outcome = Outcome.UNREACHABLE if isinstance(fault, Unreachable) else Outcome.RETRY
    return Result(change, outcome, f"port {action.key} {now}{because}")


def state(port: DvPortState) -> str:
    """What a port wears and whether it is closed, for people."""
    return f"{port.vlan}, {'closed' if port.blocked else 'open'}"


def holds(port: DvPortState, action: SetDvPort) -> bool:
    """Whether the port is as the write wants it."""
    if action.gate is Gate.BARE:
        return not port.vlan_own and not port.blocked_own
    tagged = port.vlan == Access(action.vid) if action.vid is not None else not port.vlan_own
    return tagged and port.blocked is (action.gate is not Gate.OPEN)


def written_spec(action: SetDvPort, version: str) -> Any:
    """The edit of one port.  vSphere API: configVersion is the port's own, not the switch's."""
    setting = VmwareSwitch.VmwarePortConfigPolicy()
    if action.gate is Gate.BARE:
        setting.vlan = VmwareSwitch.VlanIdSpec(inherited=True, vlanId=0)
        setting.blocked = vim.BoolPolicy(inherited=True)
    else:
        setting.blocked = vim.BoolPolicy(inherited=False, value=action.gate is not Gate.OPEN)
        if action.vid is not None:
            setting.vlan = VmwareSwitch.VlanIdSpec(inherited=False, vlanId=int(action.vid))
        else:
            setting.vlan = VmwareSwitch.VlanIdSpec(inherited=True, vlanId=0)
    return vim.dvs.DistributedVirtualPort.ConfigSpec(
        operation="edit", key=action.key, configVersion=version, setting=setting
    )
