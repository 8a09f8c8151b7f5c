"""Which networks have their place, and since when: what is about to go must not be given to anybody.

Below leaves a network's place is its VLAN in a mapping domain; where hosts have VTEPs of their own, the deployment.
One that is on its way out loses its place when Neutron has said so twice: whoever asks for its port group in between is
told to wait, and by asking has kept it.  What it stood on goes after that, while others read Neutron anew; so a port
group that was seen counts only if the network has had its place without a break since then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from isthmus.adapters.neutron.facts import Facts, Segment
from isthmus.adapters.neutron.meaning import Wanted
from isthmus.model.names import NetworkId

Key: TypeAlias = tuple[str, NetworkId, int | None]
"""Mapping domain, network, VID; or deployment, network, and no VID."""
Leaving: TypeAlias = frozenset[Segment | Key]


class Tenure:
    """Told by the one who reads Neutron; asked by any thread."""

    def __init__(self) -> None:
        self.reading = 0
        """How often Neutron was read."""
        self._now: tuple[Leaving, Mapping[Key, int]] = frozenset(), {}

    @property
    def retiring(self) -> Leaving:
        """What the last answer told to be on its way out."""
        return self._now[0]

    def read(self, facts: Facts, wanted: Wanted = frozenset()) -> tuple[frozenset[Segment], Wanted]:
        """After another answer: the segments that have no place any more, and who has one in which deployment.

        `wanted` is who should have one by this answer.
        """
        since = self._now[1]
        retiring = frozenset(segment for segment in facts.segments if not segment.wanted)
        homes: frozenset[Key] = frozenset((deployment, network, None) for deployment, network in wanted)
        unwanted = frozenset(key for key in since if key[2] is None and key not in homes and key[1] in facts.networks)
        # At the first answer nobody was given anything yet.
        leaving = retiring & self.retiring if self.reading else retiring
        homes |= unwanted - self.retiring
        self.reading += 1
        placed = [_key(segment) for segment in facts.segments if segment not in leaving]
        self._now = retiring | unwanted, {key: since.get(key, self.reading) for key in (*placed, *homes)}
        return leaving, frozenset((deployment, network) for deployment, network, _ in homes)

    def holds(self, domain: str, network: NetworkId, vid: int | None, reading: int) -> bool:
        """Whether what was seen of a place after the `reading`-th answer is there to stay."""
        retiring, since = self._now
        key = (domain, network, vid)
        return reading >= since.get(key, self.reading + 1) and all(_key(found) != key for found in retiring)


def _key(found: Segment | Key) -> Key:
    return (found.domain, found.network, found.vid) if isinstance(found, Segment) else found
