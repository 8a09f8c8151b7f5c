"""Two of a kind are never silently taken for one: those with one MAC are named, and who has another's identity, too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.core.design import OVSVAPP
from isthmus.core.explain import Side, explain
from isthmus.model.intent import Peer
from isthmus.model.inventory import LeftOut
from isthmus.model.names import HostId, NetworkId, NicId, VmId
from tests.core.town import ESX1, ESX2, Town


def mac_of(town: Town, vm: str) -> str:
    return town.nics[NicId(VmId(vm), 4000)].mac


@pytest.mark.parametrize("on", [ESX1, ESX2])
def test_two_nics_with_one_mac_in_one_network_are_both_wired_and_named_wherever_they_are(on: HostId) -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("twin", "red", on=on).vm("b", "blue").vm("c", "red")
    town.nic("twin", mac=mac_of(town, "a"))
    town.nic("b", mac=mac_of(town, "a"))
    for host in (ESX1, ESX2):
        town.settle(host)
    assert town.open_with("a") == town.open_with("twin") is not None
    thought = town.think()
    [warning] = thought.warnings
    assert f"network red: VM a (NIC 4000), VM twin (NIC 4000) carry one MAC, {mac_of(town, 'a')}" in warning
    assert not thought.unmet
    reports, _ = explain(OVSVAPP, *town.seen())
    assert all(report.wired for report in reports)
    assert {r.attachment.nic.vm_name for r in reports if "one MAC" in r.why} == ({"a", "twin"} if on == ESX1 else {"a"})
    town.nic("twin", powered_on=False)
    assert not town.think().warnings


def test_a_member_elsewhere_with_the_mac_of_a_nic_is_named_and_a_network_that_is_not_here_is_not() -> None:
    town = Town().network("red").network("blue").vm("a", "red").vm("b", "blue", on=ESX2)
    town.peers = tuple(
        Peer(NetworkId(network), "198.51.100.7", town.nics[NicId(VmId(vm), 4000)].mac)
        for network, vm in (("red", "a"), ("blue", "b"), ("blue", "a"))
    )
    for host, vm in ((ESX1, "a"), (ESX2, "b")):
        town.settle(host)
        [warning] = town.think(host).warnings
        assert f"VM {vm} (NIC 4000), a member at VTEP 198.51.100.7 carry one MAC" in warning


def test_a_vm_with_the_identity_of_another_is_not_wired_and_said_where_it_runs() -> None:
    town = Town().network("red").vm("a", "red")
    town.settle()
    copy = replace(town.nics[NicId(VmId("a"), 4000)], host=ESX2, vm_name="copy", port_key="9", cookie=9)
    foreign = replace(copy, port_group="somebody's", vm_name="foreign")
    town.left_out = (LeftOut(copy, "its instance UUID is a's"), LeftOut(foreign, "so is its"))
    town.settle(ESX2)
    [unmet] = town.think(ESX2).unmet
    assert (unmet.about, unmet.reason) == (f"VM copy, MAC {copy.mac}", "its instance UUID is a's")
    [report], _ = explain(OVSVAPP, *town.seen(ESX2))
    assert (report.attachment.nic.vm_name, report.wired, report.behind) == ("copy", False, Side.INVENTORY)
    assert not town.think(ESX1).unmet
    town.left_out = (LeftOut(replace(copy, powered_on=False), "its instance UUID is a's"),)
    assert not town.think(ESX2).unmet, "nobody misses it, but who asks is told"
    [report], _ = explain(OVSVAPP, *town.seen(ESX2))
    assert report.why == "its instance UUID is a's"
