"""When a leaf that is heard may be the leaf that is configured."""

from __future__ import annotations

import pytest

from isthmus.core.cabling import Cabled, agrees
from isthmus.model.inventory import Neighbour

LEAF1 = Cabled("leaf1", frozenset({"leaf1", "Switch-1.example"}), frozenset({"Ethernet4", "swp1"}))


@pytest.mark.parametrize(
    "system", ["leaf1", "LEAF1", "leaf1.example.org", "leaf1(FDO123)", "leaf1.x(1)", "switch-1.example"]
)
def test_a_switch_is_known_by_its_name_with_its_domain_or_its_serial_number(system: str) -> None:
    assert agrees(LEAF1, Neighbour("CDP", (system,), ("Ethernet4",)))


@pytest.mark.parametrize("system", ["leaf10", "leaf", "example.leaf1", "switch-1", "", "(leaf1)"])
def test_another_name_is_another_switch(system: str) -> None:
    assert not agrees(LEAF1, Neighbour("LLDP", (system,), ("Ethernet4",)))


def test_any_name_of_switch_and_port_will_do_but_both_must_be_right() -> None:
    assert agrees(LEAF1, Neighbour("LLDP", ("spine", "leaf1"), ("0:1:2", "ethernet4")))
    assert not agrees(LEAF1, Neighbour("LLDP", ("leaf1",), ("Ethernet40",)))
    assert not agrees(LEAF1, Neighbour("LLDP", ("leaf2",), ("Ethernet4",)))
