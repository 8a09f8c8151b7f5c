"""While a far side of the contrail design is down, hung or slow, or starts anew: what runs is not touched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from lab.contrail.vrouter_agent import HANG, Trouble, slow
from lab.vcenter.faults import Delay, Hang, Unavailable, What
from tests.app.contrail_site import VMI, A, B, Site, contrail_site
from tests.app.leaf_site import until

pytestmark = pytest.mark.sim
C = "5011aabb-0000-4000-8000-000000000003"
ALL_THE_WHILE = 3.0
"""Seconds that a far side is in trouble after all was asked for."""
Outage: TypeAlias = Callable[[Site], AbstractContextManager[None]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path) as made:
        yield made


@contextmanager
def server_away(site: Site) -> Iterator[None]:
    site.server.stop()
    yield
    site.server.start()


@contextmanager
def server_anew(site: Site) -> Iterator[None]:
    site.server.stop()
    site.server.start()
    yield


@contextmanager
def server_hangs(site: Site) -> Iterator[None]:
    site.server.faults.hang()
    try:
        yield
    finally:
        site.server.faults.thaw()


@contextmanager
def server_writes_hang(site: Site) -> Iterator[None]:
    site.server.faults.freeze_writes()
    try:
        yield
    finally:
        site.server.faults.thaw()


@contextmanager
def server_slow(site: Site) -> Iterator[None]:
    site.server.faults.slowness = 1.0
    yield
    site.server.faults.slowness = 0.0


@contextmanager
def agent_away(site: Site) -> Iterator[None]:
    site.agents["esx1.lab"].stop()
    yield
    site.agents["esx1.lab"].start()


@contextmanager
def agent_deployed_anew(site: Site) -> Iterator[None]:
    site.agents["esx1.lab"].stop()
    yield
    site.agents["esx1.lab"].start(with_files=False)


def agent_in(trouble: Trouble) -> Outage:
    @contextmanager
    def during(site: Site) -> Iterator[None]:
        site.agents["esx1.lab"].trouble = trouble
        yield
        site.agents["esx1.lab"].trouble = None

    return during


def vcenter_in(what: What, *methods: str) -> Outage:
    @contextmanager
    def during(site: Site) -> Iterator[None]:
        with ExitStack() as rules:
            for method in methods:
                rules.enter_context(site.vcenter.faults.during(what, method=method))
            yield

    return during


PORTS = ("FetchDVPorts", "ReconfigureDVPort_Task")
"""What isthmus asks of vCenter, and who boots VMs does not."""
STOPS: dict[str, Outage] = {
    "the api-server is away": server_away,
    "the api-server hangs": server_hangs,
    "the api-server's writes hang": server_writes_hang,
    "the agent is away": agent_away,
    "the agent is deployed anew": agent_deployed_anew,
    "the agent hangs": agent_in(HANG),
    "vCenter hangs": vcenter_in(Hang(), *PORTS),
    "vCenter throttles": vcenter_in(Unavailable(1), *PORTS),
}
"""While it lasts nobody new on that host can be served."""
DELAYS: dict[str, Outage] = {
    "the api-server starts anew": server_anew,
    "the api-server is slow": server_slow,
    "the agent is slow": agent_in(slow(1.0)),
    "vCenter is slow": vcenter_in(Delay(1000), *PORTS),
}
OUTAGES = STOPS | DELAYS


def of_a(site: Site) -> dict[str, Any]:
    """What was ever done to its port, on all sides."""
    (port,) = (port.vmi for port in site.agents["esx1.lab"].ports.values() if port.vm == A)
    return {
        "written": site.admin.dv_port("a")[1].config.configVersion,
        "made": site.client.read(VMI, port)["id_perms"]["created"],
        "unplugged": site.agents["esx1.lab"].told(port).count("unplug"),
    }


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_what_runs_is_not_touched_and_what_waited_is_done_when_it_is_over(site: Site, outage: Outage) -> None:
    site.boot("a", A, "esx1.lab")
    site.boot("c", C, "esx2.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab") and site.is_wired("c", C, "esx2.lab"))
    before = of_a(site)
    with outage(site):
        site.boot("b", B, "esx1.lab")
        site.admin.destroy("c")
        time.sleep(ALL_THE_WHILE)
        assert B not in site.vids("esx1.lab") or outage in DELAYS.values()
    until(lambda: site.is_wired("b", B, "esx1.lab"), 90)
    until(lambda: len(site.there(VMI)) == 2 and C not in site.there("virtual-machine"), 90)
    until(lambda: site.vids("esx2.lab") == {} and site.is_wired("a", A, "esx1.lab"), 90)
    until(lambda: not site.conditions(), 90)
    after = of_a(site)
    if outage is agent_deployed_anew:  # it has to be told again
        before["unplugged"] = after["unplugged"]
    assert after == before
    assert len(set(site.vids("esx1.lab").values())) == 2
