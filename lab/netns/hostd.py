"""The ESXi hosts of the world: they read what vCenter holds and see to it that every wire obeys.

One loop, one thread.  A round reads, works out every switch on every host, and changes what differs; a failed read
changes nothing.  DV ports are read at short intervals (vCenter reports no change of them), all else when it changes.
"""

from __future__ import annotations

import http.client
import logging
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pyVmomi import vmodl

from lab.netns import control, frames
from lab.netns.announcements import Announced, Announcements, Watch
from lab.netns.inventory import Berth, BridgeId, Inventory, NicId, Place, ahead, plugged, uplinks, wiring
from lab.netns.moves import RARP_TIMES, Moves, arrivals
from lab.netns.switches import Said, Switches
from lab.netns.vcenter import Login, Reader
from lab.netns.wires import Wires

log = logging.getLogger(__name__)

POLL = 0.025
PAUSE_AFTER_FAULT = 0.5
FAULTS = (vmodl.MethodFault, OSError, EOFError, http.client.HTTPException)


@dataclass(slots=True)
class Stun:
    """When a VM was really off the wire in a migration, on the machine's monotonic clock."""

    vm: str
    source: str
    destination: str
    began: float
    ended: float | None = None


@dataclass(slots=True)
class Hostd:
    login: Login
    wires: Wires
    switches: Switches
    uplinks: Mapping[str, Mapping[str, int]]  # switch name -> host name -> number of its cable
    moves: Moves = field(default_factory=Moves)
    berths: Mapping[str, Berth] = field(default_factory=dict)
    inventory: Inventory = field(default_factory=Inventory)
    stuns: list[Stun] = field(default_factory=list)
    requests: queue.SimpleQueue[control.Request] = field(default_factory=queue.SimpleQueue)
    _asked: list[control.Request] = field(default_factory=list)
    """Waiting for the end of a round that began after them; one that fails leaves them waiting for the next."""
    _places: dict[str, Place] = field(default_factory=dict)
    _rarps: list[tuple[float, str]] = field(default_factory=list)
    _wake: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        watch = Watch(self.login, self._wake.set)
        watch.start()
        try:
            while not self._stop.is_set():
                try:
                    self._attend()
                except FAULTS as fault:
                    # What is wired stays as it is until vCenter can be read again.
                    log.warning("vCenter: %s: %s", type(fault).__name__, getattr(fault, "msg", fault))
                    self._stop.wait(PAUSE_AFTER_FAULT)
        finally:
            watch.stop()

    def _attend(self) -> None:
        """Rounds over one pair of sessions, until one of them fails."""
        reader, events = Reader(self.login), Announcements(self.login)
        try:
            self._wake.set()
            while not self._stop.is_set():
                self._take_requests()
                self._announced(events.read())
                if self._wake.is_set() or self._asked:
                    self._wake.clear()
                    self.inventory = reader.inventory()
                elif reader.ports_changed():
                    self.inventory = replace(self.inventory, ports=reader.ports())
                self._act()
                while self._asked:
                    self._asked.pop().answer(control.picture(self))
                self._rest()
        finally:
            reader.close()
            events.close()

    def _take_requests(self) -> None:
        while not self.requests.empty():
            request = self.requests.get()
            if request.timing is not None:
                self.moves.timing = request.timing
            if request.berths is not None:
                self.berths = request.berths
            self._asked.append(request)

    def _announced(self, told: list[Announced]) -> None:
        for said in told:
            if said.destination is None:
                self.moves.cancel(said.vm)
            else:
                self.moves.announce(said.vm, said.source, said.destination, time.monotonic())

    def _act(self) -> None:
        """Make the wire as it should be now."""
        now = time.monotonic()
        places = self.moves.places(self.inventory, now)
        inventory = ahead(self.inventory, places, self.berths)
        self._stuns_begin(places, now)
        self.switches.make_bridges(inventory)
        self._clear_away(inventory, places)
        self.wires.make(inventory)
        for vm in arrivals(self._places, places):
            self._rarps += [(now + delay, vm) for delay in RARP_TIMES]
        self._apply(inventory, places, self._due_rarps(inventory, places, now))
        self._stuns_end(inventory, places)
        self._places = places

    def _clear_away(self, inventory: Inventory, places: Mapping[str, Place]) -> None:
        """Cables and machines nobody wants any more; first they leave the switch."""
        outdated = self.wires.outdated(inventory)
        if outdated:
            # A NIC that got another MAC keeps its identity: it goes here and comes back with the next cable.
            # One that has come meanwhile has no cable yet.
            new = {nic.id for nic in plugged(inventory)} - self.wires.cables.keys()
            self._apply(_without(inventory, new | {cable.nic for cable in outdated}), places)
            self.wires.remove(outdated)
        self.wires.remove_machines(inventory)

    def _apply(
        self, inventory: Inventory, places: Mapping[str, Place], said: Mapping[BridgeId, list[Said]] | None = None
    ) -> None:
        wanted = wiring(inventory, places, self._numbers(), uplinks(self.inventory, self.uplinks))
        self.switches.apply(wanted, said or {})

    def _numbers(self) -> dict[NicId, int]:
        return {cable.nic: cable.number for cable in self.wires.cables.values()}

    def _stuns_begin(self, places: Mapping[str, Place], now: float) -> None:
        for vm, place in places.items():
            move, before = self.moves.under_way.get(vm), self._places.get(vm, place)
            if move is not None and place.stunned and not before.stunned:
                self.stuns.append(Stun(vm, move.source, move.destination, now))
            elif not place.stunned and not before.stunned and place.host != before.host:
                # The whole of it passed between two rounds, on a machine that is busy with other things.
                self.stuns.append(Stun(vm, before.host, place.host, now))

    def _stuns_end(self, inventory: Inventory, places: Mapping[str, Place]) -> None:
        for stun in self.stuns:
            if stun.ended is None and (stun.vm not in places or not places[stun.vm].stunned):
                stun.ended = self._resumed_at(inventory, stun)

    def _resumed_at(self, inventory: Inventory, stun: Stun) -> float:
        """When the last switch that had to know was told."""
        vm = inventory.vms.get(stun.vm)
        hosts = (stun.source, stun.destination)
        bridges = [(host, nic.switch) for host in hosts for nic in vm.nics] if vm is not None else []
        times = [self.switches.programmed_at[bridge] for bridge in bridges if bridge in self.switches.programmed_at]
        return max(times, default=time.monotonic())

    def _due_rarps(self, inventory: Inventory, places: Mapping[str, Place], now: float) -> dict[BridgeId, list[Said]]:
        due = {vm for when, vm in self._rarps if when <= now}
        self._rarps = [(when, vm) for when, vm in self._rarps if when > now]
        said: dict[BridgeId, list[Said]] = {}
        for nic in plugged(inventory):
            place = places[nic.id.vm]
            if nic.id.vm in due and not place.stunned:
                number = self.wires.cables[nic.id].number
                said.setdefault((place.host, nic.switch), []).append((number, frames.rarp(nic.mac).to_bytes()))
        return said

    def _rest(self) -> None:
        now = time.monotonic()
        times = [now + POLL, *(when for when, _ in self._rarps)]
        changes_at = self.moves.next_time(now)
        if changes_at is not None:
            times.append(changes_at)
        if self.requests.empty() and not self._wake.is_set():
            self._stop.wait(max(0.0, min(times) - now))


def _without(inventory: Inventory, nics: set[NicId]) -> Inventory:
    vms = {
        id: replace(vm, nics=tuple(nic for nic in vm.nics if nic.id not in nics)) for id, vm in inventory.vms.items()
    }
    return replace(inventory, vms=vms)
