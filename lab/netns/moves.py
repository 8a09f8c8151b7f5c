"""Migrations as the wire sees them: pre-copy on the source, a stun, and the VM goes on at its destination.

    announced          stun begins            resumes             vCenter says so
        |--- pre-copy ------|------ stun ---------|--- lag -------------|
     on the source      on the source,      on the destination,   VmMigrated, runtime.host
                        deaf and mute       RARPs go out

Law: a VM is at one host at a time; without an announcement, or when it is overtaken by vCenter, vCenter's word counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.netns.inventory import Inventory, Place

# ESXi repeats the RARP after a vMotion some times within about a second; the exact times are the lab's choice.
RARP_TIMES = (0.0, 0.1, 0.4, 1.0)
# A move that vCenter has not confirmed by then has failed without telling us.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds.  The simulator's migration has to last precopy + stun + lag for the picture above to be true.

    A real pre-copy lasts two seconds and more; ours leaves a controller on a busy machine the time a real one has.
    """

    precopy: float = 1.5
    stun: float = 0.1


@dataclass(frozen=True, slots=True)
class Move:
    vm: str
    source: str
    destination: str
    stun_from: float
    resume_at: float
    started: float


@dataclass(slots=True)
class Moves:
    timing: Timing = field(default_factory=Timing)
    under_way: dict[str, Move] = field(default_factory=dict)
    _seen_at: dict[str, str] = field(default_factory=dict)

    def announce(self, vm: str, source: str, destination: str, now: float) -> None:
        stun_from = now + self.timing.precopy
        move = Move(vm, source, destination, stun_from, stun_from + self.timing.stun, now)
        self.under_way[vm] = move

    def cancel(self, vm: str) -> None:
        self.under_way.pop(vm, None)

    def places(self, inventory: Inventory, now: float) -> dict[str, Place]:
        """Where each VM is at this moment."""
        self._follow_vcenter(inventory, now)
        return {vm.id: self._place(vm.id, vm.host, now) for vm in inventory.vms.values()}

    def next_time(self, now: float) -> float | None:
        """When the picture changes next by itself."""
        times = (time for move in self.under_way.values() for time in (move.stun_from, move.resume_at))
        return min((time for time in times if time > now), default=None)

    def _place(self, vm: str, host: str, now: float) -> Place:
        move = self.under_way.get(vm)
        if move is None:
            return Place(host)
        if now < move.stun_from:
            return Place(move.source)
        return Place(move.source, move.destination) if now < move.resume_at else Place(move.destination)

    def _follow_vcenter(self, inventory: Inventory, now: float) -> None:
        for vm in inventory.vms.values():
            before = self._seen_at.get(vm.id, vm.host)
            move = self.under_way.get(vm.id)
            if vm.powered_on and vm.host != before:
                self._confirmed(vm.id, before, vm.host, now)
            elif move is not None and (not vm.powered_on or _is_over(move, vm.host, now)):
                self.cancel(vm.id)
        self._seen_at = {vm.id: vm.host for vm in inventory.vms.values()}
        for vm_id in self.under_way.keys() - inventory.vms.keys():
            self.cancel(vm_id)

    def _confirmed(self, vm: str, before: str, host: str, now: float) -> None:
        """vCenter has the VM on another host.  If its move is not that far yet, the stun comes now."""
        move = self.under_way.get(vm)
        if move is not None and move.destination == host:
            if now < move.stun_from:
                resume_at = now + (move.resume_at - move.stun_from)
                self.under_way[vm] = Move(vm, move.source, host, now, resume_at, move.started)
        else:
            self.under_way[vm] = Move(vm, before, host, now, now + self.timing.stun, now)


def _is_over(move: Move, host: str, now: float) -> bool:
    confirmed = now >= move.resume_at and host == move.destination
    return confirmed or now > move.started + PATIENCE


def arrivals(before: Mapping[str, Place], after: Mapping[str, Place]) -> list[str]:
    """The VMs that have just gone on elsewhere, and whose new place the network has to learn."""
    return [vm for vm, place in after.items() if not place.stunned and vm in before and before[vm].host != place.host]
