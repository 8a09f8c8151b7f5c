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
TROUBLE = (*("heal",) * 3, "down", "lost answer", "partial", "lag", "lose_nve", "crash")

LOOPS = (*("think",) * 8, *("act",) * 8, *("go round",) * 10, "settle")
STEPS_OF_ALL_KINDS = (*LIFE, *LOOPS, *TROUBLE)

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

        # One rule, so that no kind of step crowds out the others: hypothesis leaves whole rules out of an example.
        @rule(step=st.sampled_from(STEPS_OF_ALL_KINDS), who=number, which=number, yes=st.booleans())
        def step(self, step: str, who: int, which: int, yes: bool) -> None:
            match step:
                case "think":
                    self.history.think(who)
                    for choice in range(which % 4):
                        self.history.act(who + choice, which)
                        self.history.check()
                case "act":
                    self.history.act(who, which)
                case "go round":
                    for _ in range(1 + which % 3):
                        self.history.think(who)
                        self.history.finish(who)
                case "settle":
                    self.history.settle()
                    self.history.check_at_rest()
                case _ if step in TROUBLE:
                    self.history.suffer(step, which)
                case _:
                    self.history.live(step, who, which, yes=yes)

        @invariant()
        def isolated(self) -> None:
            self.history.check()

        def teardown(self) -> None:
            self.history.end()

    Machine.__name__ = f"histories of {setting.design.name}"
    return Machine
