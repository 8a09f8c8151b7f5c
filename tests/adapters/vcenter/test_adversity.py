"""A vCenter that expires, throttles, hangs up, stalls its events or loses a host: never empty, never for long."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from isthmus.adapters.vcenter.switch import Switch
from isthmus.model.faults import Retry
from isthmus.model.inventory import Inventory
from isthmus.model.observed import SwitchMirror
from lab.vcenter import Drop, Fault, Unavailable
from tests.adapters.vcenter.bench import Bench, eventually

pytestmark = pytest.mark.sim


@pytest.fixture
def switch(bench: Bench) -> Switch:
    return bench.vcenter.switch("tenant")


def tried(read: Callable[[], object]) -> object | None:
    """What was read; None if it could not be."""
    try:
        return read()
    except Retry:
        return None


def same(before: Inventory, after: object) -> bool:
    return isinstance(after, Inventory) and (after.hosts, after.switches, after.nics) == (
        before.hosts,
        before.switches,
        before.nics,
    )


@pytest.mark.parametrize("watched", [False, True], ids=["asked", "watched"])
def test_a_session_that_expired_without_a_word_never_looks_empty(bench: Bench, switch: Switch, watched: bool) -> None:
    if watched:
        bench.vcenter.inventory.watch(lambda hosts: None)
    inventory, mirror = bench.vcenter.inventory.read(), switch.observe()
    assert inventory.nics
    assert mirror.port_groups
    for _ in range(3):
        assert bench.simulator.sessions.hollow()
        seen = [(tried(switch.observe), tried(bench.vcenter.inventory.read)) for _ in range(5)]
        assert all(found in (None, mirror) for found, _ in seen)
        assert all(found is None or same(inventory, found) for _, found in seen)
        assert eventually(lambda: tried(switch.observe) == mirror)
        assert eventually(lambda: same(inventory, tried(bench.vcenter.inventory.read)))


SPOILT = {
    "throttled": Unavailable(retry_after=1),
    "hung up on": Drop(),
    "a fault of the server": Fault.of("SystemError", reason="out of luck"),
}


@pytest.mark.parametrize("what", SPOILT.values(), ids=SPOILT.keys())
def test_reads_that_are_spoilt_now_and_then_are_whole_or_failed(bench: Bench, switch: Switch, what: object) -> None:
    inventory, mirror = bench.vcenter.inventory.read(), switch.observe()
    with bench.simulator.faults.during(what, probability=0.4):  # type: ignore[arg-type]
        for _ in range(25):
            seen = tried(switch.observe)
            assert seen in (None, mirror)
            found = tried(bench.vcenter.inventory.read)
            assert found is None or same(inventory, found)
    assert eventually(lambda: tried(switch.observe) == mirror)
    assert eventually(lambda: same(inventory, tried(bench.vcenter.inventory.read)))


def test_a_host_that_vcenter_lost_is_disconnected_and_its_vms_stay(bench: Bench, switch: Switch) -> None:
    before, mirror = bench.vcenter.inventory.read(), switch.observe()
    [lost] = [host for host in before.hosts.values() if host.name == "esx1"]
    bench.simulator.hosts.lose("esx1")
    assert eventually(lambda: not bench.vcenter.inventory.read().hosts[lost.id].connected)
    assert bench.vcenter.inventory.read().nics == before.nics
    assert isinstance(mirror, SwitchMirror)
    assert switch.observe().ports.keys() == mirror.ports.keys()
    bench.simulator.hosts.find("esx1")
    assert eventually(lambda: bench.vcenter.inventory.read().hosts[lost.id].connected)


def test_a_move_is_followed_though_every_event_is_lost(bench: Bench) -> None:
    woken = threading.Event()
    [red] = [
        group.key for group in bench.vcenter.switch("tenant").observe().port_groups.values() if group.name == "red"
    ]
    nic = bench.operator.make_vm("wanderer", "esx1", red)
    bench.vcenter.inventory.watch(lambda hosts: woken.set())
    bench.vcenter.inventory.read()
    bench.simulator.events.lose()
    wanderer = bench.operator.vm(nic)
    bench.operator.move(wanderer, "esx2")
    [there] = [host.id for host in bench.vcenter.inventory.read().hosts.values() if host.name == "esx2"]
    assert eventually(lambda: bench.vcenter.inventory.read().nics[nic].host == there)
    assert woken.is_set()
