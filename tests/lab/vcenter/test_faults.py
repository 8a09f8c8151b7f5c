"""Faults on demand: what a test can do to any call, and that nothing is half done by it."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from lab.vcenter import ControlError, Delay, Drop, Fault, Hang, Simulator, Unavailable
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, Watch, wait
from tests.lab.vcenter.test_sessions import context

pytestmark = pytest.mark.sim

Broken = (http.client.HTTPException, OSError)


@pytest.fixture(autouse=True)
def no_rules(vcenter: Simulator) -> Iterator[None]:
    yield
    vcenter.faults.clear()


@pytest.fixture
def other_vm(client: Client) -> Iterator[Any]:
    vm = client.make_vm("spoilt", client.port_group("red"), host="esx2.lab", power_on=True)
    yield vm
    wait(vm.PowerOffVM_Task())
    wait(vm.Destroy_Task())


def set_vlan(client: Client, vm: Any, vid: int) -> Any:
    return client.dvs("tenant").ReconfigureDVPort_Task([c.port_spec(client.port_of(vm), vlan=c.vlan(vid))])


def vid_of(client: Client, vm: Any) -> int:
    return int(client.port_of(vm).config.setting.vlan.vlanId)


def test_a_named_fault_strikes_its_method_and_no_other(vcenter: Simulator, client: Client) -> None:
    rule = vcenter.faults.add(
        Fault.of("ResourceInUse", type="DistributedVirtualSwitch", name="tenant"), method="ReconfigureDVPort_Task"
    )
    vm = client.vm("resident")
    with pytest.raises(vim.fault.ResourceInUse) as refused:
        set_vlan(client, vm, 31)
    assert (refused.value.type, refused.value.name) == (vim.DistributedVirtualSwitch, "tenant")
    assert vcenter.faults.struck(rule) == 1
    assert vid_of(client, vm) == 0
    vcenter.faults.clear(rule)
    wait(set_vlan(client, vm, 31))
    assert vid_of(client, vm) == 31


def test_a_rule_can_mean_one_object_by_name_or_reference(vcenter: Simulator, client: Client, other_vm: Any) -> None:
    resident = client.vm("resident")
    for name in ("spoilt", other_vm._moId):
        with vcenter.faults.during(Fault("InvalidState"), method="Rename_Task", object=name):
            with pytest.raises(vim.fault.InvalidState):
                other_vm.Rename_Task("x")
            wait(resident.Rename_Task("resident"))


def test_a_fault_after_the_call_leaves_it_done(vcenter: Simulator, client: Client) -> None:
    vm = client.vm("resident")
    vcenter.faults.add(Fault("SystemError"), method="ReconfigureDVPort_Task", after=True)
    with pytest.raises(vmodl.fault.SystemError):
        set_vlan(client, vm, 32)
    deadline = time.monotonic() + 5
    while vid_of(client, vm) != 32:
        assert time.monotonic() < deadline


def test_a_task_can_fail_before_and_after_its_work(vcenter: Simulator, client: Client) -> None:
    vm = client.vm("resident")
    wait(set_vlan(client, vm, 40))
    for vid, after, outcome in ((41, False, 40), (42, True, 42)):
        where: dict[str, Any] = {"method": "ReconfigureDVPort_Task", "in_task": True, "after": after}
        with vcenter.faults.during(Fault("DvsFault"), **where), pytest.raises(vim.fault.DvsFault):
            wait(set_vlan(client, vm, vid))
        assert vid_of(client, vm) == outcome


@pytest.mark.parametrize(("after", "outcome"), [(False, 50), (True, 51)], ids=["before", "after"])
def test_a_connection_dropped_before_or_after_the_work(
    vcenter: Simulator, client: Client, other_client: Client, after: bool, outcome: int
) -> None:
    vm = client.vm("resident")
    wait(set_vlan(client, vm, 50))
    specs = [c.port_spec(client.port_of(vm), vlan=c.vlan(51))]
    tenant = client.dvs("tenant")
    vcenter.faults.add(Drop(), method="ReconfigureDVPort_Task", after=after)
    with pytest.raises(Broken):
        tenant.ReconfigureDVPort_Task(specs)
    time.sleep(0.2)
    assert vid_of(other_client, other_client.vm("resident")) == outcome


def test_a_throttling_vcenter_answers_503(vcenter: Simulator, client: Client) -> None:
    vm = client.vm("resident")
    vcenter.faults.add(Unavailable(retry_after=7), count=2)
    for _ in range(2):
        with pytest.raises(http.client.HTTPException, match="503"):
            vm.name  # noqa: B018
    assert vm.name == "resident"


def test_throttling_says_when_to_come_again(vcenter: Simulator) -> None:
    vcenter.faults.add(Unavailable(retry_after=7), count=1)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(vcenter.url, data=b"<anything/>", context=context(vcenter), timeout=5)
    assert (refused.value.code, refused.value.headers["Retry-After"]) == (503, "7")


def test_a_late_answer_is_the_answer_to_a_call_done_in_time(
    vcenter: Simulator, client: Client, other_client: Client
) -> None:
    vm, here = client.vm("resident"), other_client.vm("resident")
    wait(set_vlan(client, vm, 71))
    specs = [c.port_spec(client.port_of(vm), vlan=c.vlan(72))]
    tenant = client.dvs("tenant")
    vcenter.faults.add(Delay(2500), method="ReconfigureDVPort_Task", after=True)
    started = time.monotonic()
    asking = threading.Thread(target=lambda: tenant.ReconfigureDVPort_Task(specs))
    asking.start()
    while vid_of(other_client, here) != 72:
        assert time.monotonic() < started + 2.4
    asking.join(timeout=5)
    assert time.monotonic() >= started + 2.5


def test_a_call_that_hangs_goes_on_when_released(vcenter: Simulator, client: Client, other_client: Client) -> None:
    rule = vcenter.faults.add(Hang(), method="FetchDVPorts", object="tenant")
    tenant = client.dvs("tenant")
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(tenant.FetchDVPorts(None)))
    asking.start()
    time.sleep(0.3)
    assert not answers
    assert other_client.vm("resident").name == "resident"  # nobody else waits
    vcenter.faults.release(rule)
    asking.join(timeout=5)
    assert len(answers) == 1


def test_a_slow_host_slows_what_concerns_it_alone(vcenter: Simulator, client: Client, other_vm: Any) -> None:
    vcenter.faults.add(Delay(1500), host="esx2.lab", in_task=True)

    def seconds(work: Any) -> float:
        started = time.monotonic()
        wait(work())
        return time.monotonic() - started

    resident = client.vm("resident")
    assert seconds(lambda: set_vlan(client, other_vm, 60)) >= 1.5
    assert seconds(lambda: other_vm.Rename_Task("spoilt")) >= 1.5
    assert seconds(lambda: set_vlan(client, resident, 61)) < 1.5
    assert seconds(lambda: resident.Rename_Task("resident")) < 1.5


def test_chance_is_the_same_for_the_same_seed(vcenter: Simulator, client: Client) -> None:
    vm = client.vm("resident")

    def history(seed: int) -> list[bool]:
        vcenter.faults.seed(seed)
        struck = []
        with vcenter.faults.during(Fault("SystemError"), method="Rename_Task", probability=0.5):
            for _ in range(24):
                try:
                    wait(vm.Rename_Task("resident"))
                    struck.append(False)
                except vmodl.fault.SystemError:
                    struck.append(True)
        return struck

    assert history(7) == history(7)
    assert history(7) != history(8)
    assert 4 < sum(history(7)) < 20


def test_skip_and_count_pick_the_nth_call(vcenter: Simulator, client: Client) -> None:
    vm = client.vm("resident")
    vcenter.faults.add(Fault("SystemError"), method="Rename_Task", skip=1, count=1)
    wait(vm.Rename_Task("resident"))
    with pytest.raises(vmodl.fault.SystemError):
        vm.Rename_Task("resident")
    wait(vm.Rename_Task("resident"))
    (rule,) = vcenter.faults.list()
    assert (rule.matched, rule.struck) == (3, 1)


@pytest.mark.parametrize(
    ("what", "where", "told"),
    [
        (Fault("NoSuchFault"), {}, "NoSuchFault"),
        (Fault("VirtualMachine"), {}, "VirtualMachine"),
        (Drop(), {"in_task": True}, "task"),
        (Drop(), {"object": "nobody"}, "nobody"),
        (Drop(), {"probability": 2.0}, "probability"),
    ],
    ids=["unknown", "no fault", "task", "object", "probability"],
)
def test_a_rule_that_cannot_work_is_refused(vcenter: Simulator, what: Any, where: dict[str, Any], told: str) -> None:
    with pytest.raises(ControlError, match=told):
        vcenter.faults.add(what, **where)
    assert not vcenter.faults.list()


def test_after_a_restart_the_inventory_is_there_and_the_sessions_are_not(vcenter: Simulator) -> None:
    victim = Client(vcenter)
    watch = Watch(victim, vim.VirtualMachine, ["name"])
    watch.drain()
    wait(set_vlan(victim, victim.vm("resident"), 77))
    version, reader = watch.version, victim.events(vim.event.Event)
    last = victim.content.eventManager.latestEvent.key
    vcenter.restart()
    for call in (watch.next, reader.read, lambda: victim.vm("resident")):
        with pytest.raises((vim.fault.NotAuthenticated, *Broken)):
            call()
    fresh = Client(vcenter)
    assert vid_of(fresh, fresh.vm("resident")) == 77
    assert fresh.content.eventManager.latestEvent.key >= last
    again = Watch(fresh, vim.VirtualMachine, ["name"])
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        again.collector.WaitForUpdatesEx(version, None)
    fresh.close()


def test_a_vcenter_that_is_away_refuses_or_lets_a_proxy_answer(vcenter: Simulator) -> None:
    vcenter.leave()
    with pytest.raises(ConnectionRefusedError):
        Client(vcenter)
    vcenter.leave(proxied=True)
    vcenter.come_back()
    session = Client(vcenter)
    vcenter.leave(proxied=True, retry_after=3)
    with pytest.raises(http.client.HTTPException, match="503"):
        session.vm("resident")
    vcenter.come_back()
    with pytest.raises(vim.fault.NotAuthenticated):
        session.vm("resident")
    Client(vcenter).close()


@pytest.mark.parametrize("new_certificate", [False, True], ids=["same certificate", "new certificate"])
def test_a_start_anew_keeps_the_topology_alone(new_certificate: bool) -> None:
    with Simulator(hosts=1, vms=1) as vcenter:
        first = Client(vcenter)
        url, thumbprint, instance = vcenter.url, vcenter.thumbprint, vcenter.instance_uuid
        first.make_vm("extra", client_group(first))
        vcenter.start_anew(new_certificate=new_certificate)
        assert (vcenter.url, vcenter.instance_uuid) == (url, instance)
        assert (vcenter.thumbprint == thumbprint) is not new_certificate
        second = Client(vcenter)
        assert [vm.name for vm in second.all(vim.VirtualMachine)] == ["vm1"]
        second.close()


def client_group(client: Client) -> Any:
    return client.port_group("pg1")
