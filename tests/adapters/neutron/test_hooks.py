"""What wakes `isthmus run`, of all that Neutron tells its drivers, and which Neutron agents have VTEPs of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from isthmus.adapters.neutron.ml2.hooks import Hooks
from isthmus.adapters.neutron.ml2.hosts import vtep_of
from isthmus.adapters.neutron.presence import Appliance

PORT: Mapping[str, Any] = {
    "id": "p",
    "network_id": "red",
    "status": "DOWN",
    "mac_address": "fa:16:3e:00:00:01",
    "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.5"}],
    "admin_state_up": True,
    "allowed_address_pairs": [],
    "port_security_enabled": True,
    "device_id": "vm",
    "device_owner": "compute:nova",
    "binding:host_id": "compute-1",
    "binding:vif_type": "dvs",
    "binding:vif_details": {},
}
FILTERED = {"binding:vif_details": {"port_filter": True}}
"""Neutron's own agent wires and filters it."""


class Ears:
    """Hears whom the drivers wake, and of which networks."""

    def __init__(self) -> None:
        self.heard: list[Collection[str]] = []

    def changed(self, networks: Collection[str]) -> None:
        self.heard.append(networks)


def heard(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Collection[str]]:
    """What `isthmus run` hears when a port becomes another."""
    hooks, ears = Hooks(), Ears()
    hooks.notices = ears  # type: ignore[assignment]
    hosts = {"host": after["binding:host_id"], "original_host": before["binding:host_id"]}
    hooks.update_port_postcommit(SimpleNamespace(current=after, original=before, **hosts))
    return ears.heard


@pytest.mark.parametrize(
    "change",
    [
        {"fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.6"}]},
        {"fixed_ips": []},
        {"mac_address": "fa:16:3e:00:00:02"},
        {"admin_state_up": False},
        {"allowed_address_pairs": [{"mac_address": "00:00:5e:00:01:01", "ip_address": "10.0.0.100"}]},
        {"port_security_enabled": False},
        {"device_id": "another"},
        {"device_owner": ""},
        {"binding:host_id": "compute-2"},
        {"binding:host_id": "", "binding:vif_type": "unbound"},
        {"binding:vif_type": "binding_failed"},
    ],
    ids=str,
)
def test_what_changes_a_port_wakes_isthmus(change: dict[str, Any]) -> None:
    assert heard(PORT, {**PORT, **change}) == [["red"]]


@pytest.mark.parametrize("status", ["ACTIVE", "BUILD"])
def test_what_an_agent_says_of_its_port_wakes_isthmus_and_what_isthmus_said_itself_does_not(status: str) -> None:
    theirs, elsewhere = {**PORT, **FILTERED}, {**PORT, "binding:vif_type": "ovs"}
    for port in (theirs, elsewhere):
        assert heard(port, {**port, "status": status}) == [["red"]]
        assert heard({**port, "status": status}, port) == [["red"]]
    assert heard(PORT, {**PORT, "status": status}) == []


def test_a_port_that_is_renamed_or_on_no_host_wakes_nobody() -> None:
    assert heard(PORT, {**PORT, "name": "web"}) == []
    nowhere = {**PORT, "binding:host_id": ""}
    assert heard(nowhere, {**nowhere, "device_id": "another"}) == []


def test_an_agent_that_starts_wakes_isthmus_unless_it_has_no_vtep_or_is_an_appliance_of_ours() -> None:
    """Our own appliances are no members outside vSphere: who is behind them vCenter says."""
    told = {"tunneling_ip": "192.0.2.21", "tunnel_types": ["vxlan"]}
    ours = Appliance("esx1", "192.0.2.1").report(start=True)["agent_state"]["agent_state"]
    agents = {
        "kvm": {"agent_type": "Open vSwitch agent", "configurations": told, "start_flag": True},
        "provider": {"agent_type": "Open vSwitch agent", "configurations": {"tunneling_ip": None}, "start_flag": True},
        "esx1": ours,
    }
    woken = set()
    for host, agent in agents.items():
        hooks, ears = Hooks(), Ears()
        hooks.notices = ears  # type: ignore[assignment]
        hooks._agent_reported("agent", "after_update", None, SimpleNamespace(desired_state=agent))
        woken |= {host for _ in ears.heard}
    assert woken == {"kvm"}
    assert {host: vtep_of(row["agent_type"], row["configurations"]) for host, row in agents.items()} == {
        "kvm": "192.0.2.21",
        "provider": None,
        "esx1": None,
    }
