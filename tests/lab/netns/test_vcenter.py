"""The lab's own reader tells what an administrator has set in the simulated vCenter, setting by setting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pyVmomi import vim

from lab.netns.admin import Admin, macs_of
from lab.netns.announcements import Announced, Announcements, Watch
from lab.netns.dvs import Access, MacLearning, Policy, Trunk
from lab.netns.inventory import NicId
from lab.netns.layout import TENANT, Layout
from lab.netns.vcenter import Login, Reader
from lab.vcenter import Simulator

pytestmark = pytest.mark.sim

POLICIES = {
    "plain": Policy(Access(0)),
    "tagged": Policy(Access(4094)),
    "blocked": Policy(Access(7), blocked=True),
    "forging": Policy(Access(7), forged_transmits=True),
    "promiscuous": Policy(Access(7), promiscuous=True),
    "trunk": Policy(Trunk(((0, 0), (5, 9), (100, 4094)))),
    "learning": Policy(Access(7), mac_learning=MacLearning(unicast_flooding=True, limit=4096)),
    "few": Policy(Access(7), mac_learning=MacLearning(unicast_flooding=False, limit=16, drop_over_limit=True)),
}


@pytest.fixture(scope="module")
def login() -> Iterator[Login]:
    with Simulator(Layout(hosts=("esx1.lab", "esx2.lab"), tenant_mtu=1700).topology(), migrate_ms=50) as vcenter:
        yield Login(vcenter.url, vcenter.user, vcenter.password, str(vcenter.ca_file))


@pytest.fixture(scope="module")
def admin(login: Login) -> Iterator[Admin]:
    session = Admin(login)
    yield session
    session.close()


@pytest.fixture
def reader(login: Login) -> Iterator[Reader]:
    session = Reader(login)
    yield session
    session.close()


@pytest.mark.parametrize("name", POLICIES)
def test_a_port_has_the_policy_of_its_group(name: str, admin: Admin, reader: Reader) -> None:
    admin.create_port_group(TENANT, name, POLICIES[name])
    vm = admin.create_vm(f"vm-{name}", "esx1.lab", [name])
    found = reader.inventory()
    (nic,) = found.vms[vm._moId].nics
    port = found.ports[nic.switch, nic.port]
    assert port.policy == POLICIES[name]
    assert port.connectee == nic.id == NicId(vm._moId, nic.id.key)
    assert [nic.mac] == macs_of(vm)


def test_an_override_of_a_port_goes_before_its_group_and_is_seen_as_a_change(admin: Admin, reader: Reader) -> None:
    admin.create_port_group(TENANT, "group", Policy(Access(5), blocked=True))
    vm = admin.create_vm("one", "esx1.lab", ["group"])
    (nic,) = reader.inventory().vms[vm._moId].nics
    assert not reader.ports_changed()
    admin.set_port("one", Access(6), blocked=False)
    assert reader.ports_changed()
    assert reader.ports()[nic.switch, nic.port].policy == Policy(Access(6))
    assert not reader.ports_changed()


def test_power_place_and_mtu_are_read(admin: Admin, reader: Reader) -> None:
    vm = admin.create_vm("two", "esx2.lab", ["by-hand"])
    before = reader.inventory().vms[vm._moId]
    admin.power_on("two")
    after = reader.inventory()
    assert (before.powered_on, after.vms[vm._moId].powered_on) == (False, True)
    assert after.hosts[after.vms[vm._moId].host] == "esx2.lab"
    assert {switch.name: switch.mtu for switch in after.switches.values()} == {"tenant": 1700, "uplink": 1600}


def test_a_migration_is_announced_before_the_host_changes(admin: Admin, login: Login, reader: Reader) -> None:
    vm = admin.create_vm("three", "esx1.lab", ["by-hand"])
    admin.power_on("three")
    slowly = vim.option.OptionValue(key="isthmus.lab.migrate-ms", value="2000")
    admin.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=[slowly])))
    hosts = {name: id for id, name in reader.inventory().hosts.items()}
    events = Announcements(login)
    assert events.read() == []
    mover = threading.Thread(target=admin.migrate, args=("three", "esx2.lab"))
    mover.start()
    told: list[Announced] = []
    while not told:
        told = events.read()
    at_that_time = reader.inventory().vms[vm._moId].host
    mover.join()
    events.close()
    assert told == [Announced(vm._moId, hosts["esx1.lab"], hosts["esx2.lab"])]
    assert at_that_time == hosts["esx1.lab"]
    assert reader.inventory().vms[vm._moId].host == hosts["esx2.lab"]


def test_the_watch_wakes_for_a_change(admin: Admin, login: Login) -> None:
    woken = threading.Event()
    watch = Watch(login, woken.set)
    watch.start()
    assert woken.wait(5)
    time.sleep(0.2)
    woken.clear()
    admin.create_vm("four", "esx1.lab", ["by-hand"])
    assert woken.wait(5)
    watch.stop()
