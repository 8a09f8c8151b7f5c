"""What an operator should know of a switch without marks beside what is read as ours.  Law: only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from isthmus.adapters.leaf.finding import LeafFinding
from isthmus.adapters.leaf.ngs.held import Held, is_foreign, not_ours
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.model.tags import Vid, VidSet


def findings(held: Held, settings: NgsSettings) -> Iterator[LeafFinding]:
    """All there is to say."""
    theirs: defaultdict[str, list[Vid]] = defaultdict(list)
    for vid, vlan in held.vlans.items():
        if vid in settings.vids and is_foreign(vid, vlan, settings):
            theirs[not_ours(vid, vlan, held, settings)].append(vid)
    for why, vids in theirs.items():
        what = f"VLAN {VidSet.of(vids)}, in our range, {why}"
        yield LeafFinding(what, "leave it out of vids; it is left alone in any case")
    yield from _open(held, settings)


def warnings(held: Held, settings: NgsSettings) -> tuple[str, ...]:
    """What keeps the switch from being told, or lets somebody hear, or be heard, who perhaps should not."""
    return tuple(f"{settings.address}: {found.what}" for found in _open(held, settings))


def _open(held: Held, settings: NgsSettings) -> Iterator[LeafFinding]:
    """Which ports are in our VLANs that are not ours; and which of ours are in VLANs that mean nothing."""
    if held.unready:
        yield LeafFinding(f"nothing is told to it: {held.unready}", "put it right on the switch")
    for port, why in sorted(held.barred.items()):
        yield LeafFinding(f"{port} joins no VLAN: {why}", "put it right on the switch, or name the right port")
    strange: defaultdict[str, list[Vid]] = defaultdict(list)
    idle: defaultdict[str, list[Vid]] = defaultdict(list)
    shared: defaultdict[str, list[Vid]] = defaultdict(list)
    vain: defaultdict[str, list[Vid]] = defaultdict(list)
    for vid, why in (*held.unproven.items(), *held.vain.items()):
        vain[why].append(vid)
    for vid, vlan in held.vlans.items():
        if vid not in settings.vids:
            continue
        if vlan.vni is not None and vlan.said:
            shared[vlan.said].append(vid)
        if vlan.ports.isdisjoint(settings.members):
            continue  # a stranger's, whoever he is
        if vlan.vni is not None:
            for port in vlan.ports.difference(settings.members):
                strange[port].append(vid)
        elif held.exists(vid) and not is_foreign(vid, vlan, settings):
            for port in vlan.ports:
                idle[port].append(vid)
    for why, vids in vain.items():
        what = f"VLAN {VidSet.of(vids)} is not asked for now: {why}"
        yield LeafFinding(what, "put it right on the switch, or leave it out of vids")
    for said, vids in shared.items():
        what = f"VLANs {VidSet.of(vids)} of our range have a VNI, and are somebody's too: {said}"
        yield LeafFinding(what, "take one of the two off; no port joins them until then")
    for port, vids in sorted(strange.items()):
        what = f"{port} carries VLANs {VidSet.of(vids)} of our range too, and no host of ours is there: it is let alone"
        yield LeafFinding(what, "take it off these, or name it with the hosts' ports or in ngs_trunk_ports")
    for port, vids in sorted(idle.items()):
        what = f"{port} carries VLANs {VidSet.of(vids)} of our range, which have no VNI: nobody says whose they are"
        yield LeafFinding(what, "take it off these, unless a network is about to get one of them")
    for note in held.notes:
        yield LeafFinding(note, "see that it is meant to be so")
