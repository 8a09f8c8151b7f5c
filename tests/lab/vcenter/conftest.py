"""One simulator per test file, one session per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.vcenter import Dvs, Host, Member, Nic, NotBuilt, Overrides, Pnic, PortGroup, Simulator, Topology, Vm, binary
from tests.lab.vcenter.client import Client

HOSTS = ("esx1.lab", "esx2.lab", "esx3.lab")

TOPOLOGY = Topology.single(
    hosts=[Host(name, pnics=(Pnic("vmnic0"), Pnic("vmnic1"), Pnic("vmnic2"))) for name in HOSTS],
    switches=[
        Dvs("tenant", (PortGroup("red", overrides=Overrides(vlan=True)), PortGroup("blue", vlan=20))),
        Dvs(
            "uplink",
            uplinks=("uplink1", "uplink2"),
            mtu=9000,
            uplink_vlans=((100, 199),),
            members=tuple(Member(name, ("vmnic1",)) for name in HOSTS),
        ),
    ],
    vms=[Vm("resident", "esx1.lab", (Nic("red", mac="00:50:56:00:00:01"),))],
)


@pytest.fixture(scope="module")
def vcenter() -> Iterator[Simulator]:
    try:
        binary()
    except NotBuilt as missing:
        pytest.skip(str(missing))
    with Simulator(TOPOLOGY, migrate_ms=100) as simulator:
        yield simulator


@pytest.fixture
def client(vcenter: Simulator) -> Iterator[Client]:
    session = Client(vcenter)
    yield session
    session.close()


@pytest.fixture
def other_client(vcenter: Simulator) -> Iterator[Client]:
    session = Client(vcenter)
    yield session
    session.close()
