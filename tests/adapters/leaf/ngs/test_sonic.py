"""What SONiC prints, as what it holds; and what is no answer."""

from __future__ import annotations

import pytest

from isthmus.adapters.leaf.ngs.held import Vlan
from isthmus.adapters.leaf.ngs.sonic import READS, understood
from isthmus.model.faults import Retry
from isthmus.model.tags import Vni

VLANS = """Name       VID  Member         Mode
-------  -----  -------------  --------
Vlan4        4  Ethernet0      untagged
Vlan101    101  Ethernet4      tagged
Vlan101    101  PortChannel01  tagged
Vlan102    102
Vlan103    103  Ethernet8      ?
"""
MAPS = """+---------+-------+
| VLAN    |   VNI |
+=========+=======+
| Vlan101 |  5000 |
+---------+-------+
| Vlan102 | 70001 |
+---------+-------+
Total count : 2

"""
NO_VLANS = "Name    VID    Member    Mode\n------  -----  --------  ------\n"
NO_MAPS = "+--------+-------+\n| VLAN   | VNI   |\n+========+=======+\n+--------+-------+\nTotal count : 0\n"


def test_what_sonic_shows_is_vlans_with_their_ports_and_vnis() -> None:
    assert READS == ("show vlan config", "show vxlan vlanvnimap")
    assert understood(VLANS, MAPS).vlans == {
        4: Vlan(None, frozenset(), frozenset({"Ethernet0"})),
        101: Vlan(Vni(5000), frozenset({"Ethernet4", "PortChannel01"})),
        102: Vlan(Vni(70_001)),
        103: Vlan(None, frozenset(), frozenset({"Ethernet8"})),
    }


def test_a_switch_without_vlans_is_empty() -> None:
    assert understood(NO_VLANS, NO_MAPS).vlans == {}


def test_a_vlan_that_only_the_map_knows_is_one() -> None:
    """Older releases leave one without ports out of the other list."""
    assert understood(NO_VLANS, MAPS).vlans == {101: Vlan(Vni(5000)), 102: Vlan(Vni(70_001))}


@pytest.mark.parametrize(
    ("vlans", "maps"),
    [
        ("", MAPS),
        (VLANS, ""),
        ("-bash: show: command not found", MAPS),
        (VLANS.replace("Vlan102    102", "Traceback (most recent call last):"), MAPS),
        (VLANS.replace("Vlan102", "Vlan9102"), MAPS),
        (VLANS, MAPS.replace("| Vlan102 | 70001 |", "")),
        (VLANS, MAPS.replace("| Vlan102 | 70001 |", "| Vlan102 | N/A   |")),
        (VLANS, MAPS.replace("Total count : 2", "")),
        (MAPS, VLANS),
    ],
)
def test_an_answer_that_is_cut_short_or_not_understood_is_no_answer(vlans: str, maps: str) -> None:
    with pytest.raises(Retry):
        understood(vlans, maps)
