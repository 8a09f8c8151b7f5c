"""Sets of VIDs are sets, however they are written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isthmus.model.tags import MAX_VID, MIN_VID, VidSet

VIDS = st.sets(st.integers(MIN_VID, 8) | st.integers(MAX_VID - 4, MAX_VID), max_size=8)


@given(VIDS, VIDS)
def test_union_intersection_and_difference_are_those_of_the_vids(these: set[int], those: set[int]) -> None:
    one, other = VidSet.of(these), VidSet.of(those)
    assert set(one | other) == these | those
    assert set(one & other) == these & those
    assert set(one - other) == these - those
    assert VidSet.of(str(one)) == one if these else str(one) == "none"
