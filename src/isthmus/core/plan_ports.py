"""Tag, open and close DV ports.

Law: a tag is worn in vCenter before any NVE learns it, and until that NVE has forgotten it.  So a port comes up as
claimed (closed, wearing its VID where every other allocator sees it), then, in a pass that sees no rival, the NVE
learns and the port opens; it goes down as closed, forgotten, bare.  A port whose VID another port of the same subject
on the same host holds already, known to the NVE, opens in one write, and goes bare in one while that other stays.  But
where only listed ports may speak none opens by its first write: carried out late, it could meet the port's next NIC.

Where an agent of the SDN's own filters a port, it opens when the plug was seen filtered, and the agent has reported it
up.  Where an open port's plug is gone it is the new plug that stays dead meanwhile, which vCenter need not know of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from isthmus.core.allocate import Allocation
from isthmus.core.attach import Attachment
from isthmus.core.claims import IN_CONFLICT, held_port, port_state
from isthmus.core.draft import Draft
from isthmus.core.plan_nves import About, NveDiff, compare, forget, learn
from isthmus.core.readback import serves
from isthmus.core.realize import Live, realize
from isthmus.core.segments import Whereabouts
from isthmus.core.trunks import unheard
from isthmus.core.view import View, switch_target
from isthmus.core.worn import host_of, subject_of
from isthmus.model.change import Gate, Hand, SetDvPort
from isthmus.model.names import DvsId, HostId, NicId
from isthmus.model.nve import Plug, Workload
from isthmus.model.observed import Access, DvPortState, OwnerMark
from isthmus.model.place import DvPort
from isthmus.model.scope import Domain, Subject
from isthmus.model.tags import Vid

AWAITS_AGENT = "its Neutron agent has not reported it up yet"


class Step(Enum):
    """What a port needs next."""

    REST = "as it should be"
    CLAIM = "claim"
    OPEN = "open"
    RETAG = "retag while open"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class PortPlan:
    """One DV port of ours on a host of this shard: what it is, what it should wear, and its next step."""

    dvs: DvsId
    state: DvPortState
    host: HostId
    subject: Subject
    worn: Vid | None
    wanted: Vid | None
    step: Step
    attachment: Attachment | None = None
    refusal: str = ""
    """Why an unwanted port is unwanted."""

    @property
    def awaits_agent(self) -> bool:
        """It is closed, and stays so until the SDN's own agent says that its end is ready."""
        listed = self.attachment.listed if self.attachment is not None else None
        return self.state.blocked and listed is not None and not listed.wired

    def write(self, gate: Gate, vid: Vid | None) -> SetDvPort:
        """The write that does `gate` to it."""
        return SetDvPort(self.dvs, self.state.key, self.state.cookie, self.state.version, gate, vid, self.host)


def plan_ports(view: View, allocation: Allocation, draft: Draft) -> None:
    """Plan all ports of this shard's hosts and what the NVEs of these hosts must know."""
    where = view.whereabouts()
    by_host: defaultdict[HostId, list[PortPlan]] = defaultdict(list)
    for port in ports_of(view, allocation):
        by_host[port.host].append(port)
    for host in sorted(view.shard.hosts):
        _plan_host(view, allocation, where, host, by_host.get(host, []), draft)


def _plan_host(
    view: View,
    allocation: Allocation,
    where: Whereabouts,
    host: HostId,
    ports: list[PortPlan],
    draft: Draft,
) -> None:
    target = view.shard.nves.get(host)
    if target is None:
        if ports:
            draft.cannot(host, "no NVE is configured for this host: its ports stay closed")
        return
    live = live_at(view, allocation, where, host, ports)
    _say_lost(view, host, draft)
    _say_conflicts(view, host, draft)
    for vid in sorted({item.vid for item in live}):
        if why := unheard(view, vid):
            draft.cannot(f"VID {int(vid)}", why)
    wanted = realize(view, where, host, live)
    diff = compare(view, target, wanted, draft)
    for entry in wanted.values():
        if isinstance(entry, Plug) and entry.dead:
            draft.cannot(entry.port, AWAITS_AGENT)
    if target not in view.known:
        draft.cannot(target, f"unknown: {view.unknown.get(target, 'never read')}")
    fresh = all(switch_target(dvs) in view.known for dvs in view.shard.switches)
    if not fresh:  # what vCenter holds is remembered, not seen: NVEs may be told again, nothing is taken away
        learn(diff, draft)
        return
    closing = _close(view, ports, diff, draft)
    learn(diff, draft)
    changing = _open(ports, diff, allocation, view, draft)
    for subject, numbers in changing.items():
        closing[subject].extend(numbers)
    forget(view, diff, closing, draft, partial(_has_workload, diff))
    if view.world.intent.fresh:
        _bare(ports, diff, closing, draft)


def _has_workload(diff: NveDiff, key: About, vids: Collection[Vid]) -> bool:
    """What the SDN keeps of a port, its address with it, goes with what is forgotten."""
    return any(isinstance(entry, Workload) for entry in diff.surplus[key])


def _say_lost(view: View, host: HostId, draft: Draft) -> None:
    """Say which port groups of NICs here lost their mark."""
    groups = {a.nic.port_group for a in view.attachments.by_host.get(host, ()) if a.presumed}
    for group in sorted(key for key in groups if key is not None):
        reason = "carries no mark of ours any more: what was open in it is served as it is, as long as it stays there"
        draft.cannot(f"port group {group}", reason)


def _say_conflicts(view: View, host: HostId, draft: Draft) -> None:
    """Say which NICs here should speak and hold a port that cannot be opened for them."""
    for attachment in view.attachments.by_host.get(host, ()):
        state = held_port(view, attachment) if attachment.live else None
        if state is not None and state.conflict:
            draft.cannot(attachment.place, IN_CONFLICT)


def ports_of(view: View, allocation: Allocation) -> Iterator[PortPlan]:
    """Every DV port in a port group of ours that a NIC on a host of this shard holds."""
    inventory = view.world.inventory
    wanted = {a.nic.id: a for host in view.shard.hosts for a in view.attachments.by_host.get(host, ())}
    here = list(_here(view))
    holders = _holders(view, here)
    for dvs, state, mark in here:
        if state.nic is None or state.conflict:
            continue
        nic = inventory.nics.get(state.nic)
        host = nic.host if nic is not None else state.host
        if host is None:
            continue
        attachment = wanted.get(state.nic)
        if attachment is not None and port_state(view, attachment) is not state:
            continue  # inventory and switch disagree about who holds the port: wait until they are of one mind
        vid = allocation.bindings.get(DvPort(dvs, state.key, state.cookie))
        subject = subject_of(view, mark, state)
        worn = state.vlan.vid if isinstance(state.vlan, Access) and state.vlan_own else None
        domain = view.domain(dvs, host)
        held = (host, vid, subject) in holders and not (attachment is not None and attachment.network.ports_listed)
        step = _step(state, worn, vid, subject, domain, allocation, held=held)
        yield PortPlan(dvs, state, host, subject, worn, vid, step, attachment, _why(view, attachment, state.nic))


def _here(view: View) -> Iterator[tuple[DvsId, DvPortState, OwnerMark]]:
    """The ports on hosts of this shard that are in a port group of ours, with its mark."""
    for dvs in view.shard.switches:
        mirror = view.switches.get(dvs)
        for state in mirror.ports.values() if mirror is not None else ():
            if host_of(view, state) in view.shard.hosts:
                mark = view.marks.get((dvs, state.port_group))
                if mark is not None:
                    yield dvs, state, mark


def _holders(
    view: View, here: Iterable[tuple[DvsId, DvPortState, OwnerMark]]
) -> frozenset[tuple[HostId, Vid, Subject]]:
    """VIDs that open ports of a host wear and its NVE knows: another port of the subject may open with them at once."""
    found: set[tuple[HostId, Vid, Subject]] = set()
    for host in view.shard.hosts:
        target = view.shard.nves.get(host)
        if target is not None and target in view.known:
            found |= {(host, vid, subject) for vid, subject in view.maps.get(target, ())}
    worn: set[tuple[HostId, Vid, Subject]] = set()
    for _, state, mark in here:
        nic = view.world.inventory.nics.get(state.nic) if state.nic else None
        if nic and nic.host and isinstance(state.vlan, Access) and not state.blocked:
            worn.add((nic.host, state.vlan.vid, subject_of(view, mark, state)))
    return frozenset(found & worn)


def _step(
    state: DvPortState,
    worn: Vid | None,
    vid: Vid | None,
    subject: Subject,
    domain: Domain,
    allocation: Allocation,
    *,
    held: bool,
) -> Step:
    if vid is None:
        return Step.CLOSE
    contested = (domain, vid) in allocation.contested
    if worn == vid:
        return Step.REST if not state.blocked or contested else Step.OPEN
    at_once = held and not contested
    if state.blocked:
        return Step.OPEN if at_once else Step.CLAIM
    # Open, with another tag.  Its own subject's does no harm until the new one is ready; anything else ends at once.
    harmless = worn is not None and allocation.owners.get((domain, worn)) == subject
    return Step.RETAG if at_once or harmless else Step.CLAIM


def _why(view: View, attachment: Attachment | None, nic: NicId) -> str:
    held = view.world.inventory.nics.get(nic)
    if attachment is None:
        return "no wanted network or port has this NIC"
    if not attachment.live:
        return "powered off" if held is not None and not held.powered_on else "disconnected or administratively down"
    return "no VID for it"


def live_at(
    view: View, allocation: Allocation, where: Whereabouts, host: HostId, ports: Iterable[PortPlan]
) -> list[Live]:
    """The VIDs that the NVE of `host` should know, given its ports."""
    return [*_live(ports), *_expected(view, allocation, where, host), *_stranded(view, host)]


def _stranded(view: View, host: HostId) -> Iterator[Live]:
    """Open ports whose port group lost its mark, by hand or handed back, as far as the NVE serves this very NIC now.

    That it does is the proof, beside what the port group looks like, that the tag was given by us and to it.
    """
    for attachment in view.attachments.by_host.get(host, ()):
        state = port_state(view, attachment) if attachment.presumed and attachment.live else None
        if state is None or state.blocked or not state.vlan_own or not isinstance(state.vlan, Access):
            continue
        mirror = view.nves.get(view.shard.nves[host]) if host in view.shard.nves else None
        vid, vni = state.vlan.vid, attachment.network.vni
        entries = mirror.entries.values() if mirror is not None else ()
        if any(serves(entry, vid, attachment.nic) and entry.vni == vni for entry in entries):
            yield Live(attachment.network, vid, attachment)


def _live(ports: Iterable[PortPlan]) -> Iterator[Live]:
    """The VIDs that ports here visibly wear, rightly, and those that a known holder lets a port take at once."""
    for port in ports:
        if port.attachment is None or port.wanted is None:
            continue
        if port.step in (Step.REST, Step.OPEN, Step.RETAG) and not (port.step is Step.REST and port.state.blocked):
            yield Live(port.attachment.network, port.wanted, port.attachment, closed=port.state.blocked)


def _expected(view: View, allocation: Allocation, where: Whereabouts, host: HostId) -> Iterator[Live]:
    """NICs announced for this host: their ports bring their tags along, if these mean the same here."""
    for attachment in where.arriving(host):
        state = port_state(view, attachment)
        place = attachment.place
        if state is None or place is None or place.dvs not in view.shard.switches or state.blocked:
            continue
        mark = view.marks.get((place.dvs, state.port_group))
        if mark is None or not isinstance(state.vlan, Access):
            continue
        if allocation.owners.get((view.domain(place.dvs, host), state.vlan.vid)) == subject_of(view, mark, state):
            yield Live(attachment.network, state.vlan.vid, attachment, expected=True)


def _close(view: View, ports: Sequence[PortPlan], diff: NveDiff, draft: Draft) -> defaultdict[Subject, list[int]]:
    """End what must end: harmful tags at once, unwanted ports unless the intent is only remembered."""
    closing: defaultdict[Subject, list[int]] = defaultdict(list)
    staying = {(port.subject, port.worn) for port in ports if port.step is Step.REST and not port.state.blocked}
    for port in ports:
        target = switch_target(port.dvs)
        if port.step is Step.CLAIM:
            reason = f"{port.subject} claims VID {port.wanted}"
            if not port.state.blocked:
                reason += f", leaving {port.worn or 'no tag'} which is not its own"
            number = draft.add(target, port.write(Gate.CLAIM, port.wanted), reason)
            closing[port.subject].append(number)
        elif port.step is Step.CLOSE and not port.state.blocked:
            absent = port.attachment is None
            if absent and not view.world.intent.fresh:
                draft.cannot(f"port {port.state.key}", "not wanted any more, but the intent is only remembered")
                continue
            mapped = (port.worn, port.subject) in diff.maps and (port.subject, port.worn) not in staying
            keep = port.worn is not None and (mapped or not diff.ready)
            gate, vid = (Gate.CLOSE, port.worn) if keep else (Gate.BARE, None)
            number = draft.add(target, port.write(gate, vid), port.refusal, guarded=absent)
            closing[port.subject].append(number)
    return closing


def _open(
    ports: Iterable[PortPlan], diff: NveDiff, allocation: Allocation, view: View, draft: Draft
) -> defaultdict[Subject, list[int]]:
    """Open what is ready.  Gives the retags, which must be made before the NVE forgets the old tags."""
    retags: defaultdict[Subject, list[int]] = defaultdict(list)
    for port in ports:
        if port.step is Step.REST and port.state.blocked:
            reason = f"VID {port.wanted} is claimed by several at once: looking again"
            draft.cannot(f"port {port.state.key}", reason, contested=True)
        elif port.step is Step.REST and (view.domain(port.dvs, port.host), port.wanted) in allocation.contested:
            reason = f"VID {port.wanted} is worn by others, too, who must leave it: looking again"
            draft.cannot(f"port {port.state.key}", reason, contested=True)
        if port.step not in (Step.OPEN, Step.RETAG):
            continue
        if not diff.knows(port.subject):
            draft.cannot(f"port {port.state.key}", f"{diff.target} is not ready: the port stays as it is")
            continue
        if port.awaits_agent:
            draft.cannot(f"port {port.state.key}", AWAITS_AGENT)
            continue
        reason = f"{port.subject} has VID {port.wanted}"
        if port.step is Step.RETAG:
            reason += f" instead of {port.worn}"
        number = draft.add(
            switch_target(port.dvs),
            port.write(Gate.OPEN, port.wanted),
            reason,
            diff.learning(port.subject),
            guarded=port.step is Step.RETAG,
            undoes=Hand.CLOSED_PORT if port.state.blocked and port.worn == port.wanted else None,
        )
        if port.step is Step.RETAG:
            retags[port.subject].append(number)
    return retags


def _bare(ports: Iterable[PortPlan], diff: NveDiff, closing: defaultdict[Subject, list[int]], draft: Draft) -> None:
    """Take the tag off closed ports once the NVE has forgotten it."""
    if not diff.ready:
        return
    bared = {c.action.key for c in draft.changes if isinstance(c.action, SetDvPort) and c.action.gate is Gate.BARE}
    for port in ports:
        if port.step is not Step.CLOSE or port.worn is None or port.state.key in bared:
            continue
        if not port.state.blocked and not closing.get(port.subject):
            continue
        after = [*closing.get(port.subject, ())]
        if port.subject in diff.forgotten:
            after.append(diff.forgotten[port.subject])
        draft.add(switch_target(port.dvs), port.write(Gate.BARE, None), f"{port.subject} is gone from it", after)
