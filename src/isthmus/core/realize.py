"""What an NVE should hold, whatever its kind, given the VIDs that are live at it.

A VID is live at an NVE when a place there visibly wears it for a subject that is wanted: an NVE learns no tag before
vCenter wears it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from isthmus.core.attach import Attachment
from isthmus.core.design import NveKind
from isthmus.core.flows import flows
from isthmus.core.segments import Segment, Whereabouts
from isthmus.core.view import View
from isthmus.core.workloads import workloads
from isthmus.model.intent import Network
from isthmus.model.names import Mac, NetworkId
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry, NveKey, Plug
from isthmus.model.tags import Vid


@dataclass(frozen=True, slots=True)
class Live:
    """A VID that is live at an NVE: for a network, and for a NIC where one is behind it.

    `expected` says that the NIC is announced but not there yet, `closed` that its DV port lets nothing pass.
    """

    network: Network
    vid: Vid
    attachment: Attachment | None = None
    expected: bool = False
    closed: bool = False


def realize(view: View, where: Whereabouts, place: str, live: Iterable[Live]) -> Mapping[NveKey, NveEntry]:
    """All entries that the NVE of a host or leaf (`place`) should hold."""
    live = tuple(live)
    match view.design.nve:
        case NveKind.OVS:
            entries: Iterator[NveEntry] = flows(_segments(view, where, place, live))
        case NveKind.LEAF:
            mirror = view.nves.get(view.shard.nves[place])
            learns = mirror is not None and mirror.learns
            entries = _leaf_entries(_segments(view, where, place, live), learns=learns)
        case NveKind.VROUTER | NveKind.STOCK_OVS:
            plugs = list(_plugs(view, place, live))
            entries = chain(plugs, workloads(view, place, {plug.port for plug in plugs}))
    return {entry.key: entry for entry in entries}


def _segments(view: View, where: Whereabouts, place: str, live: tuple[Live, ...]) -> Iterator[Segment]:
    hosts = view.nve_hosts(place)
    here = view.vteps(hosts)
    vids: defaultdict[NetworkId, set[Vid]] = defaultdict(set)
    local: defaultdict[NetworkId, dict[Mac, Vid]] = defaultdict(dict)
    senders: defaultdict[NetworkId, dict[Mac, frozenset[str] | None]] = defaultdict(dict)
    networks: dict[NetworkId, Network] = {}
    for item in live:
        networks[item.network.id] = item.network
        vids[item.network.id].add(item.vid)
        if item.attachment is not None:
            own, known = item.attachment.nic.mac, local[item.network.id]
            for mac in item.attachment.macs:
                # Allowed pairs may name a MAC that another NIC owns (VRRP): the owner's VID stands.
                if mac == own or mac not in known:
                    known[mac] = item.vid
            _add_senders(senders[item.network.id], item.attachment)
    for network_id, network in sorted(networks.items()):
        segment = where.segment(network, vids[network_id], local[network_id], here, set(hosts))
        yield replace(segment, senders=senders[network_id]) if senders[network_id] else segment


def _add_senders(known: dict[Mac, frozenset[str] | None], attachment: Attachment) -> None:
    """Two NICs that may use one MAC (VRRP) may each send from what either of them may."""
    own = attachment.senders
    for mac in attachment.macs:
        before, more = known.get(mac, frozenset()), own.get(mac)
        known[mac] = None if before is None or more is None else before | more


def _leaf_entries(segments: Iterable[Segment], *, learns: bool) -> Iterator[NveEntry]:
    for segment in segments:
        vni = segment.network.vni
        for vid in segment.vids:
            yield LeafBinding(vid, vni)
        if learns:
            continue
        yield LeafFlood(vni, frozenset(segment.flood))
        # A leaf takes one VTEP per MAC, and an entry for a MAC below itself would lead away from it.  One that is at
        # several VTEPs (VRRP, a clone) is left to flooding, which finds it wherever it is.
        for mac, vtep in segment.homes.items():
            if vtep not in segment.here:
                yield LeafUnicast(vni, mac, vtep)


def _plugs(view: View, place: str, live: Iterable[Live]) -> Iterator[Plug]:
    mirror = view.nves.get(view.shard.nves[place])
    held = mirror.entries if mirror is not None else {}
    for item in live:
        attachment: Attachment | None = item.attachment
        if attachment is not None:
            yield Plug(
                attachment.port,
                item.vid,
                item.network.id,
                item.network.vni,
                attachment.nic.id,
                attachment.nic.mac,
                attachment.addresses,
                enabled=not item.expected,
                dead=_may_pass_unfiltered(view, item, held.get(attachment.port)),
            )


def _may_pass_unfiltered(view: View, item: Live, held: NveEntry | None) -> bool:
    """Its DV port is open, and its agent does not filter this very plug yet.  What passes goes on."""
    if not view.design.nve.filters_late or item.closed or item.expected:
        return False
    return not (isinstance(held, Plug) and (held.wired or not held.dead))
