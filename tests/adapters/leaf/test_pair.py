"""Two switches as one VTEP: what only one of them holds is nobody's, and what is wanted is told to both."""

from __future__ import annotations

import pytest

from isthmus.adapters.leaf.pair import LeafPair
from isthmus.model.change import Change, Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.names import LeafId, Mac
from isthmus.model.nve import LeafBinding, LeafFlood, LeafUnicast, NveEntry
from isthmus.model.tags import Vid, VidSet, Vni
from lab.wire.clock import VirtualClock
from lab.wire.leaf import WireLeaf

RED, BLUE = Vni(5000), Vni(6000)
BINDING = LeafBinding(Vid(101), RED)
FLOOD = LeafFlood(RED, frozenset({"192.0.2.2"}))
UNICAST = LeafUnicast(RED, Mac("00:50:56:00:00:01"), "192.0.2.2")
WHOLE: tuple[NveEntry, ...] = (BINDING, FLOOD, UNICAST)


class Site:
    """A pair and its members."""

    def __init__(self) -> None:
        self.members = [WireLeaf(LeafId("rack1"), "192.0.2.1", [], VirtualClock()) for _ in range(2)]
        self.pair = LeafPair([(f"tcp:member{n}", member) for n, member in enumerate(self.members)])  # type: ignore[misc]

    def tell(self, action: Learn | Forget, *, only: int | None = None) -> tuple[Outcome, str]:
        target = self.pair if only is None else self.members[only]
        [result] = target.apply([Change(1, self.pair.id, action, "test")])
        return result.outcome, result.detail

    @property
    def held(self) -> set[NveEntry]:
        return set(self.pair.observe().entries.values())


def test_what_both_hold_alike_the_pair_holds() -> None:
    site = Site()
    assert site.tell(Learn(WHOLE)) == (Outcome.DONE, "")
    assert site.held == set(WHOLE)
    assert all(set(member.observe().entries.values()) == set(WHOLE) for member in site.members)


@pytest.mark.parametrize("entry", WHOLE, ids=lambda entry: type(entry).__name__)
@pytest.mark.parametrize("only", [0, 1])
def test_what_one_member_lacks_is_mended_where_it_is_wanted(entry: NveEntry, only: int) -> None:
    site = Site()
    site.tell(Learn(WHOLE))
    site.members[only].entries.pop(entry.key)
    held = site.pair.observe().entries
    assert held[entry.key] != entry, "it must not read as held"
    site.tell(Learn((entry,)))
    assert site.held == set(WHOLE)


@pytest.mark.parametrize("only", [0, 1])
def test_what_one_member_alone_holds_is_forgotten_where_it_is_not_wanted(only: int) -> None:
    site = Site()
    site.tell(Learn(WHOLE), only=only)
    found = tuple(site.pair.observe().entries.values())
    assert len(found) == 3
    assert not set(found) & set(WHOLE)
    assert site.tell(Forget(found)) == (Outcome.DONE, "")
    assert site.held == set()


def test_members_that_send_to_different_vteps_hold_neither() -> None:
    site = Site()
    site.tell(Learn(WHOLE))
    for wrong in (frozenset[str](), frozenset({"192.0.2.2", "192.0.2.3"})):
        site.tell(Learn((LeafFlood(RED, wrong),)), only=1)
        seen = site.pair.observe().entries[FLOOD.key]
        assert seen not in (FLOOD, LeafFlood(RED, wrong))


def test_a_vid_that_means_two_networks_is_freed_in_the_end() -> None:
    site = Site()
    site.tell(Learn((BINDING,)), only=0)
    site.tell(Learn((LeafBinding(Vid(101), BLUE),)), only=1)
    for _ in range(2):
        site.tell(Forget(tuple(site.pair.observe().entries.values())))
    assert site.held == set()


def test_what_the_first_cannot_do_the_second_is_not_asked_for() -> None:
    site = Site()
    site.members[0].faults.down = True
    assert site.tell(Learn(WHOLE))[0] is Outcome.UNREACHABLE
    assert site.members[1].writes == 0


def test_with_one_member_gone_the_pair_is_unknown_and_what_was_told_to_one_alone_is_not_done() -> None:
    site = Site()
    site.members[1].faults.down = True
    with pytest.raises(Retry):
        site.pair.observe()
    outcome, detail = site.tell(Learn(WHOLE))
    assert outcome is Outcome.UNREACHABLE
    assert detail.startswith("tcp:member1: ")
    site.members[1].faults.heal()
    assert not site.held & set(WHOLE)


def test_what_one_member_would_not_take_the_pair_would_not() -> None:
    site = Site()
    for member in site.members:
        member.fellows = site.members
    site.members[0].unfit, site.members[1].unfit = {Vid(300)}, {Vid(301)}
    assert (site.pair.observe().unfit, site.pair.observe().foreign_vids) == (VidSet.of([300, 301]), VidSet())


def test_what_another_hand_bound_at_one_member_is_worn() -> None:
    site = Site()
    site.members[0].foreign[Vid(300)] = BLUE
    site.members[1].foreign[Vid(301)] = BLUE
    assert site.pair.observe().foreign_vids == VidSet.of([300, 301])
    outcome, detail = site.tell(Learn((LeafBinding(Vid(301), RED),)))
    assert outcome is Outcome.REFUSED
    assert "tcp:member1: VID 301" in detail
    assert site.tell(Learn((LeafBinding(Vid(300), RED),)))[0] is Outcome.REFUSED
    assert Vid(300) not in {entry.vid for entry in site.members[1].entries.values() if isinstance(entry, LeafBinding)}


def test_members_that_learn_and_bear_no_marks_are_a_pair_that_does() -> None:
    site = Site()
    assert (site.pair.observe().learns, site.pair.observe().marked) == (False, True)
    for member in site.members:
        member.fellows = site.members
    assert (site.pair.observe().learns, site.pair.observe().marked) == (True, False)
    site.tell(Learn((BINDING,)), only=0)
    assert site.held == {LeafBinding(BINDING.vid, BINDING.vni, whole=False)}
    site.tell(Learn((BINDING,)))
    assert site.held == {BINDING}
