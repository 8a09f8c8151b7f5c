"""Contrail's own generated client takes the stand-in for an api-server."""

from __future__ import annotations

import pytest
from vnc_api import vnc_api
from vnc_api.exceptions import NoIdError, RefsExistError

from lab.contrail.api_server import ApiServer
from lab.contrail.identity import Keystone


def test_the_generated_client_wires_a_vm_and_takes_everything_back(server: ApiServer) -> None:
    api = vnc_api.VncApi(api_server_host="127.0.0.1", api_server_port=str(server.port), auth_type="noauth")
    project = vnc_api.Project("vCenter")
    api.project_create(project)

    network = vnc_api.VirtualNetwork("red", parent_obj=project)
    ipam = api.network_ipam_read(fq_name=["default-domain", "default-project", "default-network-ipam"])
    subnet = vnc_api.IpamSubnetType(subnet=vnc_api.SubnetType("10.1.0.0", 24))
    network.add_network_ipam(ipam, vnc_api.VnSubnetsType([subnet]))
    api.virtual_network_create(network)
    network = api.virtual_network_read(id=network.uuid)
    assert network.get_virtual_network_network_id() > 0
    assert api.fq_name_to_id("virtual-network", ["default-domain", "vCenter", "red"]) == network.uuid

    machine = vnc_api.VirtualMachine("5011a9bb-0000-4000-8000-000000000001")
    machine.uuid = machine.name
    api.virtual_machine_create(machine)
    port = vnc_api.VirtualMachineInterface("p1", parent_obj=project)
    port.set_virtual_network(network)
    port.set_virtual_machine(machine)
    port.add_annotations(vnc_api.KeyValuePair("host", "host-7"))
    api.virtual_machine_interface_create(port)
    address = vnc_api.InstanceIp("ip1")
    address.set_virtual_network(network)
    address.set_virtual_machine_interface(port)
    api.instance_ip_create(address)

    assert api.instance_ip_read(id=address.uuid).get_instance_ip_address() == "10.1.0.3"
    read = api.virtual_machine_interface_read(id=port.uuid)
    (mac,) = read.get_virtual_machine_interface_mac_addresses().get_mac_address()
    assert mac.startswith("02:")
    assert [pair.key for pair in read.get_annotations().get_key_value_pair()] == ["host"]
    (link,) = api.virtual_network_read(id=network.uuid, fields=["instance_ip_back_refs"]).get_instance_ip_back_refs()
    assert link["uuid"] == address.uuid

    read.add_annotations(vnc_api.KeyValuePair("vid", "12"))
    api.virtual_machine_interface_update(read)
    read.set_annotations(vnc_api.KeyValuePairs([vnc_api.KeyValuePair("vid", "13")]))
    api.virtual_machine_interface_update(read)
    (listed,) = api.virtual_machine_interfaces_list(parent_id=project.uuid, detail=True)
    assert [pair.value for pair in listed.get_annotations().get_key_value_pair()] == ["13"]
    assert api.virtual_machine_interfaces_list(back_ref_id=[network.uuid], count=True) == {
        "virtual-machine-interfaces": {"count": 1}
    }

    with pytest.raises(RefsExistError):
        api.virtual_network_create(vnc_api.VirtualNetwork("red", parent_obj=project))
    with pytest.raises(RefsExistError):
        api.virtual_network_delete(id=network.uuid)
    api.instance_ip_delete(id=address.uuid)
    api.virtual_machine_interface_delete(id=port.uuid)
    api.virtual_machine_delete(id=machine.uuid)
    api.virtual_network_delete(id=network.uuid)
    api.project_delete(id=project.uuid)
    with pytest.raises(NoIdError):
        api.virtual_network_read(id=network.uuid)


def test_the_generated_client_fetches_a_new_token_when_its_own_has_ended() -> None:
    with Keystone() as keystone, ApiServer(door=keystone) as server:
        port = keystone.url.split(":")[2].split("/")[0]
        where = {"auth_host": "127.0.0.1", "auth_port": port, "auth_url": "/v3/auth/tokens"}
        who = {"username": "admin", "password": "secret", "tenant_name": "admin", "domain_name": "Default"}
        api = vnc_api.VncApi(
            api_server_host="127.0.0.1", api_server_port=str(server.port), auth_type="keystone", **where, **who
        )
        assert len(api.projects_list()["projects"]) == 1
        keystone.end_all()
        assert len(api.projects_list()["projects"]) == 1
        assert keystone.given == 2


def test_the_generated_client_changes_one_annotation_and_one_ref(server: ApiServer) -> None:
    api = vnc_api.VncApi(api_server_host="127.0.0.1", api_server_port=str(server.port), auth_type="noauth")
    machine, router = vnc_api.VirtualMachine("vm"), vnc_api.VirtualRouter("host-7")
    router.set_virtual_router_ip_address("192.0.2.7")
    api.virtual_machine_create(machine)
    api.virtual_router_create(router)
    api.prop_map_set_element(machine.uuid, "annotations", vnc_api.KeyValuePair("vid", "12"))
    assert api.prop_map_get(machine.uuid, "annotations", "vid") == [[{"key": "vid", "value": "12"}, "vid"]]
    api.prop_map_delete_element(machine.uuid, "annotations", "vid")
    assert api.prop_map_get(machine.uuid, "annotations") == []
    api.ref_update("virtual-router", router.uuid, "virtual-machine", machine.uuid, None, "ADD")
    (ref,) = api.virtual_router_read(id=router.uuid).get_virtual_machine_refs()
    assert ref["uuid"] == machine.uuid
    with pytest.raises(RefsExistError):
        api.virtual_machine_delete(id=machine.uuid)
    api.ref_update("virtual-router", router.uuid, "virtual-machine", machine.uuid, None, "DELETE")
    api.virtual_machine_delete(id=machine.uuid)
    assert api.id_to_fq_name(router.uuid) == ["default-global-system-config", "host-7"]
