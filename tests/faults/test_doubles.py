"""Clones that keep what should be theirs alone: shown under their names, in the log, by `show` and by `explain`."""

from __future__ import annotations

from dataclasses import replace

from isthmus.app import report
from isthmus.app.status import seen_by
from isthmus.core.design import Design
from isthmus.model.inventory import Inventory, LeftOut
from tests.faults.trial import Trial, in_every_design, with_many_seeds


def explained(trial: Trial, vm: str) -> list[report.Row]:
    """What `explain` says of a VM."""
    return [row for loop in trial.processes for row in report.matching(report.ports(seen_by(loop)), vm)]


@in_every_design
@with_many_seeds
def test_a_clone_with_the_mac_of_its_original_is_served_and_both_are_named_until_one_has_gone(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    first = trial.furnish("red", "blue")[0]
    trial.lab.vcenter.clone(trial.lab.vm(first).id, "clone", same_mac=True)
    if trial.dice.random() < 0.5:
        trial.lab.vcenter.move(trial.lab.vm("clone").id, trial.elsewhere("clone"))
    trial.rest()
    warnings = [line for line in trial.conditions("warning") if "carry one MAC" in line]
    assert warnings
    assert all(f"VM {first} " in line and "VM clone " in line for line in warnings)
    assert all(seat.last.settled for loop in trial.processes for seat in loop.seats.values())  # type: ignore[union-attr]
    for name in (first, "clone"):
        assert {(row["wired"], "carry one MAC" in row["why"]) for row in explained(trial, name)} == {(True, True)}
    trial.lab.vcenter.destroy(trial.lab.vm(first).id)
    trial.rest()
    assert not [line for line in trial.conditions("warning") if "carry one MAC" in line]
    trial.end()


@in_every_design
@with_many_seeds
def test_a_vm_that_the_inventory_leaves_out_is_closed_and_shown_with_the_reason_until_it_is_itself(
    design: Design, seed: int
) -> None:
    trial = Trial(seed, design)
    trial.furnish("red", "blue")
    read = trial.lab.inventory.read

    def without_the_copy() -> Inventory:
        whole = read()
        nics = {key: nic for key, nic in whole.nics.items() if nic.vm_name != "copy"}
        left = [LeftOut(nic, "its instance UUID is another's") for nic in whole.nics.values() if nic.vm_name == "copy"]
        return replace(whole, nics=nics, left_out=tuple(left))

    trial.lab.inventory.read = without_the_copy  # type: ignore[method-assign]
    trial.boot("copy", "esx1", "red")
    trial.run(70)
    assert any("VM copy, MAC " in line and "instance UUID" in line for line in trial.conditions("unmet"))
    assert {(row["wired"], row["why"]) for row in explained(trial, "copy")} == {
        (False, "its instance UUID is another's")
    }
    trial.lab.inventory.read = read  # type: ignore[method-assign]
    trial.rest()
    assert not trial.conditions("unmet")
    assert {row["wired"] for row in explained(trial, "copy")} == {True}
    trial.end()
