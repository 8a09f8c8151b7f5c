"""Nova's VMware code reads our bindings: the port group that they name is the one that a NIC gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("nova", reason="needs Nova")

from neutronclient.common.exceptions import InternalServerError
from nova import exception, objects
from nova.conductor.tasks.live_migrate import LiveMigrationTask
from nova.virt.vmwareapi.driver import VMwareVCDriver
from oslo_vmware.exceptions import VimFaultException

from tests.nova.compute import Port, Site, site

pytestmark = pytest.mark.openstack

A, B = "00:50:56:00:00:0a", "00:50:56:00:00:0b"


@pytest.fixture(scope="module")
def nova(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nova")) as made:
        yield made


# Which port group


def test_a_vm_boots_in_the_port_groups_that_its_bindings_name(nova: Site) -> None:
    instance = nova.booted("c1", nova.bound(A, "red (rack1)"), nova.bound(B, "blue"))
    assert nova.plugs(instance) == {A: ("red (rack1)", 101), B: ("blue", 300)}


def test_nova_asks_vcenter_nothing_about_a_port_group_whose_key_it_was_given(nova: Site) -> None:
    port, group = nova.bound(A, "red (rack1)"), nova.client.port_group("red (rack1)").config
    with nova.counting() as calls:
        backing = nova.backing("c1", port)
        assert calls() == 0
    assert (backing["dvsw"], backing["dvpg"]) == (group.distributedVirtualSwitch.uuid, group.key)


def test_by_a_name_nova_takes_the_first_port_group_that_contains_it(nova: Site) -> None:
    by_name = Port(A, {"dvs_port_group_name": "red"})
    with nova.counting() as calls:
        assert nova.backing("c1", by_name)["dvpg"] == nova.client.port_group("infrared").key
        assert calls() > 1
    instance = nova.booted("c1", by_name)
    assert nova.plugs(instance) == {A: ("infrared", 7)}  # a stranger's network


def test_without_details_nova_looks_for_the_networks_id_and_finds_no_port_group_of_ours(nova: Site) -> None:
    with pytest.raises(exception.NetworkNotFoundForBridge):
        nova.backing("c1", Port(A, {}))


def test_a_port_that_did_not_bind_is_plugged_nowhere(nova: Site) -> None:
    instance = nova.booted("c1")
    with pytest.raises(exception.InvalidInput):
        nova.attach(instance, Port(A, {}, vif_type="binding_failed"), by="c1")
    assert nova.plugs(instance) == {}


def test_an_interface_attached_later_lands_in_its_own_port_group(nova: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = nova.booted("c1", nova.bound(A, "red (rack1)"))
    monkeypatch.setattr(nova.computes["c1"]._network_api, "update_instance_vnic_index", lambda *_: None)
    nova.attach(instance, nova.bound(B, "blue"), by="c1")
    assert nova.plugs(instance) == {A: ("red (rack1)", 101), B: ("blue", 300)}


def test_a_port_group_of_a_switch_that_the_host_is_not_on_is_refused_by_vcenter(nova: Site) -> None:
    instance = nova.booted("c1", nova.bound(A, "red (rack1)"))
    with pytest.raises(exception.InterfaceAttachFailed):
        nova.attach(instance, nova.bound(B, "red (rack2)"), by="c1")
    assert nova.plugs(instance) == {A: ("red (rack1)", 101)}


# Moves between clusters


def test_a_vm_that_is_spawned_anew_elsewhere_gets_the_port_group_of_its_binding_there(nova: Site) -> None:
    instance = nova.booted("c1", nova.bound(A, "red (rack1)"))
    nova.destroy(instance, on="c1")
    nova.told(instance, nova.bound(A, "red (rack2)"))
    nova.boot(instance, on="c2")
    assert nova.plugs(instance) == {A: ("red (rack2)", 205)}


def test_a_live_migration_on_one_switch_keeps_the_port_group(nova: Site) -> None:
    port = nova.bound(A, "blue")
    instance = nova.booted("c1", port)
    nova.live_migrate(instance, "c2", port)
    assert nova.cluster_of(instance) == "c2"
    assert nova.plugs(instance) == {A: ("blue", 300)}


def test_a_live_migration_to_another_switch_fails_since_nova_keeps_to_the_sources_binding(nova: Site) -> None:
    instance = nova.booted("c1", nova.bound(A, "red (rack1)"))
    rolled_back: list[Any] = []
    with pytest.raises(VimFaultException) as refused:
        nova.live_migrate(instance, "c2", nova.bound(A, "red (rack2)"), rolled_back=lambda *t: rolled_back.append(t))
    assert refused.value.fault_list == ["CannotAccessNetwork"]
    assert len(rolled_back) == 1  # so that Nova takes the target's binding back
    assert nova.cluster_of(instance) == "c1"
    assert nova.vm(instance).runtime.powerState == "poweredOn"
    assert nova.plugs(instance) == {A: ("red (rack1)", 101)}


def test_a_live_migration_to_another_switch_would_work_with_the_targets_binding(nova: Site) -> None:
    instance = nova.booted("c1", nova.bound(A, "red (rack1)"))
    target = nova.bound(A, "red (rack2)")
    nova.told(instance, target)  # which Nova is only after the move
    nova.live_migrate(instance, "c2", target)
    assert nova.cluster_of(instance) == "c2"
    assert nova.plugs(instance) == {A: ("red (rack2)", 205)}


def test_a_live_migration_to_another_switch_works_by_a_word_in_both_port_groups_names(nova: Site) -> None:
    port = Port(A, {"dvs_port_group_name": "41c6"})
    instance = nova.booted("c1", port)
    assert nova.plugs(instance) == {A: ("green (rack1) 41c6", 102)}
    nova.live_migrate(instance, "c2", port)
    assert nova.plugs(instance) == {A: ("green (rack2) 41c6", 206)}


def test_a_live_migration_to_where_nobody_has_that_word_fails_and_is_not_rolled_back(nova: Site) -> None:
    port = Port(A, {"dvs_port_group_name": "(rack1) 41c6"})
    instance = nova.booted("c1", port)
    rolled_back: list[Any] = []
    with pytest.raises(exception.NetworkNotFoundForBridge):
        nova.live_migrate(instance, "c2", port, rolled_back=lambda *told: rolled_back.append(told))
    assert not rolled_back  # the target's binding stays
    assert nova.plugs(instance) == {A: ("green (rack1) 41c6", 102)}


def test_a_cold_migration_leaves_the_vm_in_its_cluster_and_port_group(nova: Site) -> None:
    instance = nova.booted("c1", nova.bound(A, "red (rack1)"))
    nova.cold_migrate(instance, "c2", nova.bound(A, "red (rack2)"))
    assert nova.cluster_of(instance) == "c1"
    assert nova.vm(instance).runtime.powerState == "poweredOn"
    assert nova.plugs(instance) == {A: ("red (rack1)", 101)}  # though Neutron has bound it to rack2's


def test_nova_evacuates_no_vm_of_vmware() -> None:
    assert not VMwareVCDriver.capabilities["supports_evacuate"]


# A target that Neutron does not bind


class Neutron:
    """Binds one port on the target and no more."""

    def __init__(self) -> None:
        self.bound: list[tuple[str, str]] = []

    def create_port_binding(self, port: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.bound:
            raise InternalServerError  # as ML2's PortBindingError comes over HTTP
        self.bound.append((port, body["binding"]["host"]))
        return body

    def delete_port_binding(self, port: str, host: str) -> None:
        self.bound.remove((port, host))


def test_a_port_that_does_not_bind_on_the_target_stops_a_live_migration_before_it_begins(
    nova: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    neutron = Neutron()
    monkeypatch.setattr("nova.network.neutron.get_client", lambda *_, **__: neutron)
    instance = nova.instance(nova.bound(A, "red (rack1)"), nova.bound(B, "blue"))
    instance.host = "c1"
    check = LiveMigrationTask(nova.context, instance, "c2", False, False, None, None, None, None, None)
    check.migrate_data = objects.VMwareLiveMigrateData(vifs=[])
    with pytest.raises(exception.MigrationPreCheckError):
        check._bind_ports_on_destination("c2", {})
    assert not neutron.bound  # the other port's binding is taken back
