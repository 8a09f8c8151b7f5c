from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.contrail.api_server import ApiServer
from lab.contrail.client import Client


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer(watch_keep_alive=0.2) as server:
        yield server


@pytest.fixture
def client(server: ApiServer) -> Client:
    """With a project and its network `red`."""
    made = Client(server.url)
    made.project()
    made.network()
    return made
