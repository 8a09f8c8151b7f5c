"""An owner mark survives any id and any hand that writes below it, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.vcenter import marks
from isthmus.model.names import NetworkId
from isthmus.model.observed import OwnerMark
from isthmus.model.tags import MAX_VNI, Vni

HOSTILE = st.text(max_size=60) | st.sampled_from(["", " ", "a b", "x\ny", "%2f", "owner=x", "‮gnp", "isthmus/1", "<b>"])
MARK = OwnerMark("isthmus", NetworkId("9d0c…"), Vni(5001))


VNI = st.builds(Vni, st.integers(1, MAX_VNI))


@given(HOSTILE, HOSTILE, VNI, st.lists(VNI, max_size=3), HOSTILE)
def test_any_mark_reads_back_under_any_text(owner: str, network: str, vni: Vni, was: list[Vni], below: str) -> None:
    mark = OwnerMark(owner, NetworkId(network), vni, tuple(was))
    text = marks.described(mark, below)
    assert marks.decoded(text) == mark
    assert marks.first_line(text).isascii()
    assert len(marks.first_line(text).splitlines()) == 1


@given(HOSTILE, HOSTILE)
def test_a_new_mark_replaces_the_old_and_keeps_what_people_wrote(owner: str, note: str) -> None:
    text = marks.described(replace(MARK, owner=owner), "") + "\n" + note
    again = marks.described(MARK, text)
    assert marks.decoded(again) == MARK
    assert again.count("isthmus/1 owner=") == 1 + note.count("isthmus/1 owner=")
    assert note.strip() in again


@given(HOSTILE, HOSTILE)
def test_a_mark_that_was_handed_back_is_no_mark_and_can_be_taken_up_again(owner: str, note: str) -> None:
    mark = replace(MARK, owner=owner)
    text = marks.undescribed(mark, marks.described(mark, note))
    assert (marks.decoded(text), marks.handed_back(text)) == (None, mark)
    assert note.strip() in text
    again = marks.described(mark, text)
    assert (marks.decoded(again), marks.handed_back(again)) == (mark, None)
    assert marks.HANDED_BACK + "isthmus/" not in again.removesuffix(note.strip())


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "production, do not touch",
        "isthmus",
        "isthmus/1",
        "isthmus/1 owner=a network=b",
        "isthmus/1 owner=a network=b vni=0",
        "isthmus/1 owner=a network=b vni=16777216",
        "isthmus/1 owner=a network=b vni=x",
        "isthmus/1 owner=a network=b vni=5 was=x",
        "isthmus/1 owner=a network=b vni=5 was=0",
        "isthmus/1 owner=%ff network=b vni=1",
        "isthmus/1 owner=a network=b vni=5 more=c",
        "isthmus/1owner=a network=b vni=5",
        " isthmus/1 owner=a network=b vni=5",
        "note\nisthmus/1 owner=a network=b vni=5",
        "isthmus/0 owner=a network=b vni=5",
    ],
)
def test_what_is_not_a_mark_is_foreign(text: str | None) -> None:
    assert marks.decoded(text) is None
    assert marks.newer_schema(text) is None


def test_a_mark_of_a_newer_schema_is_foreign_and_known_as_such() -> None:
    text = "isthmus/2 owner=isthmus network=n vni=5 zone=x\nwhatever"
    assert marks.decoded(text) is None
    assert marks.newer_schema(text) == 2


@given(HOSTILE)
def test_no_description_breaks_the_reading(text: str) -> None:
    marks.decoded(text)
    marks.newer_schema(text)
