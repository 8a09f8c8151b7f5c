"""Whatever an appliance holds, its two bridges become what they must be, and nobody else's are touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from isthmus.adapters.ovs.bridges import (
    LOCAL,
    OWNER_KEY,
    VXLAN,
    AddBridge,
    AddPort,
    BridgeState,
    Correction,
    PortState,
    RemovePort,
    Set,
    Snapshot,
    corrections,
    failed_trials,
    faults,
    trials,
    unproven,
)
from isthmus.adapters.ovs.settings import OWN_INTERFACES, PATCH_TUN, OvsSettings
from isthmus.adapters.tls import TlsFiles
from isthmus.model.faults import Refused
from isthmus.model.flow import Bridge

SETTINGS = OvsSettings(trunk="eth1", vtep="192.0.2.1", owner="east", datapath_type="netdev")
FOREIGN = Snapshot(
    {"br-phy": BridgeState("br-phy", None, "netdev", "", frozenset())},
    {"br-phy": PortState("br-phy", "br-phy", "internal", number=LOCAL), "eth0": PortState("br-phy", "eth0", number=1)},
)


def obey(snapshot: Snapshot, steps: tuple[Correction, ...]) -> Snapshot:
    """What OVSDB and ovs-vswitchd make of corrections."""
    bridges, ports = dict(snapshot.bridges), dict(snapshot.ports)
    for step in steps:
        match step:
            case AddBridge(name, datapath_type):
                bridges[name] = BridgeState(name, None, datapath_type, "", frozenset())
                ports[name] = PortState(name, name, "internal", number=LOCAL)
            case RemovePort(_, name):
                del ports[name]
            case AddPort(bridge, name, columns):
                assert name not in ports
                ports[name] = port_after(PortState(bridge, name), columns)
            case Set("Interface", name, columns):
                ports[name] = port_after(ports[name], columns)
            case Set("Controller", name, columns):
                bridges[name] = replace(bridges[name], listeners=frozenset({str(columns["target"])}))
            case Set("Bridge", name, columns):
                bridges[name] = bridge_after(bridges[name], columns)
    return Snapshot(bridges, ports)


def port_after(port: PortState, columns: Mapping[str, Any]) -> PortState:
    owner = columns.get("external_ids", {OWNER_KEY: port.owner})[OWNER_KEY]
    number = columns.get("ofport_request", port.wanted_number)
    options = {**port.options, **columns.get("options", {})}
    type_ = columns.get("type", port.type)
    return replace(port, type=type_, options=options, owner=owner, wanted_number=number, number=number)


def bridge_after(bridge: BridgeState, columns: Mapping[str, Any]) -> BridgeState:
    return replace(
        bridge,
        owner=columns.get("external_ids", {OWNER_KEY: bridge.owner})[OWNER_KEY],
        datapath_type=columns.get("datapath_type", bridge.datapath_type),
        fail_mode=columns.get("fail_mode", bridge.fail_mode),
        protocols=frozenset(columns.get("protocols", bridge.protocols)),
    )


BUILT = obey(FOREIGN, corrections(FOREIGN, SETTINGS))


def test_an_appliance_without_our_bridges_gets_them_in_one_go() -> None:
    assert corrections(BUILT, SETTINGS) == ()
    assert faults(BUILT, SETTINGS) == ()
    assert BUILT.ports[VXLAN].options == {
        "key": "flow", "remote_ip": "flow", "local_ip": "192.0.2.1", "dst_port": "4789"
    }  # fmt: skip
    assert {BUILT.bridges[bridge.value].fail_mode for bridge in Bridge} == {"secure"}


def test_a_foreign_bridge_stays_as_it_was() -> None:
    assert BUILT.bridges["br-phy"] == FOREIGN.bridges["br-phy"]
    assert BUILT.ports["eth0"] == FOREIGN.ports["eth0"]


def without(name: str) -> Snapshot:
    return Snapshot(BUILT.bridges, {port.name: port for port in BUILT.ports.values() if port.name != name})


def with_port(name: str, **columns: Any) -> Snapshot:
    return Snapshot(BUILT.bridges, {**BUILT.ports, name: replace(BUILT.ports[name], **columns)})


def with_bridge(name: str, **columns: Any) -> Snapshot:
    return Snapshot({**BUILT.bridges, name: replace(BUILT.bridges[name], **columns)}, BUILT.ports)


@pytest.mark.parametrize(
    "damaged",
    [
        without(PATCH_TUN),
        without(VXLAN),
        without("eth1"),
        with_port(VXLAN, options={**BUILT.ports[VXLAN].options, "local_ip": "192.0.2.99"}),
        with_port(PATCH_TUN, type=""),
        with_port("eth1", wanted_number=None, number=7),
        with_port("eth1", number=7),
        with_bridge("br-int", fail_mode="standalone"),
        with_bridge("br-tun", protocols=frozenset({"OpenFlow10"})),
        with_bridge("br-int", datapath_type="system"),
        obey(FOREIGN, (AddBridge("br-int", "system"),)),
    ],
    ids=[
        "no-patch",
        "no-vxlan",
        "no-trunk",
        "vtep",
        "type",
        "number",
        "number-taken",
        "fail-mode",
        "protocols",
        "datapath",
        "empty",
    ],
)
def test_what_is_missing_or_wrong_is_mended_and_nothing_else_written(damaged: Snapshot) -> None:
    steps = corrections(damaged, SETTINGS)
    assert steps
    assert obey(damaged, steps) == BUILT


def test_an_option_that_is_not_ours_to_say_stays() -> None:
    tuned = with_port(VXLAN, options={**BUILT.ports[VXLAN].options, "csum": "true"})
    assert corrections(tuned, SETTINGS) == ()


def test_a_trunk_that_was_renamed_leaves_its_old_port_behind_nowhere() -> None:
    steps = corrections(BUILT, replace(SETTINGS, trunk="eth2"))
    assert RemovePort("br-int", "eth1") in steps
    renamed = obey(BUILT, steps)
    assert set(renamed.ports) == set(BUILT.ports) - {"eth1"} | {"eth2"}
    assert corrections(renamed, replace(SETTINGS, trunk="eth2")) == ()


def test_a_trunk_to_come_is_tried_beside_the_old_one_under_a_number_of_no_flow() -> None:
    renamed = replace(SETTINGS, trunk="eth2")
    (trial,) = trials(BUILT, renamed)
    assert (trial.bridge, trial.name) == ("br-int", "eth2")
    assert "ofport_request" not in trial.columns
    tried = obey(BUILT, (trial,))
    works = Snapshot(tried.bridges, {**tried.ports, "eth2": replace(tried.ports["eth2"], number=4)})
    assert unproven(works, renamed) == ()
    assert failed_trials(works, renamed) == ()
    swapped = obey(works, corrections(works, renamed))
    assert corrections(swapped, renamed) == ()
    assert "eth1" not in swapped.ports


@pytest.mark.parametrize("number", [None, -1])
def test_a_trunk_that_is_not_there_is_taken_back_and_named(number: int | None) -> None:
    renamed = replace(SETTINGS, trunk="eth2")
    tried = obey(BUILT, trials(BUILT, renamed))
    dead = replace(tried.ports["eth2"], number=number, error="No such device")
    broken = Snapshot(tried.bridges, {**tried.ports, "eth2": dead})
    ((removal, why),) = failed_trials(broken, renamed)
    assert obey(broken, (removal,)) == BUILT
    assert "trunk interface eth2 of br-int: No such device" in why
    assert "eth1 stays in its place" in why
    assert trials(broken, renamed) == (), "one left by a crash is not added twice"


def test_what_replaces_nothing_needs_no_trial() -> None:
    assert unproven(FOREIGN, SETTINGS) == unproven(BUILT, SETTINGS) == unproven(without("eth1"), SETTINGS) == ()


def test_a_trunk_that_was_in_our_other_bridge_is_moved() -> None:
    moved = with_port("eth1", bridge="br-tun")
    assert obey(moved, corrections(moved, SETTINGS)) == BUILT


def test_a_port_that_somebody_added_to_our_bridge_stays() -> None:
    tapped = Snapshot(BUILT.bridges, {**BUILT.ports, "tap": PortState("br-int", "tap", number=9)})
    assert corrections(tapped, SETTINGS) == ()


@pytest.mark.parametrize(
    ("snapshot", "place"),
    [
        (with_bridge("br-int", owner=None), "br-int exists, is not ours, and holds eth1, patch-tun"),
        (with_bridge("br-tun", owner="west"), "belongs to the isthmus installation 'west'"),
        (
            Snapshot({**FOREIGN.bridges}, {**FOREIGN.ports, "eth1": PortState("br-phy", "eth1", number=2)}),
            "eth1 is in br-phy",
        ),
        (
            Snapshot(BUILT.bridges, {**without("eth1").ports, "tap": PortState("br-int", "tap", wanted_number=1)}),
            "tap of br-int is not ours and asks for port number 1",
        ),
    ],
    ids=["foreign", "other-owner", "trunk-elsewhere", "number-taken"],
)
def test_what_is_not_ours_and_in_the_way_is_refused_with_its_place(snapshot: Snapshot, place: str) -> None:
    with pytest.raises(Refused, match=place):
        corrections(snapshot, SETTINGS)


def test_a_missing_nic_is_named() -> None:
    gone = with_port("eth1", number=-1, error="could not open network device eth1 (No such device)")
    assert corrections(gone, SETTINGS) == ()
    (fault,) = faults(gone, SETTINGS)
    assert fault.startswith("trunk interface eth1 of br-int: could not open network device eth1")
    assert fault.endswith("does the appliance have this NIC?")


def test_a_bridge_that_ovs_could_not_make_is_named() -> None:
    assert "is datapath type 'netdev' available" in faults(with_port("br-int", number=-1), SETTINGS)[0]


def test_a_bridge_reached_by_ssl_is_told_to_listen() -> None:
    targets = {Bridge.INT: "ssl:192.0.2.1:6653", Bridge.TUN: "ssl:192.0.2.1:6654"}
    tls = TlsFiles("key.pem", "certificate.pem", "ca.pem")
    remote = replace(SETTINGS, ovsdb="ssl:192.0.2.1:6640", openflow=targets, tls=tls)
    built = obey(BUILT, corrections(BUILT, remote))
    assert built.bridges["br-int"].listeners == {"pssl:6653"}
    assert built.bridges["br-tun"].listeners == {"pssl:6654"}
    assert corrections(built, remote) == ()


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        *(("trunk", name, "isthmus makes itself") for name in sorted(OWN_INTERFACES)),
        ("vtep", "192.0.2", "not an IPv4 address"),
        ("vtep", "2001:db8::1", "not an IPv4 address"),
        ("trunk", "a name much too long", "not an interface name"),
        ("trunk", "eth1\n", "not an interface name"),
        ("owner", "", "owner is empty"),
        ("datapath_type", "dpdk", "neither of system, netdev"),
        ("vxlan_port", 70000, "not in 1..65535"),
        ("ovsdb", "unix:db.sock", "neither unix:/absolute/path nor ssl:host:port"),
        ("ovsdb", "tcp:192.0.2.1:6640", "neither unix:/absolute/path nor ssl:host:port"),
        ("ovsdb", "ssl:192.0.2.1:6640", "needs tls"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(setting: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(SETTINGS, **{setting: value})  # type: ignore[arg-type]
