"""What an NVE maps, read back from the entries it holds: which VID means whom there."""

from __future__ import annotations

from isthmus.core.flows import mapped
from isthmus.model.nve import LeafBinding, Plug
from isthmus.model.observed import NveMirror
from isthmus.model.scope import NetworkSubject, PortSubject, Subject
from isthmus.model.tags import Vid


def bindings_of(mirror: NveMirror) -> frozenset[tuple[Vid, Subject]]:
    """Each VID the NVE maps, with the subject it maps it to."""
    found: set[tuple[Vid, Subject]] = {(vid, NetworkSubject(vni)) for vid, vni in mapped(mirror.entries)}
    for entry in mirror.entries.values():
        if isinstance(entry, LeafBinding):
            found.add((entry.vid, NetworkSubject(entry.vni)))
        elif isinstance(entry, Plug):
            found.add((entry.vid, PortSubject(entry.port)))
    return frozenset(found)
