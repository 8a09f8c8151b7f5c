"""Parts of a cloud that end and come again, and VMs that move between racks: who talks meanwhile, and afterwards."""

from __future__ import annotations

import pytest

from lab.netns.stage import until
from lab.openstack.machines import OVS_AGENT
from lab.openstack.site import KVM, Site, Vm
from tests.cloud.talking import talks

pytestmark = [pytest.mark.openstack, pytest.mark.live_long, pytest.mark.timeout(300)]
SUBNET = "10.0.0.0/24"


@pytest.fixture
def three(cloud: Site, request: pytest.FixtureRequest) -> tuple[str, Vm, Vm, Vm]:
    """A network named after the test, with a VM below each leaf and one on the KVM host."""
    name = request.node.name[5:20].strip("_")
    network = cloud.network(name, SUBNET)
    a, b, k = (cloud.vm(f"{name}-{host[:4]}", network, host) for host in ("esx1.lab", "esx3.lab", KVM))
    assert until(lambda: cloud.are_active(a, b, k), 60) is not None
    assert talks(a, b)
    assert talks(k, a)
    return network, a, b, k


def test_isthmus_killed_stops_no_traffic_and_makes_up_for_what_it_missed(
    cloud: Site, three: tuple[str, Vm, Vm, Vm]
) -> None:
    _, a, b, k = three
    passing = cloud.network("passing soon")
    last = cloud.rest.port(passing, "compute-1")
    assert until(lambda: cloud.rest.is_active(last), 30) is not None
    pings = [a.guest.keep_pinging(b.address), k.guest.keep_pinging(a.address)]
    cloud.isthmus.kill()
    cloud.rest.delete("ports", last)
    green = cloud.network("green")
    port = cloud.rest.port(green, "compute-2")
    assert cloud.rest.show("ports", port)["binding:vif_type"] == "binding_failed"
    cloud.isthmus.start()
    assert until(lambda: cloud.rest.is_active(port), 90) is not None
    assert cloud.vni_of(green) in cloud.vnis_at("leaf2")
    results = [ping.stop() for ping in pings]
    assert all(result.all_answered for result in results), [str(result) for result in results]
    assert until(lambda: cloud.vni_of(passing) not in cloud.vnis_at("leaf1"), 90) is not None
    assert cloud.vids_of(passing) == {}
    assert until(lambda: cloud.isthmus.is_settled, 30) is not None


def test_a_kvm_host_whose_agent_starts_anew_reaches_vms_below_leaves_again(
    cloud: Site, three: tuple[str, Vm, Vm, Vm]
) -> None:
    _, a, b, k = three
    machine = cloud.machines[KVM]
    machine.kill(OVS_AGENT)
    machine.ovs.vsctl("del-br", "br-tun")  # as after a reboot: of the tunnels nothing is left
    assert k.guest.ping(a.address, patience=0.3).none_answered
    machine.start(OVS_AGENT)
    assert talks(k, a, 90)
    assert talks(b, k)
    assert a.guest.hears(k.guest)
    assert k.guest.hears(b.guest)


def test_rpc_server_started_anew_finds_isthmus_and_isthmus_it(cloud: Site, three: tuple[str, Vm, Vm, Vm]) -> None:
    network, a, b, _ = three
    ping = a.guest.keep_pinging(b.address)
    cloud.neutron.kill_rpc_server()
    port = cloud.rest.port(network, "compute-2")
    assert cloud.rest.show("ports", port)["binding:vif_type"] == "dvs"
    assert not cloud.rest.is_active(port)
    cloud.neutron.start_rpc_server()
    assert until(lambda: cloud.rest.is_active(port), 90) is not None
    assert ping.stop().all_answered


def test_a_vm_moved_cold_to_another_rack_is_reached_there_and_leaves_nothing_at_the_first(
    cloud: Site, three: tuple[str, Vm, Vm, Vm]
) -> None:
    network, a, b, k = three
    vni = cloud.vni_of(network)
    moved = cloud.move_cold(a, "esx3.lab")
    assert until(lambda: cloud.are_active(moved), 60) is not None
    assert talks(b, moved)
    assert talks(k, moved)
    assert k.guest.hears(moved.guest)
    assert until(lambda: vni not in cloud.vnis_at("leaf1"), 90) is not None
    assert set(cloud.vids_of(network)) == {"rack2"}
    assert talks(k, moved)
    back = cloud.move_cold(moved, "esx2.lab")
    assert talks(b, back)
    assert talks(k, back)
