"""Nova and Neutron give options of the same names to one registry: a process has room for one of them.

So these tests run on their own, `pytest -m openstack tests/nova`, and are no part of a run of anything more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    named = (Path(argument.split("::")[0]).resolve() for argument in config.args)
    return None if all(HERE in (path, *path.parents) for path in named) else True
