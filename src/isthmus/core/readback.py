"""What an NVE maps, read back from the entries it holds: which VID means whom there, and which NICs speak with it."""

from __future__ import annotations

from collections.abc import Collection

from isthmus.core.flows import mapped
from isthmus.model.flow import Flow, FlowPort, Match
from isthmus.model.inventory import Nic
from isthmus.model.nve import LeafBinding, NveEntry, Plug
from isthmus.model.observed import NveMirror
from isthmus.model.scope import NetworkSubject, PortSubject, Subject
from isthmus.model.tags import Vid


def bindings_of(mirror: NveMirror) -> frozenset[tuple[Vid, Subject]]:
    """Each VID the NVE maps, with the subject it maps it to."""
    return bindings_in((*mirror.entries.values(), *mirror.rivals))


def bindings_in(entries: Collection[NveEntry]) -> frozenset[tuple[Vid, Subject]]:
    """Each VID that these map, with its subject."""
    found: set[tuple[Vid, Subject]] = {(vid, NetworkSubject(vni)) for vid, vni in mapped(entries)}
    for entry in entries:
        if isinstance(entry, LeafBinding):
            found.add((entry.vid, NetworkSubject(entry.vni)))
        elif isinstance(entry, Plug):
            found.add((entry.vid, PortSubject(entry.port)))
    return frozenset(found)


def serves(entry: NveEntry, vid: Vid | None, nic: Nic) -> bool:
    """This entry lets this very NIC speak with the VID it wears."""
    match entry:
        case Flow(match=Match(in_port=FlowPort.TRUNK, vid=worn, src=nic.mac)):
            return worn == vid
        case Plug(vid=worn, nic=nic.id):
            return worn == vid
    return False
