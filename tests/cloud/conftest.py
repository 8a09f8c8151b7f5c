"""One site for all these tests; where a piece of it is missing they are skipped, and say which."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab.openstack import preflight
from lab.openstack.site import Site, site


@pytest.fixture(scope="session")
def cloud() -> Iterator[Site]:
    advice = preflight.missing()
    if advice:
        pytest.skip("; ".join(advice))
    with site(f"c{os.getpid()}") as made:
        yield made
        print(made.logs())
