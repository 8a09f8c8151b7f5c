"""Why a NIC has its network, or has not: which side is behind, and with what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from isthmus.core.allocate import Allocation, allocate
from isthmus.core.attach import Attachment
from isthmus.core.claims import IN_CONFLICT, claims, held_port, wanted_group
from isthmus.core.design import Design
from isthmus.core.draft import Draft
from isthmus.core.plan_nves import NveDiff, compare
from isthmus.core.plan_ports import AWAITS_AGENT, PortPlan, Step, live_at, ports_of
from isthmus.core.plan_tagged_groups import compare_nve, live_groups
from isthmus.core.realize import realize
from isthmus.core.reconcile import settled
from isthmus.core.trunks import unheard
from isthmus.core.twins import twins
from isthmus.core.view import View, look, switch_target
from isthmus.core.worn import shared, unfit, unseen, worn
from isthmus.model.change import Unmet
from isthmus.model.names import HostId, NicId
from isthmus.model.nve import Plug
from isthmus.model.observed import Observed
from isthmus.model.place import HostPortGroup, PlaceKind
from isthmus.model.scope import NetworkSubject, PortSubject, Subject
from isthmus.model.shard import VidPool, World
from isthmus.model.tags import Vid


class Side(Enum):
    """Who is behind."""

    NOBODY = "nobody"
    VCENTER = "vCenter"
    NVE = "NVE"
    INTENT = "intent"
    INVENTORY = "inventory"


@dataclass(frozen=True, slots=True)
class PortReport:
    """One NIC in a network: where it is, what it wears, and what keeps it from its network.

    `why` is that, or what else is wrong with it though it is wired; empty: nothing.
    """

    nic: NicId
    attachment: Attachment
    host: HostId | None
    vid: Vid | None
    vtep: str | None
    peers: tuple[str, ...]
    """The VTEPs that have the network beside its own."""
    wired: bool
    behind: Side = Side.NOBODY
    why: str = ""


def explain(
    design: Design, world: World, observed: Observed, pool: VidPool, now: float
) -> tuple[tuple[PortReport, ...], tuple[Unmet, ...]]:
    """A report per NIC on the shard's hosts that belongs to a network, and the NICs that belong to none and why."""
    world, _ = settled(world, observed, now)
    view = look(design, world, observed, pool)
    allocation = allocate(claims(view), worn(view), view.pool, unseen(view), shared(view), unfit(view))
    reports = _dv_ports(view, allocation) if design.place is PlaceKind.DV_PORT else _tagged(view, allocation)
    same = twins(view)
    warned = (
        replace(report, why=same[report.nic]) if report.wired and report.nic in same else report for report in reports
    )
    return (*warned, *_left_out(view)), view.attachments.unmet


def _dv_ports(view: View, allocation: Allocation) -> Iterator[PortReport]:
    where = view.whereabouts()
    ports = list(ports_of(view, allocation))
    for host in sorted(view.shard.hosts):
        here = {p.attachment.nic.id: p for p in ports if p.host == host and p.attachment is not None}
        target = view.shard.nves.get(host)
        live = live_at(view, allocation, where, host, [p for p in ports if p.host == host])
        diff = compare(view, target, realize(view, where, host, live), Draft()) if target else None
        for attachment in view.attachments.by_host.get(host, ()):
            port = here.get(attachment.nic.id)
            side, why = _behind(view, attachment, port, diff, allocation)
            vid = port.worn if port is not None else None
            yield _report(view, attachment, host, vid, side, why)


def _left_out(view: View) -> Iterator[PortReport]:
    for attachment, reason in view.attachments.left_out:
        if (host := attachment.nic.host) in view.shard.hosts:
            yield _report(view, attachment, host, None, Side.INVENTORY, reason)


def _behind(
    view: View, attachment: Attachment, port: PortPlan | None, diff: NveDiff | None, allocation: Allocation
) -> tuple[Side, str]:
    nic = attachment.nic
    if nic.dvs is not None and switch_target(nic.dvs) in view.unknown:
        return Side.VCENTER, f"the switch could not be read: {view.unknown[switch_target(nic.dvs)]}"
    if not attachment.live:
        return _not_live(view, attachment)
    if attachment.presumed:
        return Side.VCENTER, f"port group {nic.port_group} carries no mark of ours any more: it is left as it is"
    if port is None:
        held = held_port(view, attachment)
        if held is not None and held.conflict:
            return Side.VCENTER, IN_CONFLICT
        if held is None:
            return Side.INVENTORY, "vCenter has not given it a DV port, or still names another holder"
        return Side.INVENTORY, "it is not on a switch that this shard serves"
    if diff is None:
        return Side.NVE, "no NVE is configured for its host"
    refused = [unmet.reason for unmet in allocation.unmet if unmet.about == str(attachment.place)]
    if refused:
        return Side.VCENTER, refused[0]
    return _step_behind(view, port, diff)


def _not_live(view: View, attachment: Attachment) -> tuple[Side, str]:
    """Why a NIC should carry no traffic, or that it still does."""
    nic = attachment.nic
    if not nic.powered_on:
        closed = ": its port is closed" if view.design.place is PlaceKind.DV_PORT else ""
        return Side.NOBODY, f"the VM is powered off{closed}"
    if not nic.connected:
        return Side.NOBODY, "the NIC is disconnected"
    state = held_port(view, attachment)
    if state is None or state.blocked:
        return Side.INTENT, "the port is administratively down"
    return Side.VCENTER, "the port is administratively down, and its DV port is to be closed"


def _step_behind(view: View, port: PortPlan, diff: NveDiff) -> tuple[Side, str]:
    if not diff.ready:
        reason = view.unknown.get(diff.target, "its bridges are being built")
        return (Side.NVE, f"{diff.target} is not ready: {reason}")
    match port.step:
        case Step.CLAIM:
            return Side.VCENTER, f"VID {port.wanted} is to be claimed on its DV port"
        case Step.OPEN if port.awaits_agent:
            return Side.NVE, AWAITS_AGENT
        case Step.OPEN | Step.RETAG:
            return Side.VCENTER, f"its DV port is to be opened with VID {port.wanted}"
        case Step.CLOSE:
            return Side.INTENT, port.refusal
        case Step.REST if port.state.blocked:
            return Side.VCENTER, f"VID {port.wanted} is claimed by another subject at the same time"
        case _ if _is_dead(view, port, diff):
            return Side.NVE, AWAITS_AGENT
        case _ if _lacks(diff, port.subject):
            return Side.NVE, f"{diff.target} lacks {_lacks(diff, port.subject)} entries of {port.subject}"
        case _ if port.worn is not None and (why := unheard(view, port.worn)):
            return Side.VCENTER, why
    return Side.NOBODY, ""


def _is_dead(view: View, port: PortPlan, diff: NveDiff) -> bool:
    """It is plugged in, and the plug lets nothing pass yet."""
    held = view.nves[diff.target].entries.get(port.subject.port) if isinstance(port.subject, PortSubject) else None
    return isinstance(held, Plug) and held.dead


def _lacks(diff: NveDiff, subject: Subject) -> int:
    return len(diff.missing.get(subject, ())) + len(diff.missing.get(None, ()))


def _tagged(view: View, allocation: Allocation) -> Iterator[PortReport]:
    where = view.whereabouts()
    live = live_groups(view, allocation)
    vids = {item.network.id: item.vid for item in live}
    diffs = {place: compare_nve(view, where, place, live, Draft()) for place in view.shard.nves}
    refused = {unmet.about: unmet.reason for unmet in allocation.unmet}
    for attachment in view.attachments.by_nic.values():
        host = attachment.nic.host
        if host is None or host not in view.shard.hosts:
            continue
        vid = vids.get(attachment.network.id)
        place = str(view.nve_of(host))
        diff = diffs.get(place)
        side, why = Side.NOBODY, ""
        if not attachment.live:
            side, why = _not_live(view, attachment)
        elif vid is None:
            side, why = Side.VCENTER, refused.get(_place(view, attachment), "its port group has no VID of its own yet")
        elif place not in view.shard.beyond and (lack := _lack(view, diff, attachment, vid)):
            side, why = Side.NVE, refused.get(_place(view, attachment), lack)
        yield _report(view, attachment, host, vid, side, why)


def _lack(view: View, diff: NveDiff | None, attachment: Attachment, vid: Vid) -> str:
    """What the NVE of a NIC has not of its network; empty if nothing."""
    subject: Subject = (
        PortSubject(attachment.port) if view.design.nve.knows_ports else NetworkSubject(attachment.network.vni)
    )
    if diff is None:
        return "no NVE is configured for its host"
    if not diff.ready:
        return f"{diff.target} is not ready: {view.unknown.get(diff.target, 'it is being built')}"
    if (vid, subject) not in diff.maps:
        return f"{diff.target} does not map VID {vid} to {subject} yet"
    if _lacks(diff, subject):
        return f"{diff.target} lacks {_lacks(diff, subject)} entries of {subject}"
    return ""


def _place(view: View, attachment: Attachment) -> str:
    nic = attachment.nic
    if nic.dvs is not None and nic.dvs in view.switches:
        return str(wanted_group(view, nic.dvs, attachment.network))
    scope = view.shard.scope
    switch = getattr(scope, "switch", "")
    return str(HostPortGroup(nic.host or HostId(""), switch, attachment.network.id))


def _report(
    view: View, attachment: Attachment, host: HostId | None, vid: Vid | None, side: Side, why: str
) -> PortReport:
    known = view.world.inventory.hosts.get(host) if host is not None else None
    vtep = known.vtep if known else None
    peers = {
        other.vtep
        for member in view.attachments.by_network.get(attachment.network.id, ())
        if member.live and member.nic.host and (other := view.world.inventory.hosts.get(member.nic.host)) and other.vtep
    } | {peer.vtep for peer in view.world.intent.peers if peer.network == attachment.network.id}
    return PortReport(
        attachment.nic.id,
        attachment,
        host,
        vid,
        vtep,
        tuple(sorted(peers - {vtep})),
        wired=not why,
        behind=side,
        why=why,
    )
