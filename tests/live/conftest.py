"""One small world for the live tests of a module; without root or Open vSwitch they are skipped, and say why."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.netns import preflight
from lab.netns.layout import Layout
from lab.netns.world import World, world

TWO_HOSTS = Layout(hosts=("esx1.lab", "esx2.lab"))


@pytest.fixture(scope="session")
def machine() -> None:
    """A machine on which a world can come up."""
    advice = preflight.missing()
    if advice:
        pytest.skip("; ".join(advice))


@pytest.fixture(scope="module")
def two_hosts(machine: None) -> Iterator[World]:
    with world(f"t{os.getpid()}", TWO_HOSTS) as made:
        yield made
