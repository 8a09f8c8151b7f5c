"""What `isthmus check` says of a way between VTEPs that is narrower somewhere in its midst than at its ends."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from isthmus.app.check_underlay import room
from isthmus.app.config import DeploymentConfig
from isthmus.app.finding import Finding, Level
from lab.netns import namespace
from lab.netns.fabric import cable

pytestmark = [pytest.mark.live, pytest.mark.timeout(60)]
HERE, THERE, NOBODY = "192.0.2.1", "192.0.2.2", "192.0.2.3"
MTU = 1500


@pytest.fixture
def spaces(machine: None) -> Iterator[tuple[str, str]]:
    """The appliance's namespace, and that of the switch between it and its peer."""
    own, switch, peer = (f"u{os.getpid()}-{name}" for name in ("own", "switch", "peer"))
    try:
        for name in (own, switch, peer):
            namespace.add(name, speaks_ipv6=False)
        namespace.ip(switch, ["link add underlay type bridge forward_delay 0 mcast_snooping 0"])
        for name, address in ((own, HERE), (peer, THERE)):
            port = f"to-{name.rpartition('-')[2]}"
            cable(name, "eth0", switch, port)
            namespace.ip(switch, [f"link set {port} master underlay"])
            namespace.ip(name, [f"addr add {address}/24 dev eth0"])
        namespace.ip(switch, ["link set underlay up"])
        yield own, switch
    finally:
        for name in (own, switch, peer):
            namespace.delete(name)


def said(own: str, *vteps: str) -> list[Finding]:
    hosts = {f"esx{number}": {"vtep": vtep} for number, vtep in enumerate((HERE, *vteps), start=1)}
    deployment = DeploymentConfig.model_validate(
        {"design": "ovsvapp", "dvs": "tenant", "serve": "esx1", "appliance": {"trunk": "trunk0"}, "host": hosts}
    )
    return namespace.within(own, lambda: list(room("deployment.lab", deployment, MTU)))


def test_a_way_that_carries_the_encapsulation_is_told_from_one_that_loses_it_in_its_midst(
    spaces: tuple[str, str],
) -> None:
    own, switch = spaces
    (found,) = said(own, THERE)
    assert found.level is Level.GOOD
    namespace.ip(switch, ["link set to-peer mtu 1549"])
    (found,) = said(own, THERE)
    assert found.is_error
    assert f"packets of 1550 bytes get lost on the way to {THERE} or back" in found.what
    assert "1550 or more" in found.remedy
    namespace.ip(switch, ["link set to-peer mtu 1550"])
    (found,) = said(own, THERE)
    assert found.level is Level.GOOD


def test_a_vtep_that_does_not_answer_is_named_and_another_is_judged_all_the_same(spaces: tuple[str, str]) -> None:
    own, switch = spaces
    namespace.ip(switch, ["link set to-peer mtu 1400"])
    lost, silent = said(own, THERE, NOBODY)
    assert lost.is_error
    assert THERE in lost.what
    assert silent.level is Level.WARNING
    assert NOBODY in silent.what
    assert THERE not in silent.what


def test_a_router_that_could_fragment_does_not_make_a_narrow_way_wide(spaces: tuple[str, str]) -> None:
    own, switch = spaces
    peer, beyond = own.replace("-own", "-peer"), "198.51.100.2"
    namespace.ip(switch, ["link set to-peer nomaster mtu 1500", "link set to-own nomaster"])
    namespace.ip(switch, ["addr add 192.0.2.254/24 dev to-own", "addr add 198.51.100.254/24 dev to-peer"])
    namespace.run("ip", "netns", "exec", switch, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    namespace.ip(
        peer,
        [
            "addr flush dev eth0",
            f"addr add {beyond}/24 dev eth0",
            "link set eth0 mtu 1500",
            "route add default via 198.51.100.254",
        ],
    )
    namespace.ip(own, ["route add default via 192.0.2.254"])
    (found,) = said(own, beyond)
    assert found.is_error
    namespace.ip(switch, ["link set to-peer mtu 1550"])
    namespace.ip(peer, ["link set eth0 mtu 1550"])
    namespace.ip(own, ["route flush cache"])  # what the router said is believed for ten minutes
    (found,) = said(own, beyond)
    assert found.level is Level.GOOD


def test_a_nic_that_is_too_narrow_is_an_error_before_anything_is_sent(spaces: tuple[str, str]) -> None:
    own, _ = spaces
    namespace.ip(own, ["link set eth0 mtu 1549"])
    (found,) = said(own, THERE)
    assert found.is_error
    assert "takes packets of 1549 bytes, the networks need 1500 + 50" in found.what
