"""Far sides that stand apart: nobody waits for them, what they answer is heeded, and its age is never forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf

import pytest

from isthmus.app import asking, observing, parallel
from isthmus.app.backoff import Backoff
from isthmus.app.observing import Sight
from isthmus.model.change import Change, Learn
from isthmus.model.faults import Retry
from isthmus.model.nve import LeafBinding, NveEntry
from isthmus.model.observed import Mirror, NveMirror, Observed, TargetId, Unknown
from isthmus.model.tags import Vid, Vni
from lab.wire.turns import Turns

LEAF, SWITCH = TargetId("leaf", "leaf1"), TargetId("dvs", "dvs")


@dataclass
class FarSide:
    """Something that takes its time to be read; each reading has a number."""

    id: TargetId
    clock: Turns
    takes: float
    read: int = 0
    broken: Exception | None = None
    meanwhile: Callable[[], None] = lambda: None
    """What happens while it is read."""

    def observe(self) -> NveMirror:
        self.read += 1
        seen = NveMirror(self.id, {}, warnings=(f"reading {self.read}",))
        self.clock.advance(self.takes / 2)
        self.meanwhile()
        self.clock.advance(self.takes / 2)
        if self.broken:
            raise self.broken
        return seen

    def apply(self, changes: object) -> list[object]:
        return []


@dataclass
class Site:
    """One shard's looks at a leaf, and a switch that is waited for."""

    clock: Turns = field(default_factory=Turns)
    served: dict[TargetId, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sight = Sight(lambda: self.clock.now, Backoff(1, 60))
        self.leaf = FarSide(LEAF, self.clock, 5.0)
        self.switch = FarSide(SWITCH, self.clock, 0.1)

    def look(self, since: int | None = None) -> Observed:
        """What is seen when there is news, or of what was seen from a tick on."""
        found: list[Observed] = []
        tick = self.sight.tick() if since is None else since
        targets = [self.leaf, self.switch]
        self.clock.begin(
            lambda: found.append(self.sight.observe(targets, tick, apart=[LEAF], served=self.served))  # type: ignore[arg-type]
        )
        while not found:
            self.clock.advance(0.05)
        return found[0]

    def leaf_now(self) -> str:
        """What a look at the leaf shows."""
        return shown(self.look().targets[LEAF])

    def until(self, moment: float) -> None:
        """Let time pass."""
        self.clock.advance(moment - self.clock.now)


def shown(seen: Mirror | Unknown[Mirror]) -> str:
    if isinstance(seen, Unknown):
        return "passing" if seen.passing else seen.reason
    assert isinstance(seen, NveMirror)
    return seen.warnings[0]


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    with made.clock.instead_of_threads([asking, observing, parallel]):
        yield made


def test_a_look_is_as_old_as_the_answer_that_was_taken_though_a_newer_one_comes_before_it_ends(site: Site) -> None:
    """Else a VLAN would be given back by what a leaf held before it was retired."""
    site.switch.takes = 8.0
    site.look()
    began = site.clock.now
    assert began == pytest.approx(8.0, abs=0.1)
    second = site.look()
    assert shown(second.targets[LEAF]) == "reading 1"
    assert site.leaf.read == 2, "and the second had ended by then"
    assert site.clock.now == pytest.approx(16.0, abs=0.1)
    assert second.since == pytest.approx(0.0, abs=0.1)


def test_a_leaf_is_waited_for_a_moment_at_most_and_not_at_all_once_it_is_known_to_be_slow(site: Site) -> None:
    site.leaf.takes = 0.5
    assert site.leaf_now() == "reading 1"
    site.leaf.takes = 5.0
    before = site.clock.now
    assert site.leaf_now() == "passing"
    assert site.clock.now - before == pytest.approx(1.0, abs=0.1)
    site.clock.advance(30.0)
    before = site.clock.now
    assert site.leaf_now() == "reading 2", "it was not looked at yet"
    assert site.clock.now - before == pytest.approx(0.1, abs=0.06)


def test_what_a_leaf_answers_serves_one_look_however_long_it_took_and_others_for_as_long_again(site: Site) -> None:
    site.leaf.takes = 40.0
    site.look()
    shown_at = {}
    while site.clock.now < 160:
        site.until(site.clock.now + 1.0)
        shown_at[site.clock.now] = site.leaf_now()
    assert {s for at, s in shown_at.items() if at < 40} == {"no answer within 3 s"}
    later = [s for at, s in shown_at.items() if at > 44]
    assert later.count("passing") <= 3, "from when it could have answered again to when it did"
    assert set(later) - {"passing"} == {"reading 1", "reading 2", "reading 3"}
    site.leaf.takes = 200.0
    seen = []
    for _ in range(5):
        site.clock.advance(250)
        seen.append((site.leaf_now(), site.leaf_now()))
    assert len({once for once, _ in seen if once.startswith("reading")}) >= 4
    assert not [twice for _, twice in seen if twice.startswith("reading")]


def test_what_was_written_to_a_leaf_since_its_reading_began_makes_that_no_look(site: Site) -> None:
    site.look()
    site.until(5.5)
    assert site.leaf_now() == "reading 1"
    site.sight.written(LEAF)
    assert site.leaf_now() == "passing"
    site.leaf.meanwhile = lambda: site.sight.written(LEAF)
    site.look()
    site.clock.advance(30)
    assert site.leaf_now() == "passing", "written while it was read"


def test_what_a_leaf_is_told_may_be_there_until_it_was_read_and_no_write_disturbed_that(site: Site) -> None:
    """A VID that it may map is no other network's."""
    first, second = (LeafBinding(Vid(number), Vni(number)) for number in (1, 2))

    def coming() -> tuple[NveEntry, ...]:
        seen = site.look().targets[LEAF]
        assert isinstance(seen, Unknown)
        return seen.coming

    def tell(entry: NveEntry) -> None:
        site.sight.writing(LEAF, [Change(0, LEAF, Learn((entry,)), "", frozenset())])

    site.leaf.takes = 0.2
    tell(first)
    assert site.leaf_now() == "reading 1", "while it was written"
    site.sight.left_alone(LEAF, 1.0)
    assert coming() == (first,)
    site.sight.written(LEAF)
    site.leaf.takes = 5.0
    site.leaf.meanwhile = lambda: (tell(second), site.sight.written(LEAF))[1]
    assert coming() == (first,)
    site.clock.advance(5.0)
    assert coming() == (first, second), "it was read, but told the second meanwhile"
    site.leaf.meanwhile = lambda: None
    site.clock.advance(5.0)
    assert site.leaf_now() == "reading 3"
    site.clock.advance(40.0)
    site.leaf.broken = Retry("down")
    site.look()
    site.clock.advance(6.0)
    assert coming() == ()


def test_what_failed_to_be_read_is_said_and_never_passes_for_an_answer(site: Site) -> None:
    site.look()
    site.until(5.5)
    assert site.leaf_now() == "reading 1"
    site.leaf.broken = Retry("down")
    site.until(11.0)
    last = site.look().targets[LEAF]
    assert isinstance(last, Unknown)
    assert (last.reason, last.passing) == ("down", False)
    assert last.last is not None
    assert site.look().since >= 11.0, "it answers nothing, so that nobody waits for its answer"


def test_a_bug_in_a_reading_that_nobody_waited_for_rises_once_and_is_not_asked_for_again_at_once(site: Site) -> None:
    site.leaf.broken = KeyError("what no switch says")
    site.look()
    site.until(5.2)
    with pytest.raises(KeyError):
        site.look()
    assert site.sight.retry_at([LEAF]) == pytest.approx(6.0)
    assert site.leaf_now() == "KeyError: 'what no switch says'"
    assert site.leaf.read == 1


def test_a_leaf_that_failed_is_not_taken_at_an_older_word_while_it_is_asked_again(site: Site) -> None:
    site.look()
    site.until(5.5)
    site.leaf.takes, site.leaf.broken = 0.2, Retry("down")
    assert site.leaf_now() == "reading 1"
    site.until(6.9)
    site.leaf.takes = 10.0
    assert site.leaf_now() == "down"
    site.until(8.0)
    assert site.leaf_now() == "down"


def test_a_leaf_that_failed_is_not_waited_for_though_it_was_quick_before(site: Site) -> None:
    site.leaf.takes = 0.2
    site.look()
    site.leaf.broken = Retry("down")
    assert site.leaf_now() == "down"
    site.until(3.0)
    site.leaf.takes = 10.0
    assert site.leaf_now() == "down"
    assert site.leaf.read == 3
    assert site.clock.now < 3.3


def test_a_leaf_that_is_silent_is_shown_as_that_in_time_though_nothing_else_happens(site: Site) -> None:
    site.leaf.takes = 0.2
    site.look()
    site.leaf.takes = inf
    asked_at = site.clock.now
    seen = site.look()
    assert shown(seen.targets[LEAF]) == "passing"
    assert seen.since == -inf
    moment = site.sight.retry_at([LEAF, SWITCH])
    assert moment == pytest.approx(asked_at + 3.0)
    site.until(moment)
    assert site.leaf_now() == "no answer within 3 s"
    assert site.sight.retry_at([LEAF, SWITCH]) is None


@pytest.mark.parametrize("writing", [False, True], ids=["read", "written"])
def test_the_moment_from_which_a_leaf_is_silent_is_due_until_it_was_shown_and_then_no_more(
    site: Site, writing: bool
) -> None:
    """A round that is longer than that must not lose it, nor a leaf that hangs have the shard kept over and over."""
    site.leaf.takes = 0.2
    site.look()
    if writing:
        site.sight.left_alone(LEAF, 1.0)
    else:
        site.leaf.takes = inf
    assert site.leaf_now() == "passing"
    moment = site.sight.retry_at([LEAF, SWITCH])
    assert moment is not None
    site.until(moment + 7.0)
    assert site.sight.retry_at([LEAF, SWITCH]) == moment
    assert site.leaf_now() not in ("passing", "reading 1")
    assert site.sight.retry_at([LEAF, SWITCH]) is None
    site.clock.advance(500)
    site.look()
    assert site.sight.retry_at([LEAF, SWITCH]) is None


def test_a_leaf_whose_answers_are_never_of_use_is_shown_too(site: Site) -> None:
    site.look()
    site.until(5.5)
    assert site.leaf_now() == "reading 1"
    site.leaf.meanwhile = lambda: site.sight.written(LEAF)
    site.sight.written(LEAF)
    seen = {}
    while site.clock.now < 140:
        site.clock.advance(1.0)
        seen[site.clock.now] = site.leaf_now()
    assert {s for at, s in seen.items() if at < 120} == {"passing"}
    assert {s for at, s in seen.items() if at > 130} == {"nothing newer than 120 s is known of it"}


def test_a_write_that_nobody_waits_for_makes_a_leaf_unknown_until_it_ends_and_it_is_read_after_that(site: Site) -> None:
    site.leaf.takes = 0.2
    heard = []
    site.sight.late = lambda target, since: heard.append(target)
    site.look()
    site.sight.left_alone(LEAF, 1.0)
    assert site.leaf_now() == "passing"
    site.clock.advance(10)
    assert site.leaf_now() == "what was written there last has not been answered yet"
    assert not heard
    site.sight.written(LEAF)
    assert heard == [LEAF]
    assert site.leaf_now() == "reading 2"
    assert site.sight.writes_slowly(LEAF)


def test_a_leaf_that_hung_once_and_was_quick_since_is_shown_soon_when_it_hangs_again(site: Site) -> None:
    site.leaf.takes = 0.2
    site.look()
    site.sight.left_alone(LEAF, 1.0)
    site.clock.advance(300)
    site.sight.written(LEAF)
    site.look()
    site.sight.writing(LEAF, [])
    site.sight.written(LEAF)
    site.look()
    assert not site.sight.writes_slowly(LEAF)
    site.sight.left_alone(LEAF, 1.0)
    site.clock.advance(10)
    assert site.leaf_now() == "what was written there last has not been answered yet"


def test_a_far_side_that_does_not_stand_apart_is_shown_at_once_when_a_write_hangs_and_makes_no_look_old(
    site: Site,
) -> None:
    """An appliance was waited for already, as long as one is; what was seen of others is of now."""
    site.leaf.takes = 0.2
    site.look()
    site.sight.left_alone(SWITCH, 10.0)
    site.clock.advance(300)
    site.sight.written(SWITCH)
    before = site.look().since
    site.sight.left_alone(SWITCH, 10.0)
    seen = site.look()
    assert shown(seen.targets[SWITCH]) == "what was written there last has not been answered yet"
    assert seen.since >= before
