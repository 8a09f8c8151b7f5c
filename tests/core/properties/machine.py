"""The rules by which hypothesis tells histories, and how many it tells.

ISTHMUS_PROPERTIES = quick (some seconds for all designs), fixed (for `make test`) or deep (an hour).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.core.properties.history import HOSTS, NETWORKS, VMS, History, Setting

PROFILE = os.environ.get("ISTHMUS_PROPERTIES", "fixed")
EXAMPLES = {"quick": 3, "fixed": 40, "deep": 2000}
STEPS = {"quick": 40, "fixed": 60, "deep": 120}

networks = st.sampled_from(sorted(NETWORKS))
hosts = st.sampled_from(HOSTS)
vms = st.sampled_from(VMS)
small = st.integers(0, 7)
vids = st.integers(10, 15)


def settings_of(profile: str, *, shrink: bool = True, examples: int | None = None) -> settings:
    """Bounded, derandomized settings for one test."""
    phases = (Phase.explicit, Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    return settings(
        max_examples=examples or EXAMPLES[profile],
        stateful_step_count=STEPS[profile],
        derandomize=profile != "deep",
        database=None,
        deadline=None,
        phases=phases,
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
            for name in ("red", "blue"):
                self.history.add_network(name)
            self.history.settle()

        @rule(name=networks, listed=st.booleans())
        def add_network(self, name: str, listed: bool) -> None:
            self.history.add_network(name, ports_listed=listed)

        @rule(name=networks)
        def remove_network(self, name: str) -> None:
            self.history.remove_network(name)

        @rule(name=vms, host=hosts, network=networks, on=st.booleans())
        def boot(self, name: str, host: str, network: str, on: bool) -> None:
            self.history.boot(name, host, network, powered_on=on)

        @rule(name=vms, host=hosts, network=networks)
        def boot_running(self, name: str, host: str, network: str) -> None:
            self.history.boot(name, host, network)

        @rule(name=vms)
        def destroy(self, name: str) -> None:
            self.history.destroy(name)

        @rule(name=vms, on=st.booleans())
        def power(self, name: str, on: bool) -> None:
            self.history.power(name, on)

        @rule(name=vms, connected=st.booleans())
        def connect(self, name: str, connected: bool) -> None:
            self.history.connect(name, connected)

        @rule(name=vms, up=st.booleans())
        def admin(self, name: str, up: bool) -> None:
            self.history.admin(name, up)

        @rule(name=vms, network=networks)
        def replug(self, name: str, network: str) -> None:
            self.history.replug(name, network)

        @rule(name=vms, copy=vms, same=st.booleans())
        def clone(self, name: str, copy: str, same: bool) -> None:
            self.history.clone(name, copy, same_mac=same)

        @rule(name=vms, to=hosts)
        def move(self, name: str, to: str) -> None:
            self.history.move(name, to)

        @rule(name=vms, to=hosts)
        def announce(self, name: str, to: str) -> None:
            self.history.announce(name, to)

        @rule(name=vms, well=st.booleans())
        def end_move(self, name: str, well: bool) -> None:
            self.history.end_move(name, well=well)

        @rule(vid=vids, host=hosts, with_vm=st.booleans())
        def add_foreign(self, vid: int, host: str, with_vm: bool) -> None:
            self.history.add_foreign(vid, host, with_vm=with_vm)

        @precondition(lambda self: setting.meddling)
        @rule(index=small, vid=vids, opened=st.booleans())
        def retag_by_hand(self, index: int, vid: int, opened: bool) -> None:
            self.history.retag_by_hand(index, vid, opened=opened)

        @rule(index=small)
        def lose_nve(self, index: int) -> None:
            self.history.lose_nve(index)

        @rule(which=small, kind=st.sampled_from(["down", "lost answer", "partial"]))
        def break_far_side(self, which: int, kind: str) -> None:
            self.history.break_far_side(which, kind)

        @rule()
        def heal(self) -> None:
            self.history.heal()

        @rule()
        def lag(self) -> None:
            self.history.lag()

        @rule(index=small)
        def think(self, index: int) -> None:
            self.history.think(index)

        @rule(choices=st.lists(st.tuples(small, small), min_size=1, max_size=6))
        def act(self, choices: list[tuple[int, int]]) -> None:
            for index, choice in choices:
                if self.history.act(index, choice):
                    self.history.check()

        @rule(index=small, choices=st.lists(st.tuples(small, small), max_size=6))
        def think_and_act(self, index: int, choices: list[tuple[int, int]]) -> None:
            self.history.think(index)
            self.act(choices)

        @rule(index=small)
        def crash(self, index: int) -> None:
            self.history.crash(index)

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
