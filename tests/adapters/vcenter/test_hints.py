"""How long hosts that hang may keep us from hearing the others, and when nobody is waited for any longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from isthmus.adapters.vcenter import Vcenter
from isthmus.adapters.vcenter.hints import HANGING
from isthmus.model.faults import Unreachable
from isthmus.model.names import HostId
from lab.vcenter import Hang, Host, Neighbour, Pnic, Topology
from tests.adapters.vcenter.bench import Bench, running

pytestmark = pytest.mark.sim
NAMES = tuple(f"esx{number}" for number in range(HANGING + 2))


@pytest.fixture
def bench() -> Iterator[Bench]:
    hosts = [Host(name, pnics=(Pnic("vmnic0", neighbour=Neighbour("leaf1", name)),)) for name in NAMES]
    with running(Topology.single(hosts)) as made:
        yield made


def ports_heard(bench: Bench, vcenter: Vcenter, *, hanging: int) -> set[str]:
    """The ports that hosts hear while so many of them hang."""
    ids = [host.id for host in bench.vcenter.ground(set(NAMES), set()).hosts]
    with ExitStack() as rules:
        for name in NAMES[:hanging]:
            rules.enter_context(bench.simulator.faults.during(Hang(), method="QueryNetworkHint", host=name))
        heard = vcenter.neighbours(frozenset((HostId(host), "vmnic0") for host in ids))
    return {nics["vmnic0"].ports[0] for nics in heard.values()}


def test_a_few_hosts_that_hang_keep_nobody_else_from_being_heard_and_more_than_a_few_are_given_up(
    bench: Bench,
) -> None:
    impatient = bench.again(timeout=0.5)
    try:
        assert ports_heard(bench, impatient, hanging=0) == set(NAMES)
        assert ports_heard(bench, impatient, hanging=HANGING) == set(NAMES[HANGING:])
        with pytest.raises(Unreachable):
            ports_heard(bench, impatient, hanging=HANGING + 1)
    finally:
        impatient.close()
