"""The rules by which hypothesis tells histories, and how many it tells.

ISTHMUS_PROPERTIES = quick (some seconds for all designs), fixed (for `make test`) or deep (an hour).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import Random

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.core.properties.history import History
from tests.core.properties.setting import HOSTS, NETWORKS, Setting

PROFILE = os.environ.get("ISTHMUS_PROPERTIES", "fixed")
EXAMPLES = {"quick": 2, "fixed": 20, "deep": 1000}
CHAPTERS = {"quick": 4, "fixed": 6, "deep": 10}
CHAPTER = 16
"""So many steps at most."""

# What happens more often stands more often.  Moves and boots make histories; the rest make them hard.
LIFE = (
    *("boot",) * 4,
    *("move",) * 3,
    *("destroy",) * 3,
    *("replug",) * 2,
    *("announce",) * 2,
    *("end_move",) * 2,
    "power",
    "connect",
    "admin",
    "clone",
    *("add_network",) * 3,
    *("remove_network",) * 2,
    *("add_foreign",) * 2,
    "retag_by_hand",
)
TROUBLE = (*("heal",) * 3, *("down",) * 2, "lost answer", "partial", "lag", "lose_nve", "crash")

LOOPS = (*("think",) * 8, *("act",) * 8, *("go round",) * 10, "settle")
STEPS_OF_ALL_KINDS = (*LOOPS, *LIFE, *TROUBLE)
CROWD = (
    "go round",
    "think",
    "think",
    "think",
    "act",
    "act",
    "power",
    "power",
    "boot",
    "boot",
    "destroy",
    "move",
    "down",
)

number = st.integers(0, 11)


def settings_of(profile: str, *, shrink: bool = True, examples: int | None = None) -> settings:
    """Bounded, derandomized settings for one test."""
    return settings(
        max_examples=examples or EXAMPLES[profile],
        stateful_step_count=CHAPTERS[profile],
        derandomize=profile != "deep",
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def tell(setting: Setting, chosen: settings) -> None:
    """Tell histories of one setting; raises at the first that breaks a law."""
    run_state_machine_as_test(machine_of(setting), settings=chosen)


def take_step(history: History, dice: Random, steps: Sequence[str]) -> None:
    """One step of a history: something happens, breaks, is thought, or is done."""
    step, who, which = dice.choice(steps), dice.randrange(12), dice.randrange(12)
    match step:
        case "think":
            history.think(who)
            for choice in range(which % 4):
                history.act(who + choice, which)
                history.check()
        case "act":
            history.act(who, which)
        case "go round":
            for _ in range(1 + which % 3):
                history.think(who)
                history.finish(who)
        case "settle":
            history.settle()
            history.check_at_rest()
        case _ if step in TROUBLE:
            history.suffer(step, which)
        case _:
            history.live(step, who, which, yes=dice.random() < 0.5)
            if dice.random() < 0.6:
                history.wake()


def machine_of(setting: Setting) -> type[RuleBasedStateMachine]:
    """The state machine of one setting."""

    steps = CROWD if setting.crowded else STEPS_OF_ALL_KINDS

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.history = History(setting)

        @initialize(running=st.lists(st.tuples(st.sampled_from(HOSTS), number), min_size=2, max_size=4))
        def begin(self, running: list[tuple[str, int]]) -> None:
            for name in NETWORKS if setting.crowded else ("red", "blue"):
                self.history.add_network(name)
            self.history.settle()
            for host, which in running:
                self.history.boot(host, which)
            self.history.settle()

        # Chapters, not single steps: hypothesis draws few values and favours some, which makes for thin histories;
        # dice thrown from one drawn number make them dense, and it still shrinks to few and short chapters.
        @rule(seed=st.integers(0, 2**32 - 1), length=st.integers(1, CHAPTER))
        def chapter(self, seed: int, length: int) -> None:
            dice = Random(seed)
            for _ in range(length):
                take_step(self.history, dice, steps)
                self.history.check()

        @invariant()
        def isolated(self) -> None:
            self.history.check()

        def teardown(self) -> None:
            self.history.end()

    Machine.__name__ = f"histories of {setting.design.name}"
    return Machine
