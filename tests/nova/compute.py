"""Two nova-computes on the lab's vCenter, one per cluster: Nova's own VMware code, its session and its SOAP client.

Law: only what is not VMware's is left out: Nova's database (an instance is not saved), its images (a disk is empty),
and its calls to Neutron (what Neutron would say of a port is given).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova import conf, objects, rpc
from nova.context import RequestContext
from nova.network import model
from nova.virt.vmwareapi import ds_util, images, vif, vm_util, vmops, volumeops
from nova.virt.vmwareapi.session import VMwareAPISession
from pyVmomi import vim

from lab.vcenter import Cluster, Datacenter, Delay, Dvs, Host, Member, PortGroup, Simulator, Topology
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client
from tests.openstack import recorded

NETWORK = "7d1f7c52-93a1-4f0e-9d38-1a50f9f6c001"  # red's id in Neutron

# Networks red and green have a port group on each rack's switch, blue has one on the switch that both clusters are on.
# The name of infrared contains red's; what green's port groups have in common no other one has.
TOPOLOGY = Topology(
    (
        Datacenter(
            "dc1",
            (Cluster("c1", (Host("esx1"), Host("esx2"))), Cluster("c2", (Host("esx3"), Host("esx4")))),
            (
                Dvs(
                    "rack1",
                    (
                        PortGroup("infrared", vlan=7),
                        PortGroup("red (rack1)", vlan=101),
                        PortGroup("green (rack1) 41c6", vlan=102),
                    ),
                    members=(Member("esx1"), Member("esx2")),
                ),
                Dvs(
                    "rack2",
                    (PortGroup("red (rack2)", vlan=205), PortGroup("green (rack2) 41c6", vlan=206)),
                    members=(Member("esx3"), Member("esx4")),
                ),
                Dvs("wide", (PortGroup("blue", vlan=300),)),
            ),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Port:
    """A Neutron port as Nova reads it: its MAC and what the mechanism driver that bound it said."""

    mac: str
    vif_details: dict[str, Any]
    vif_type: str = "dvs"

    def vif(self) -> Any:
        return model.VIF(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, self.mac)),
            address=self.mac,
            network=model.Network(id=NETWORK, bridge=NETWORK),  # nova.network.neutron: of a DVS port, the network's id
            vnic_type="normal",
            type=self.vif_type,
            profile={},
            details=dict(self.vif_details),
        )


class Instance(objects.Instance):  # type: ignore[misc]
    """An instance without a database."""

    def save(self, *_: Any, **__: Any) -> None:
        pass


class Site:
    """A vCenter, a nova-compute per cluster (named like it), and an operator who looks."""

    def __init__(self, vcenter: Simulator, client: Client) -> None:
        self.vcenter, self.client = vcenter, client
        self.context = RequestContext("user", "project", user_name="user", project_name="project")
        host, port = vcenter.address
        self.session = VMwareAPISession(
            host, port, vcenter.user, vcenter.password, 1, cacert=str(vcenter.ca_file), insecure=False
        )
        self.computes = {name: self._compute(name) for name in ("c1", "c2")}

    def _compute(self, name: str) -> Any:
        cluster = vm_util.get_cluster_ref_by_name(self.session, name)
        return vmops.VMwareVMOps(self.session, None, volumeops.VMwareVolumeOps(self.session, cluster), cluster)

    # What Neutron says

    def bound(self, mac: str, port_group: str) -> Port:
        """A port that our mechanism driver bound to this port group."""
        config = self.client.port_group(port_group).config
        shown = recorded.binding(config.distributedVirtualSwitch.uuid, config.key)
        return Port(mac, shown["binding:vif_details"], shown["binding:vif_type"])

    # What Nova does

    def instance(self, *ports: Port) -> Any:
        """An instance with these ports, on no host yet."""
        flavor = objects.Flavor(
            name="small", memory_mb=64, vcpus=1, root_gb=0, ephemeral_gb=0, swap=0, flavorid="1", extra_specs={}
        )
        instance = Instance(
            self.context, id=1, uuid=str(uuid.uuid4()), project_id="project", display_name="vm", image_ref="", vcpus=1,
            memory_mb=64, flavor=flavor, system_metadata={}, info_cache=objects.InstanceInfoCache(),
        )  # fmt: skip
        self.told(instance, *ports)
        return instance

    def told(self, instance: Any, *ports: Port) -> None:
        """From now on this is what Nova knows of the instance's ports."""
        instance.info_cache.network_info = model.NetworkInfo([port.vif() for port in ports])

    def boot(self, instance: Any, on: str) -> None:
        """As the driver's spawn, with an empty disk in the place of an image."""
        ops = self.computes[on]
        store = ds_util.get_datastore(self.session, ops._cluster)
        ops.build_virtual_machine(
            instance, images.VMwareImage(None), ds_util.get_dc_info(self.session, store.ref), store,
            instance.get_network_info(), ops._get_extra_specs(instance.flavor), None,
        )  # fmt: skip
        give_disk(self.vm(instance))
        vm_util.power_on_instance(self.session, instance)

    def booted(self, on: str, *ports: Port) -> Any:
        instance = self.instance(*ports)
        self.boot(instance, on)
        return instance

    def destroy(self, instance: Any, on: str) -> None:
        self.computes[on].destroy(instance)

    def attach(self, instance: Any, port: Port, by: str) -> None:
        """The instance's nova-compute plugs one more port in."""
        self.computes[by].attach_interface(self.context, instance, instance.image_meta, port.vif())

    def live_migrate(
        self, instance: Any, to: str, *targets: Port, rolled_back: Callable[..., None] = lambda *_: None
    ) -> None:
        """The source's nova-compute moves the VM; of the target it knows its cluster and its bindings."""
        target = objects.VMwareLiveMigrateData(cluster_name=to, datastore_regex=".*")
        target.vifs = objects.VIFMigrateData.create_skeleton_migrate_vifs(instance.get_network_info())
        for migrated, port in zip(target.vifs, targets, strict=True):  # as conductor.tasks.live_migrate fills them in
            migrated.host, migrated.vif_type, migrated.vif_details = to, port.vif_type, port.vif_details
        source = self.computes[self.cluster_of(instance)]
        source.live_migration(self.context, instance, to, lambda *_: None, rolled_back, False, target)

    def cold_migrate(self, instance: Any, to: str, *ports: Port) -> None:
        """The source's part, the new bindings, and the target's part, as compute.manager calls them."""
        source = self.computes[self.cluster_of(instance)]
        source.migrate_disk_and_power_off(self.context, instance, to, instance.flavor)
        self.told(instance, *ports)
        self.computes[to].finish_migration(
            self.context, None, instance, None, instance.get_network_info(), instance.image_meta
        )

    def backing(self, on: str, port: Port) -> dict[str, str]:
        """Which port group Nova takes for a port on a cluster."""
        (info,) = vif.get_vif_info(self.session, self.computes[on]._cluster, "VirtualVmxnet3", [port.vif()])
        return dict(info["network_ref"])

    # What is

    def vm(self, instance: Any) -> Any:
        (found,) = self.client.content.searchIndex.FindAllByUuid(uuid=instance.uuid, vmSearch=True, instanceUuid=True)
        return found

    def cluster_of(self, instance: Any) -> str:
        return str(self.vm(instance).runtime.host.parent.name)

    def plugs(self, instance: Any) -> dict[str, tuple[str, int]]:
        """Of each NIC by its MAC: the port group it is in, and the VID that its port wears."""
        vm = self.vm(instance)
        names = {group.key: group.name for group in self.client.all(vim.dvs.DistributedVirtualPortgroup)}
        plugs = {}
        for index, nic in enumerate(c.nics(vm)):
            port = self.client.port_of(vm, index)
            assert port.connectee.connectedEntity == vm
            assert port.proxyHost == vm.runtime.host
            plugs[nic.macAddress] = (names[nic.backing.port.portgroupKey], port.config.setting.vlan.vlanId)
        return plugs

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """How many calls reach the vCenter during a block."""
        with self.vcenter.faults.during(Delay(0)) as every_call:
            yield lambda: self.vcenter.faults.struck(every_call)


def give_disk(vm: Any) -> None:
    """Nova looks for a VM's datastore at its disk."""
    controller = vim.vm.device.ParaVirtualSCSIController(key=-1, sharedBus="noSharing", scsiCtlrUnitNumber=7)
    disk = vim.vm.device.VirtualDisk(
        key=-2, controllerKey=-1, unitNumber=0, capacityInKB=1024,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="[datastore1]", diskMode="persistent"),
    )  # fmt: skip
    spec = vim.vm.device.VirtualDeviceSpec
    c.change_devices(
        vm, spec(operation="add", device=controller), spec(operation="add", fileOperation="create", device=disk)
    )


NOVA_CONF = """[DEFAULT]
transport_url = fake:/

[vmware]
task_poll_interval = 0.05
"""


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """All of it, running; the directory takes Nova's configuration file."""
    (directory / "nova.conf").write_text(NOVA_CONF)
    conf.CONF(["--config-file", str(directory / "nova.conf")], project="nova")
    rpc.init(conf.CONF)  # vmops makes an RPC client, for a part of it that is not used here
    objects.register_all()
    vm_util.vm_refs_cache_reset()
    ds_util.dc_cache_reset()
    with Simulator(TOPOLOGY, migrate_ms=50, wsdl=True) as vcenter:
        client = Client(vcenter)
        try:
            yield Site(vcenter, client)
        finally:
            client.close()
