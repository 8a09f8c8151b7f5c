"""Which VLANs have their place, and since when: what is about to go must not be given to anybody.

A VLAN on its way out loses its place when Neutron has said so twice: whoever asks for its port group in between is told
to wait, and by asking has kept it.  What it stood on goes after that, while others read Neutron anew; so a port group
that was seen counts only if the VLAN has had its place without a break since then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from isthmus.adapters.neutron.facts import Facts, Segment
from isthmus.model.names import NetworkId

Key: TypeAlias = tuple[str, NetworkId, int]
"""Mapping domain, network, VID."""


class Tenure:
    """Told by the one who reads Neutron; asked by any thread."""

    def __init__(self) -> None:
        self.reading = 0
        """How often Neutron was read."""
        self._now: tuple[frozenset[Segment], Mapping[Key, int]] = frozenset(), {}

    @property
    def retiring(self) -> frozenset[Segment]:
        """The segments that the last answer told to be on their way out."""
        return self._now[0]

    def read(self, facts: Facts) -> frozenset[Segment]:
        """The segments that have no place any more, after another answer."""
        retiring = frozenset(segment for segment in facts.segments if not segment.wanted)
        # At the first answer nobody was given anything yet.
        leaving = retiring & self.retiring if self.reading else retiring
        self.reading += 1
        since = self._now[1]
        placed = [_key(segment) for segment in facts.segments if segment not in leaving]
        self._now = retiring, {key: since.get(key, self.reading) for key in placed}
        return leaving

    def holds(self, domain: str, network: NetworkId, vid: int, reading: int) -> bool:
        """Whether what was seen of a VLAN after the `reading`-th answer is there to stay."""
        retiring, since = self._now
        key = (domain, network, vid)
        return reading >= since.get(key, self.reading + 1) and all(_key(segment) != key for segment in retiring)


def _key(segment: Segment) -> Key:
    return segment.domain, segment.network, segment.vid
