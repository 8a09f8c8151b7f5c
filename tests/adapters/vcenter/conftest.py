"""A small vCenter for each test that asks for one: it starts in a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.vcenter import Dvs, Member, Nic, Overrides, PortGroup, Topology, Trunk, Vm
from tests.adapters.vcenter.bench import Bench, running

HOSTS = ("esx1", "esx2", "esx3")
TOPOLOGY = Topology.single(
    HOSTS,
    [
        Dvs(
            "tenant",
            (
                PortGroup("red", blocked=True, overrides=Overrides(vlan=True)),
                PortGroup("blue", blocked=True, overrides=Overrides(vlan=True)),
                PortGroup("half-trunk", vlan=Trunk(((0, 150),))),
            ),
        ),
        Dvs(
            "uplink",
            uplinks=("uplink1",),
            uplink_vlans=((100, 199), (300, 300)),
            mtu=9000,
            members=tuple(Member(host, ("vmnic1",)) for host in HOSTS),
        ),
    ],
    [
        Vm("a", "esx1", (Nic("red", mac="00:50:56:00:00:0a"),)),
        Vm("b", "esx2", (Nic("red", mac="00:50:56:00:00:0b"),)),
        Vm("lone", "esx3", (Nic("blue", mac="00:50:56:00:00:0c"),)),
    ],
)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running(TOPOLOGY, migrate_ms=300) as made:
        yield made
