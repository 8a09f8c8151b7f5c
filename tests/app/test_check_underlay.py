"""What `check` says of the ways between VTEPs: one that is too narrow, or has nobody at its end, loses frames."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from isthmus.app import check_underlay
from isthmus.app.check import _beyond
from isthmus.app.check_underlay import room
from isthmus.app.config import DeploymentConfig
from isthmus.app.finding import Level
from isthmus.model.intent import Intent, Network, Peer
from isthmus.model.names import NetworkId
from isthmus.model.tags import Vni

HERE, OTHER, KVM, GONE = "192.0.2.1", "192.0.2.2", "192.0.2.21", "192.0.2.99"
RED, BLUE = NetworkId("red"), NetworkId("blue")
DEPLOYMENT = DeploymentConfig.model_validate(
    {
        "design": "ovsvapp",
        "dvs": "tenant",
        "serve": "esx1",
        "appliance": {"trunk": "trunk0"},
        "host": {"esx1": {"vtep": HERE}, "esx2": {"vtep": OTHER}},
    }
)


def test_a_vtep_outside_vsphere_that_answers_no_ping_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(vtep: str, peers: Collection[str], sizes: Collection[int]) -> set[tuple[str, int]]:
        return {(peer, size) for peer in peers for size in sizes if peer != GONE}

    monkeypatch.setattr(check_underlay, "mtu_between", lambda here, there: 1600)
    monkeypatch.setattr(check_underlay, "answered", asked)
    (found,) = room("deployment.lab", DEPLOYMENT, 1500, {KVM, GONE})
    assert found.level is Level.WARNING
    assert f"no answer to a ping from {GONE}," in found.what
    (found,) = room("deployment.lab", DEPLOYMENT, 1500, {KVM})
    assert (found.level, found.what) == (Level.GOOD, "packets of 1550 bytes reach all other VTEPs (2)")


@pytest.mark.parametrize(("narrowest", "level"), [(1549, Level.ERROR), (1550, Level.GOOD)])
def test_a_path_that_is_narrower_than_the_networks_and_their_encapsulation_is_an_error(
    monkeypatch: pytest.MonkeyPatch, narrowest: int, level: Level
) -> None:
    """Of several paths the narrowest counts; what the kernel knows already need not be tried."""
    paths = {OTHER: 9000, KVM: narrowest}
    monkeypatch.setattr(check_underlay, "mtu_between", lambda here, there: paths[there])
    monkeypatch.setattr(check_underlay, "answered", lambda here, peers, sizes: {(p, s) for p in peers for s in sizes})
    (found,) = room("deployment.lab", DEPLOYMENT, 1500, {KVM})
    assert (found.level, found.place) == (level, f"deployment.lab: VTEP {HERE}")
    if level is Level.ERROR:
        assert found.what == f"the underlay takes packets of {narrowest} bytes, the networks need 1500 + 50"
        assert found.remedy == "raise the MTU of the underlay to 1550 or more, or lower the networks'"


def test_a_path_that_loses_large_packets_only_is_an_error_and_named_by_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch on the way drops them, and says so to nobody."""
    monkeypatch.setattr(check_underlay, "mtu_between", lambda here, there: 1600)
    monkeypatch.setattr(check_underlay, "answered", lambda here, peers, sizes: {(OTHER, 1550), (OTHER, 68), (KVM, 68)})
    (found,) = room("deployment.lab", DEPLOYMENT, 1500, {KVM})
    assert found.level is Level.ERROR
    assert found.what == f"packets of 1550 bytes get lost on the way to {KVM} or back, small ones do not"


def test_vteps_of_networks_that_have_no_place_in_a_deployment_are_not_its_business() -> None:
    networks = {
        RED: Network(RED, Vni(5000), only_assigned=True, wanted_in=frozenset({"lab"})),
        BLUE: Network(BLUE, Vni(5001), only_assigned=True),
    }
    assert _beyond("lab", Intent(networks, peers=(Peer(RED, KVM), Peer(BLUE, GONE)))) == {KVM}
