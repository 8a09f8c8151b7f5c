"""The numbers that name a network: VIDs (802.1Q, 12 bits) and VNIs (VXLAN, 24 bits), and ranges of VIDs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MIN_VID, MAX_VID = 1, 4094  # 802.1Q: 0 is "priority tag only", 4095 is reserved (vSphere: "all VLANs")
MAX_VNI = 2**24 - 1


class Vid(int):
    """A VLAN id that a frame can wear: 1..4094.  Raises ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, value: int) -> Vid:
        if not MIN_VID <= value <= MAX_VID:
            raise ValueError(f"VID {value} is not in {MIN_VID}..{MAX_VID}")
        return super().__new__(cls, value)


class Vni(int):
    """A VXLAN network identifier: 1..16777215.  Raises ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, value: int) -> Vni:
        if not 1 <= value <= MAX_VNI:
            raise ValueError(f"VNI {value} is not in 1..{MAX_VNI}")
        return super().__new__(cls, value)


@dataclass(frozen=True, slots=True)
class VidRange:
    """The VIDs first..last, both included."""

    first: Vid
    last: Vid

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"VID range {self.first}-{self.last} is empty: the first is above the last")

    def __contains__(self, vid: int) -> bool:
        return self.first <= vid <= self.last

    def __str__(self) -> str:
        return str(int(self.first)) if self.first == self.last else f"{int(self.first)}-{int(self.last)}"


@dataclass(frozen=True, slots=True)
class VidSet:
    """A set of VIDs as sorted, disjoint ranges: ``VidSet.of("100-199,300")`` or ``VidSet.of([100, 101])``."""

    ranges: tuple[VidRange, ...] = ()

    @classmethod
    def of(cls, source: str | Iterable[int]) -> VidSet:
        """Read "1-9,12" or any VIDs.  Raises ValueError with the part that is wrong."""
        if isinstance(source, str):
            return cls.joined(_parsed(part) for part in source.split(",") if part.strip())
        return cls.joined(VidRange(Vid(vid), Vid(vid)) for vid in source)

    @classmethod
    def joined(cls, ranges: Iterable[VidRange]) -> VidSet:
        """The union of ranges, in any order, overlapping or not."""
        merged: list[VidRange] = []
        for piece in sorted(ranges, key=lambda r: (r.first, r.last)):
            if merged and piece.first <= merged[-1].last + 1:
                if piece.last > merged[-1].last:
                    merged[-1] = VidRange(merged[-1].first, piece.last)
            else:
                merged.append(piece)
        return cls(tuple(merged))

    def __contains__(self, vid: int) -> bool:
        return any(vid in piece for piece in self.ranges)

    def __iter__(self) -> Iterator[Vid]:
        for piece in self.ranges:
            yield from map(Vid, range(piece.first, piece.last + 1))

    def __len__(self) -> int:
        return sum(piece.last - piece.first + 1 for piece in self.ranges)

    def __or__(self, other: VidSet) -> VidSet:
        return VidSet.joined((*self.ranges, *other.ranges))

    def __and__(self, other: VidSet) -> VidSet:
        return VidSet.joined(
            VidRange(max(a.first, b.first), min(a.last, b.last))
            for a in self.ranges
            for b in other.ranges
            if max(a.first, b.first) <= min(a.last, b.last)
        )

    def __sub__(self, other: VidSet) -> VidSet:
        firsts = [MIN_VID, *(piece.last + 1 for piece in other.ranges)]
        lasts = [*(piece.first - 1 for piece in other.ranges), MAX_VID]
        gaps = (VidRange(Vid(a), Vid(b)) for a, b in zip(firsts, lasts, strict=True) if a <= b)
        return self & VidSet(tuple(gaps))

    def __str__(self) -> str:
        return ",".join(map(str, self.ranges)) or "none"


NO_VIDS = VidSet()
ALL_VIDS = VidSet((VidRange(Vid(MIN_VID), Vid(MAX_VID)),))


def _parsed(part: str) -> VidRange:
    first, dash, last = part.strip().partition("-")
    try:
        return VidRange(Vid(int(first)), Vid(int(last if dash else first)))
    except ValueError as wrong:
        raise ValueError(f"'{part.strip()}' is not a VID or a range of VIDs such as 100-199: {wrong}") from wrong
