"""The intent file: what it says is read whole, or refused with every error and its line."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.adapters.file import FileIntent
from isthmus.adapters.file.document import parse
from isthmus.adapters.file.meaning import intent_of
from isthmus.model.faults import Refused
from isthmus.model.intent import AllowedPair, Intent, Network, Peer, Port
from isthmus.model.names import Mac, NetworkId, PortId, VmId
from isthmus.model.tags import Vni

VM = "42000000-0000-0000-0000-000000000001"


def errors(text: str | bytes) -> list[str]:
    """What is wrong, as an operator reads it."""
    intent, flaws = intent_of(parse(text.encode() if isinstance(text, str) else text))
    assert (intent is None) == bool(flaws)
    return [flaw.at("f") for flaw in flaws]


def test_a_network_needs_a_name_and_a_vni(tmp_path: Path) -> None:
    path = tmp_path / "intent.yaml"
    path.write_text("networks:\n- {name: red, vni: 5001}\n- {id: b, name: Blue, vni: 5002, mtu: 8950, ports: listed}\n")
    intent = FileIntent(path).read()
    assert intent == Intent(
        {
            NetworkId("red"): Network(NetworkId("red"), Vni(5001), "red"),
            NetworkId("b"): Network(NetworkId("b"), Vni(5002), "Blue", 8950, ports_listed=True),
        }
    )


def test_ports_and_peers_are_read_and_make_their_network_listed() -> None:
    text = f"""
networks: [{{name: red, vni: 5001}}, {{name: blue, vni: 5002}}]
ports:
- network: red
  vm: {VM.upper()}
  mac: 10:20:30:40:50:51
  addresses: [10.0.0.1, "FE80::1"]
  allowed_pairs: [{{address: 10.0.0.0/24}}, {{mac: 00-00-5E-00-01-01, address: 10.0.0.9}}]
  admin_up: no
peers:
- {{network: blue, vtep: 192.0.2.9}}
"""
    intent, flaws = intent_of(parse(text.encode()))
    assert flaws == []
    assert intent is not None
    own = Mac("10:20:30:40:50:51")  # YAML 1.1 would have read a number in base 60
    port = PortId(f"{VM}/{own}")
    pairs = (AllowedPair(own, "10.0.0.0/24"), AllowedPair(Mac("00:00:5e:00:01:01"), "10.0.0.9"))
    assert intent.ports == {
        port: Port(port, NetworkId("red"), VmId(VM), own, ("10.0.0.1", "fe80::1"), admin_up=False, allowed_pairs=pairs)
    }
    assert intent.peers == (Peer(NetworkId("blue"), "192.0.2.9"),)
    assert [network.ports_listed for network in intent.networks.values()] == [True, False]


@pytest.mark.parametrize("name", ["no", "123", "1e3", "0x1f", "1:30", "2001-01-01"])
def test_a_name_stays_what_was_written(name: str) -> None:
    intent, _ = intent_of(parse(f"networks: [{{name: {name}, vni: 1}}]".encode()))
    assert intent is not None
    assert list(intent.networks) == [name]


def test_every_error_is_reported_at_once_with_its_line() -> None:
    found = errors(
        f"""colour: red
networks:
- {{name: red, vni: 5001}}
- name: blue
  vni: 5001
  vnii: 3
- {{name: red, vni: 16777216}}
- 5
- {{name: green, vni: 7, vni: 8}}
ports:
- {{network: blue, vm: x, mac: 00:00:00:00:00:0g, addresses: [10.0.0.256]}}
- {{network: nope, vm: {VM}, mac: 00:50:56:00:00:01}}
peers:
- {{network: red, vtep: 224.0.0.1}}
- {{network: red, vtep: 192.0.2.1, mac: "01:00:5e:00:00:01"}}
"""
    )
    assert found == [
        "f:1: colour: unknown key; there are: networks, ports, peers",
        "f:5: networks[1].vni: 5001 is already used by network 'red' (line 3)",
        "f:6: networks[1].vnii: unknown key; there are: name, vni, id, mtu, ports",
        "f:7: networks[2].vni: should be less than or equal to 16777215",
        "f:8: networks[3]: must be a mapping",
        "f:9: networks[4].vni: given twice (first on line 9)",
        "f:11: ports[0].vm: 'x' is not an instance UUID (the VM's config.instanceUuid)",
        "f:11: ports[0].mac: '00:00:00:00:00:0g' is not a MAC address such as 00:50:56:00:00:01",
        "f:11: ports[0].addresses[0]: '10.0.0.256' is not an IP address",
        "f:12: ports[1].network: there is no network 'nope'",
        "f:14: peers[0].vtep: 224.0.0.1 cannot be the address of a VTEP",
        "f:15: peers[1].mac: 01:00:5e:00:00:01 is a multicast address, not one of a network adapter",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("networks: [{name: a, vni: 1}, {name: a, vni: 2}]", "'a' is already used by network 'a' (line 1)"),
        (
            (
                f"networks: [{{name: a, vni: 1}}]\nports:\n- {{network: a, vm: {VM}, mac: 00:00:00:00:00:01}}\n"
                "- {network: a, vm: 42000000-0000-0000-0000-000000000002, mac: 00:00:00:00:00:01}"
            ),
            "00:00:00:00:00:01 in this network is already used by port",
        ),
        (
            (
                f"networks: [{{name: a, vni: 1}}]\nports: [{{network: a, vm: {VM}, mac: 00:00:00:00:00:01, addresses: "
                "[10.0.0.1]}]\npeers: [{network: a, vtep: 192.0.2.1, mac: 00:00:00:00:00:02, addresses: [10.0.0.1]}]"
            ),
            "10.0.0.1 in this network is already used by port",
        ),
    ],
)
def test_what_must_be_unique_is_told_with_who_has_it(text: str, said: str) -> None:
    (error,) = errors(text)
    assert said in error


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be a mapping with a 'networks' list; write 'networks: []' for none"),
        (b"# nothing\n", "write 'networks: []' for none"),
        (b"networks:\n", "f:1: networks: must be a list"),
        (b"ports: []\n", "'networks' is missing"),
        (b"- a\n", "must be a mapping"),
        (b"networks: [\n", "not YAML"),
        (b"\xff\xfe\x00\x01", "byte 0 is not UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "not a text file"),
        (b"networks: &x [{name: a, vni: 1}]\npeers: *x\n", "an alias (*name)"),
        (b"networks: []\n---\nnetworks: []\n", "f:2: a second document"),
        (b"networks: [{name: !!python/object:os.system a, vni: 1}]", "is not allowed"),
        (b"[" * 100_000, "nested too deeply"),
        (b"- " * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_intent_is_refused_and_never_an_empty_one(content: bytes, said: str) -> None:
    assert any(said in error for error in errors(content))


def test_no_networks_is_said_with_an_empty_list() -> None:
    intent, _ = intent_of(parse(b"networks: []"))
    assert intent == Intent({})


@pytest.mark.parametrize("name", ["a\\nb", "\\u202eabc", " a", "x" * 10_000])
def test_a_hostile_name_may_be_shown_but_not_serve_as_an_id(name: str) -> None:
    (error,) = errors(f'networks: [{{name: "{name}", vni: 1}}]')
    assert "give it an id" in error
    intent, _ = intent_of(parse(f'networks: [{{id: n1, name: "{name}", vni: 1}}]'.encode()))
    assert intent is not None
    assert list(intent.networks) == ["n1"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="networks:[]{}-, \n\t\"'&*!|>?#1aé", max_size=200).map(str.encode))
def test_whatever_a_file_holds_is_an_intent_or_errors(content: bytes) -> None:
    intent, flaws = intent_of(parse(content))
    assert (intent is None) == bool(flaws)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read: No such file"):
        FileIntent(tmp_path / "none.yaml").read()
    with pytest.raises(Refused, match="cannot be read: Is a directory"):
        FileIntent(tmp_path).read()


def test_a_file_replaced_by_a_rename_or_edited_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "intent.yaml"
    path.write_text("networks: [{name: a, vni: 1}]")
    source = FileIntent(path)
    first = source.read()
    assert source.read() is first
    fresh = tmp_path / "new"
    fresh.write_text("networks: [{name: b, vni: 1}]")
    os.replace(fresh, path)
    assert list(source.read().networks) == ["b"]
    path.write_text("nonsense")
    with pytest.raises(Refused):
        source.read()
    path.write_text("networks: [{name: c, vni: 1}]")
    assert list(source.read().networks) == ["c"]


def test_a_change_of_the_file_wakes_and_close_ends_the_watching(tmp_path: Path) -> None:
    path = tmp_path / "intent.yaml"
    path.write_text("networks: []")
    source, woken, hosts = FileIntent(path, poll_seconds=0.01), threading.Event(), []
    source.watch(lambda on: (hosts.append(on), woken.set())[1])
    fresh = tmp_path / "new"
    fresh.write_text("networks: []")
    os.replace(fresh, path)
    assert woken.wait(10)
    assert hosts[0] is None
    source.close()
    woken.clear()
    path.unlink()
    assert not woken.wait(0.1)
