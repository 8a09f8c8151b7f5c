"""What one vRouter agent was told by this process, and so what it may hold: an agent can be asked for no list.

Law: an agent takes no notice of what is new about a port that it has, so a port of which is not certain what the agent
has is unplugged before it is plugged; and none counts as let go of before the agent has confirmed that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf

from isthmus.adapters.contrail.agent import AgentPort, NotPlugged, VrouterAgent
from isthmus.adapters.contrail.notes import vmi_uuid
from isthmus.model.faults import Refused, Retry
from isthmus.model.names import PortId
from isthmus.model.nve import Plug

LOOKS_EVERY = 30.0
"""Seconds between two looks at whether the agent still has what it was told."""
DROPPED_WITHIN = 90.0
"""Seconds after a `sync` by which an agent has dropped what it was not told since: it does after 60, as delivered."""
NO_VLANS = "uses no VLANs: set HYPERVISOR.type = vmware in its configuration"


@dataclass(slots=True)
class _Port:
    """A port that the agent may hold."""

    plug: Plug
    addresses: tuple[str, ...]
    enabled: bool | None = None
    """The state of its link; None: it has the one that it had."""
    certain: bool = False
    """The agent confirmed that it has it so."""

    def is_of(self, plug: Plug, addresses: tuple[str, ...]) -> bool:
        """But for its link."""
        return (self.plug.vid, self.plug.mac, self.addresses) == (plug.vid, plug.mac, addresses)


class Told:
    """For one thread at a time.  All that speaks to the agent raises Retry or Refused."""

    def __init__(self, agent: VrouterAgent, clock: Callable[[], float]) -> None:
        self._agent, self._clock = agent, clock
        self._ports: dict[PortId, _Port] = {}
        self._synced_at: float | None = None
        self._looked_at = clock()
        self.trouble = ""
        """What was amiss with the agent when it was looked at last."""

    def forget(self) -> None:
        """Begin as a new process does: another may have told the agent other things meanwhile."""
        self._ports.clear()
        self._synced_at = None

    def plugs(self) -> Iterator[Plug]:
        """All that the agent may hold."""
        return (told.plug for told in self._ports.values())

    def of(self, port: PortId) -> Plug | None:
        """What the agent may hold of a port, as far as this process knows."""
        told = self._ports.get(port)
        return told.plug if told is not None else None

    def confirmed(self, plug: Plug, addresses: tuple[str, ...]) -> Plug | None:
        """What the agent confirmed of a plug, whatever its link; None: it did not, or of another one."""
        told = self._ports.get(plug.port)
        so = told is not None and told.certain and told.enabled is not None and told.is_of(plug, addresses)
        return told.plug if so and told is not None else None

    def plug(self, plug: Plug, wanted: AgentPort, addresses: tuple[str, ...]) -> None:
        """Have the agent hold it so, whatever it holds of that port."""
        told = self._ports.get(plug.port)
        if told is not None and told.certain and told.is_of(plug, addresses) and self._has_link(told, plug.enabled):
            told.plug = plug
            return
        if told is not None or not self._has_dropped_the_rest():
            self.unplug(plug.port)
        told = self._ports[plug.port] = _Port(plug, addresses)
        with self._telling():
            self._agent.plug(wanted)
        told.enabled, told.certain = plug.enabled, True

    def unplug(self, port: PortId) -> None:
        """Have the agent let go of it, if it holds it."""
        if (told := self._ports.get(port)) is not None:
            told.certain = False
        with self._telling():
            self._agent.unplug(_uuid(port))
        self._ports.pop(port, None)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """An agent that did not answer may come back without its ports: it is looked at as soon as it does."""
        try:
            yield
        except Retry:
            self._looked_at = -inf
            raise

    @property
    def is_synced(self) -> bool:
        """What was noted was said again, and the agent drops what it holds beside."""
        return self._synced_at is not None

    def say_again(self, noted: Iterable[tuple[Plug, AgentPort, tuple[str, ...]]]) -> None:
        """The first word of a process: all that the agent is to go on holding; the rest it drops by itself.

        A port that it has stays as it is, link and all.  One that it lost comes with its link down, for it may be the
        destination of a move: who wants it up says so.
        """
        self._agent.sync()
        silent: Retry | None = None
        has_answered = False
        for plug, wanted, addresses in noted:
            told = self._ports.setdefault(plug.port, _Port(plug, addresses))
            try:
                self._agent.plug(replace(wanted, enabled=False))
            except Refused:  # it is not held; who wants it is told why
                self._ports.pop(plug.port)
            except Retry as fault:  # of one port it is that port's trouble, and without a word the others are dropped
                if silent is not None:
                    raise
                silent = fault
                continue
            else:
                told.certain = True
            silent, has_answered = None, True
        if silent is not None and not has_answered:
            raise silent
        self._synced_at = self._clock()

    def look(self) -> None:
        """Now and then: what the agent lost, or has otherwise than it was told, is no longer certain."""
        if self._clock() - self._looked_at < LOOKS_EVERY:
            return
        self._looked_at, self.trouble = self._clock(), ""
        is_silent = False
        for told in self._ports.values():
            if not told.certain:
                continue
            try:
                self._check(told)
            except (Retry, Refused) as fault:
                self.trouble = str(fault)
                if is_silent:
                    return
                is_silent = True
            else:
                is_silent = False

    def _check(self, told: _Port) -> None:
        found = self._agent.held(_uuid(told.plug.port))
        if found is None:  # lost, or not configured yet, or without an address: only its link tells these apart
            told.certain = told.enabled is None or self._has_link(told, told.enabled, even_if_told=True)
        elif found.vid is None:
            self.trouble = f"{self._agent.place} {NO_VLANS}"
        else:
            told.certain = (found.vid, found.mac) == (told.plug.vid, told.plug.mac)

    def _has_link(self, told: _Port, enabled: bool, *, even_if_told: bool = False) -> bool:
        """Bring its link up, or down; False if the agent has no such port of an ESXi host."""
        if told.enabled == enabled and not even_if_told:
            return True
        told.enabled = None
        try:
            (self._agent.enable if enabled else self._agent.disable)(_uuid(told.plug.port))
        except NotPlugged:
            return False
        told.enabled = enabled
        return True

    def _has_dropped_the_rest(self) -> bool:
        return self._synced_at is not None and self._clock() - self._synced_at >= DROPPED_WITHIN


def _uuid(port: PortId) -> PortId:
    return PortId(vmi_uuid(port))
