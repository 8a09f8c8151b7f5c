"""The rules by which hypothesis tells histories, and how many it tells.

ISTHMUS_PROPERTIES = quick (some seconds for all designs), fixed (for `make test`) or deep (an hour).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.core.properties.history import HOSTS, History, Setting

PROFILE = os.environ.get("ISTHMUS_PROPERTIES", "fixed")
EXAMPLES = {"quick": 2, "fixed": 20, "deep": 1000}
STEPS = {"quick": 40, "fixed": 60, "deep": 100}

# What happens more often stands more often.  Moves and boots make histories; the rest make them hard.
LIFE = (
    *("boot",) * 5,
    *("move",) * 3,
    *("destroy",) * 3,
    *("replug",) * 2,
    *("announce",) * 2,
    *("end_move",) * 2,
    "power",
    "connect",
    "admin",
    "clone",
    "add_network",
    "remove_network",
    "add_foreign",
    "retag_by_hand",
)
TROUBLE = (*("down",) * 3, "lost answer", "partial", *("heal",) * 2, "lag", "lose_nve", "crash")

number = st.integers(0, 11)


def settings_of(profile: str, *, shrink: bool = True, examples: int | None = None) -> settings:
    """Bounded, derandomized settings for one test."""
    return settings(
        max_examples=examples or EXAMPLES[profile],
        stateful_step_count=STEPS[profile],
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


def machine_of(setting: Setting) -> type[RuleBasedStateMachine]:
    """The state machine of one setting."""

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.history = History(setting)

        @initialize(running=st.lists(st.tuples(st.sampled_from(HOSTS), number), max_size=4))
        def begin(self, running: list[tuple[str, int]]) -> None:
            for name in ("red", "blue", "green"):
                self.history.add_network(name)
            self.history.settle()
            for host, which in running:
                self.history.boot(host, which)
            self.history.settle()

        @rule(deed=st.sampled_from(LIFE), who=number, which=number, yes=st.booleans())
        def live(self, deed: str, who: int, which: int, yes: bool) -> None:
            self.history.live(deed, who, which, yes=yes)

        @rule(loop=number, acts=st.lists(st.tuples(number, number), max_size=8))
        def think(self, loop: int, acts: list[tuple[int, int]]) -> None:
            self.history.think(loop)
            for errand, choice in acts:
                self.history.act(errand, choice)
                self.history.check()

        @rule(loop=number, rounds=st.integers(1, 3))
        def go_round(self, loop: int, rounds: int) -> None:
            for _ in range(rounds):
                self.history.think(loop)
                self.history.finish(loop)

        @rule(trouble=st.sampled_from(TROUBLE), which=number)
        def suffer(self, trouble: str, which: int) -> None:
            self.history.suffer(trouble, which)

        @rule()
        def settle(self) -> None:
            self.history.settle()
            self.history.check_at_rest()

        @invariant()
        def isolated(self) -> None:
            self.history.check()

        def teardown(self) -> None:
            self.history.end()

    Machine.__name__ = f"histories of {setting.design.name}"
    return Machine
