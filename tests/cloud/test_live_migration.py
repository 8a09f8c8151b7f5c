"""VMs that Nova would move to another rack alive: refused, rolled back, carried out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.netns.stage import until
from lab.openstack.live_move import LiveMove
from lab.openstack.retiring import Left, forgotten
from lab.openstack.site import KVM, Site, Vm

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(400)]
Moving = tuple[LiveMove, Vm]
HERE, THERE = "esx1.lab", "esx3.lab"


@pytest.fixture(scope="module")
def allowed(cloud: Site) -> Iterator[None]:
    """Neutron lets VMs be moved between switches."""
    cloud.neutron.move_between_switches(True)
    yield
    cloud.neutron.move_between_switches(False)


@pytest.fixture
def moving(cloud: Site, request: pytest.FixtureRequest) -> Moving:
    """A VM that is alone of its network in its rack, and another on the KVM host."""
    name = request.node.name[5:20].strip("_")
    network = cloud.network(name, "10.0.0.0/24")
    vm, peer = cloud.vm(f"{name}-a", network, HERE), cloud.vm(f"{name}-k", network, KVM)
    assert until(lambda: cloud.are_active(vm, peer), 60) is not None
    assert until(lambda: peer.guest.reaches(vm.address, 0.5), 40) is not None
    return LiveMove(cloud, vm, network, cloud.rack_of(HERE), cloud.rack_of(THERE)), peer


def test_refused_before_it_begins_unless_switched_on_and_nothing_of_it_stays(cloud: Site, moving: Moving) -> None:
    move, _ = moving
    before = cloud.taken_vlans(move.target)
    assert move.refused() == (
        f"port {move.vm.port} is not bound on host compute-2: its VM runs on compute-1, "
        "and Nova would move it with its port group there, which compute-2 does not have"
    )
    assert cloud.rest.bindings(move.vm.port) == {"compute-1": "ACTIVE"}
    assert cloud.are_active(move.vm)
    assert cloud.admin.vm(move.vm.guest.name).runtime.host.name == HERE
    (vid,) = cloud.taken_vlans(move.target) - before
    assert forgotten([Left(cloud, move.network, move.target, vid)]) is not None


def test_rolled_back_it_leaks_nothing_and_no_ping_is_lost(cloud: Site, allowed: None, moving: Moving) -> None:
    move, peer = moving
    vid = move.vid(move.source)
    binding = move.bind()
    assert (binding["status"], binding["vif_type"]) == ("INACTIVE", "dvs")
    assert until(move.is_ready) is not None
    there = Left(cloud, move.network, move.target, move.vid(move.target) or 0)
    ping = peer.guest.keep_pinging(move.vm.address)
    move.announce()
    move.roll_back()
    assert forgotten([there]) is not None
    assert there.outlived == set()
    assert (pings := ping.stop()).all_answered, str(pings)
    assert cloud.rest.bindings(move.vm.port) == {"compute-1": "ACTIVE"}
    assert cloud.are_active(move.vm)
    assert move.vid(move.source) == vid


def test_carried_out_it_is_ready_before_and_the_source_goes_after_its_vlan_last(
    cloud: Site, allowed: None, moving: Moving
) -> None:
    move, peer = moving
    here = Left(cloud, move.network, move.source, move.vid(move.source) or 0)
    binding = move.bind()
    assert until(move.is_ready) is not None
    assert not here.is_forgotten()
    move.announce()
    move.go(THERE, binding)
    assert cloud.admin.vid_of(move.vm.guest.name) == move.vid(move.target)
    assert until(lambda: peer.guest.reaches(move.vm.address, 0.5), 20) is not None
    assert not here.is_forgotten(), "as long as a binding refers to it"
    move.arrived()
    assert until(lambda: cloud.are_active(move.vm), 30) is not None
    assert forgotten([here]) is not None
    assert here.outlived == set()
    assert cloud.rest.bindings(move.vm.port) == {"compute-2": "ACTIVE"}
    assert peer.guest.ping(move.vm.address).all_answered
