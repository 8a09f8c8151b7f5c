"""What `explain` says of VMs that are in no network of ours."""

from __future__ import annotations

from isthmus.app import report
from isthmus.app.keeper import Pass
from isthmus.core.design import OVSVAPP
from isthmus.model.names import NetworkId
from tests.core.town import Town


def explained(town: Town, vm: str) -> str:
    """Why a VM is not wired, by who serves its host and not the port groups."""
    world, observed, pool, now = town.seen()
    thought = town.think()
    last = Pass(world, observed, pool, now, thought, thought.plan)
    (row,) = report.explained({"esx1": (OVSVAPP, last)}, vm)
    assert not row["wired"]
    return str(row["why"])


def test_of_a_vm_that_stays_when_the_last_port_of_its_network_went_it_is_said() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    del town.networks[NetworkId("red")]
    for _ in range(2):
        assert explained(town, "a") == "its port group is that of network red, which is not wanted here any more"
        town.settle()  # its DV port is closed, and it stays where it is


def test_a_vm_in_a_port_group_of_somebody_else_is_in_none_of_ours() -> None:
    town = Town().network("red").vm("a", "red")
    town.nic("a", port_group="pg-theirs")
    assert explained(town, "a") == "it is in no port group of ours"
