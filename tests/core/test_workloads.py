"""What Contrail's database has of a VM's port: from its first NIC in a network to its last, and through every move."""

from __future__ import annotations

from isthmus.core.design import CONTRAIL, OVSVAPP_PORT
from isthmus.model.change import Action, Forget, Gate, Learn, SetDvPort
from isthmus.model.nve import Plug, Workload
from lab.wire.vrouter import WireVrouter
from lab.wire.world import Lab, two_hosts


def directory(lab: Lab) -> list[Workload]:
    nve = lab.nve("esx1")
    assert isinstance(nve, WireVrouter)
    return [workload for workload, _ in nve.directory.workloads.values()]


def kept_from(lab: Lab, host: str) -> list[str]:
    """The names of the VMs of which the SDN was last told from there."""
    entries = lab.nve(host).observe().entries.values()
    return [entry.vm_name for entry in entries if isinstance(entry, Workload)]


def plugged(lab: Lab, host: str) -> int:
    return sum(isinstance(entry, Plug) for entry in lab.nve(host).entries.values())


def test_a_nic_in_a_network_is_known_to_the_sdn_with_its_vm_network_and_mac() -> None:
    lab = two_hosts(CONTRAIL).network("red").vms("a@esx1")
    (workload,) = directory(lab)
    nic = lab.nic("a")
    assert (workload.nic, workload.mac, workload.vm_name, workload.network) == (nic.id, nic.mac, "a", "red")


def test_only_contrail_is_told_of_vms() -> None:
    lab = two_hosts(OVSVAPP_PORT).network("red").vms("a@esx1")
    assert directory(lab) == []


def test_a_vm_that_never_ran_is_known_and_not_plugged_in() -> None:
    lab = two_hosts(CONTRAIL).network("red")
    lab.boot("a", "esx1", "red", powered_on=False)
    lab.settle()
    assert kept_from(lab, "esx1") == ["a"]
    assert plugged(lab, "esx1") == 0


def test_power_off_takes_the_plug_and_leaves_what_is_known() -> None:
    lab = two_hosts(CONTRAIL).network("red").vms("a@esx1")
    before = directory(lab)
    lab.vcenter.power(lab.vm("a").id, on=False)
    lab.settle()
    assert (directory(lab), plugged(lab, "esx1")) == (before, 0)
    lab.vcenter.power(lab.vm("a").id, on=True)
    lab.settle()
    assert (directory(lab), plugged(lab, "esx1")) == (before, 1)


def test_a_move_hands_on_what_is_known_and_loses_nothing_on_the_way() -> None:
    for distributed in (False, True):
        for announced in (False, True):
            lab = two_hosts(CONTRAIL, distributed=distributed).network("red").vms("a@esx1")
            before = directory(lab)
            lab.migrate("a", to="esx2", announced=announced)
            for _ in range(8):
                lab.round()
                assert directory(lab) == before
            lab.settle()
            assert (kept_from(lab, "esx1"), kept_from(lab, "esx2")) == ([], ["a"])


def test_a_source_that_runs_first_does_not_give_up_what_the_destination_has_not_taken() -> None:
    lab = two_hosts(CONTRAIL, distributed=True).network("red").vms("a@esx1")
    lab.migrate("a", to="esx2", announced=False)
    for _ in range(4):
        lab.loops["esx1"].run_once()
    assert kept_from(lab, "esx1") == ["a"]
    assert plugged(lab, "esx1") == 0


def test_a_deleted_vm_is_unplugged_before_the_sdn_is_told() -> None:
    lab = two_hosts(CONTRAIL).network("red").vms("a@esx1")
    lab.vcenter.destroy(lab.vm("a").id)
    plan = lab.loops["all hosts"].think().plan
    (gone,) = [change.action for change in plan.changes if isinstance(change.action, Forget)]
    assert {type(entry) for entry in gone.entries} == {Plug, Workload}
    lab.settle()
    assert (directory(lab), plugged(lab, "esx1")) == ([], 0)


def test_while_one_host_still_has_the_plug_the_sdn_keeps_the_port() -> None:
    """The destination of an announced move has it already when the VM is deleted."""
    lab = two_hosts(CONTRAIL, distributed=True).network("red").vms("a@esx1")
    lab.vcenter.announce(lab.vm("a").id, lab.host("esx2"))
    lab.settle()
    assert (plugged(lab, "esx1"), plugged(lab, "esx2")) == (1, 1)
    lab.vcenter.destroy(lab.vm("a").id)
    lab.loops["esx1"].run_once()
    assert len(directory(lab)) == 1
    lab.settle()
    assert (directory(lab), plugged(lab, "esx1"), plugged(lab, "esx2")) == ([], 0, 0)


def test_a_nic_in_another_network_is_another_port_and_the_former_is_given_up() -> None:
    lab = two_hosts(CONTRAIL).network("blue").network("red").vms("a@esx1")
    (before,) = directory(lab)
    lab.vcenter.replug(lab.nic("a").id, lab.socket("blue", lab.host("esx1")))
    lab.settle()
    (after,) = directory(lab)
    assert after.network == "blue"
    assert after.port != before.port


def test_a_port_opens_only_when_the_sdn_knows_of_it() -> None:
    lab = two_hosts(CONTRAIL).network("red")
    lab.boot("a", "esx1", "red")
    (shard,) = lab.loops.values()
    for _ in range(4):
        plan = shard.run_once().plan
        told = {change.id for change in plan.changes if _tells_of_a_workload(change.action)}
        opening = [c for c in plan.changes if isinstance(c.action, SetDvPort) and c.action.gate is Gate.OPEN]
        if opening:
            break
        assert directory(lab) == []
    assert told
    assert [told <= change.after for change in opening] == [True]
    assert len(directory(lab)) == 1


def _tells_of_a_workload(action: Action) -> bool:
    return isinstance(action, Learn) and any(isinstance(entry, Workload) for entry in action.entries)


def test_many_that_go_at_once_wait_for_an_operators_word() -> None:
    lab = two_hosts(CONTRAIL).network("red").vms(*(f"vm{number}@esx1" for number in range(12)))
    for number in range(12):
        lab.vcenter.destroy(lab.vm(f"vm{number}").id)
    plan = lab.loops["all hosts"].think().plan
    assert sum(change.guarded for change in plan.changes if isinstance(change.action, Forget)) == 12
