"""A secured port is heard on other hosts only from the addresses that it may use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isthmus.core.design import OVSVAPP
from isthmus.core.flows import link_local
from isthmus.model.flow import BROADCAST, ETH_IPV6
from isthmus.model.intent import AllowedPair
from isthmus.model.names import PortId, mac, prefix
from lab.wire.frames import Frame, arp_request, rarp
from lab.wire.world import Lab, two_hosts

OWN, OWN_V6, FOREIGN = "10.0.0.55", "2001:db8::5", "10.0.0.66"
VRRP = mac("00:00:5e:00:01:01")


@pytest.fixture
def made() -> Lab:
    """a on esx1, secured; b on esx2 hears what leaves esx1; c is a's neighbour on esx1."""
    lab = two_hosts(OVSVAPP).network("red", ports_listed=True)
    for name, host in (("a", "esx1"), ("b", "esx2"), ("c", "esx1")):
        lab.boot(name, host, "red")
    secure(lab)
    for group in lab.groups_of_ours():
        group.forged_transmits = True  # a MAC of VRRP is forged, to a switch
    return lab


def secure(lab: Lab, *pairs: AllowedPair, secured: bool = True) -> None:
    port = lab.intent.ports[PortId("port-a")]
    lab.intent.ports[port.id] = replace(port, addresses=(OWN, OWN_V6), secured=secured, allowed_pairs=pairs)
    lab.settle()


def passes(lab: Lab, frame: Frame, to: str = "b") -> bool:
    return lab.nic(to).id in {heard.nic for heard in lab.send("a", frame)}


def packet(lab: Lab, source: str, sender: str = "") -> Frame:
    kind = {"eth_type": ETH_IPV6} if ":" in source else {}
    return Frame(sender or lab.nic("a").mac, BROADCAST, source=source, **kind)


def test_it_is_heard_from_its_own_addresses(made: Lab) -> None:
    own = made.nic("a").mac
    assert passes(made, packet(made, OWN))
    assert passes(made, packet(made, OWN_V6))
    assert passes(made, packet(made, link_local(own)))
    assert passes(made, arp_request(own, OWN, "10.0.0.1"))


def test_it_is_not_heard_from_anothers(made: Lab) -> None:
    own = made.nic("a").mac
    assert not passes(made, packet(made, FOREIGN))
    assert not passes(made, packet(made, "2001:db8::66"))
    assert not passes(made, packet(made, "fe80::1"))
    assert not passes(made, arp_request(own, FOREIGN, "10.0.0.1"))
    assert not passes(made, Frame(own, BROADCAST, 0x88B5)), "what is no IP names nobody"


def test_a_guest_without_an_address_may_ask_for_one_and_a_moved_one_is_announced(made: Lab) -> None:
    own = made.nic("a").mac
    assert passes(made, packet(made, "0.0.0.0"))
    assert passes(made, packet(made, "::"))
    assert passes(made, arp_request(own, "0.0.0.0", OWN))
    assert passes(made, rarp(own))


def test_a_neighbour_on_its_host_hears_what_it_likes(made: Lab) -> None:
    """Their frames never leave the switch: docs/designs/ovsvapp.md."""
    assert passes(made, packet(made, FOREIGN), to="c")


def test_a_pair_lets_it_send_from_further_addresses_and_prefixes(made: Lab) -> None:
    secure(made, AllowedPair(made.nic("a").mac, "10.1.0.0/16"), AllowedPair(VRRP, "10.0.0.254"))
    assert passes(made, packet(made, "10.1.2.3"))
    assert not passes(made, packet(made, "10.2.2.3"))
    assert passes(made, packet(made, "10.0.0.254", VRRP))
    assert not passes(made, packet(made, OWN, VRRP))
    secure(made)
    assert not passes(made, packet(made, "10.1.2.3"))


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "::/0"])
def test_a_pair_of_all_addresses_lets_it_send_from_any_of_its_kind(made: Lab, everything: str) -> None:
    secure(made, AllowedPair(made.nic("a").mac, everything))
    is_four = ":" not in everything
    assert passes(made, packet(made, FOREIGN)) == is_four
    assert passes(made, packet(made, "2001:db8::66")) != is_four


def test_one_that_is_not_secured_sends_from_any_address(made: Lab) -> None:
    secure(made, secured=False)
    assert passes(made, packet(made, FOREIGN))
    secure(made)
    assert not passes(made, packet(made, FOREIGN))


def test_of_two_that_share_a_mac_each_may_send_from_what_either_may(made: Lab) -> None:
    secure(made, AllowedPair(VRRP, "10.0.0.254"))
    neighbour = made.intent.ports[PortId("port-c")]
    made.intent.ports[neighbour.id] = replace(neighbour, secured=True, allowed_pairs=(AllowedPair(VRRP, "10.0.0.253"),))
    made.settle()
    assert passes(made, packet(made, "10.0.0.253", VRRP))
    assert not passes(made, packet(made, FOREIGN, VRRP))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5/32", "10.0.0.5"),
        ("10.0.0.5/24", "10.0.0.0/24"),
        ("2001:DB8:0::5/128", "2001:db8::5"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_an_address_has_one_way_of_writing(said: str, meant: str) -> None:
    assert prefix(said) == meant


@pytest.mark.parametrize("said", ["", "10.0.0", "10.0.0.5/33", "red", "10.0.0.5;actions=normal"])
def test_what_is_no_address_is_none(said: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        prefix(said)
