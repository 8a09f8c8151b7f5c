"""`isthmus run` hears at once that a Neutron agent with a VTEP starts: it knows nobody behind ours yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from neutron.agent.rpc import PluginReportStateAPI
from neutron.conf.agent import common
from neutron_lib.agent import topics
from oslo_config import cfg

from isthmus.adapters.neutron.presence import Appliance, Presence
from isthmus.adapters.neutron.protocol import CLUSTER
from tests.openstack.cloud import DRIVERS, Cloud, cloud

pytestmark = pytest.mark.openstack

QUIET = 0.5
"""Seconds in which a word that was said would be heard."""
TOLD = {"tunneling_ip": "192.0.2.21", "tunnel_types": ["vxlan"], "bridge_mappings": {}}


@pytest.fixture(params=[DRIVERS, ("isthmus_ovsvapp", "openvswitch", "l2population")], ids=["leaves", "appliances"])
def neutron(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with cloud(request.param) as made:
        common.register_agent_state_opts_helper(cfg.CONF)
        yield made


def reports(neutron: Cloud, configurations: dict[str, Any] = TOLD, **more: Any) -> None:
    """What the Open vSwitch agent of host kvm says of itself, in its own words."""
    state = {
        "agent_type": "Open vSwitch agent",
        "binary": "neutron-openvswitch-agent",
        "host": "kvm",
        "topic": "N/A",
        "configurations": configurations,
        **more,
    }
    PluginReportStateAPI(topics.REPORTS).report_state(neutron.context, state, use_call=True)


def is_woken(neutron: Cloud, times: int) -> bool:
    """So often since the start, and no more."""
    end = time.monotonic() + 5.0
    while neutron.keeper.woken < times and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(QUIET)
    return neutron.keeper.woken == times


def test_an_agent_that_starts_wakes_isthmus_and_one_that_lives_on_does_not(neutron: Cloud) -> None:
    reports(neutron)
    assert is_woken(neutron, 1), "it is new"
    reports(neutron)
    assert is_woken(neutron, 1)
    reports(neutron, start_flag=True)
    assert is_woken(neutron, 2)
    reports(neutron, start_flag=False)
    assert is_woken(neutron, 2)


def test_an_agent_that_was_dead_and_did_not_start_is_no_news(neutron: Cloud) -> None:
    reports(neutron)
    assert is_woken(neutron, 1)
    neutron.agent_is_dead("kvm", "Open vSwitch agent")
    reports(neutron)
    assert is_woken(neutron, 1)


def test_who_has_no_vtep_and_whom_isthmus_reports_itself_wakes_nobody(neutron: Cloud) -> None:
    reports(neutron, {"bridge_mappings": {}}, start_flag=True)
    for presence in (Presence("compute-1", "rack1", CLUSTER), Appliance("esx1.lab", "192.0.2.1")):
        told = presence.report(start=True)["agent_state"]["agent_state"]
        PluginReportStateAPI(topics.REPORTS).report_state(neutron.context, told, use_call=True)
    assert is_woken(neutron, 0)
