"""The program against a simulated vCenter: bad input is named and changes nothing; the daemon starts, shows, stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.vcenter import Dvs, MacLearning, Member, Nic, PortGroup, Security, Simulator, Topology, Trunk, Vm

pytestmark = pytest.mark.sim
CANARY = "canary-Pa55"
HOSTS = ("esx1.lab", "esx2.lab")
HOSTILE = "a\nb\u202e<b>%2f" + "x" * 40
APPLIANCES = ("42000000-0000-0000-0000-00000000000a", "42000000-0000-0000-0000-00000000000b")
LOST = "42000000-0000-0000-0000-00000000000c"
DEAF = PortGroup(
    "deaf",
    Trunk(),
    security=Security(forged_transmits=True),
    mac_learning=MacLearning(limit=1, allow_unicast_flooding=False),
)
TOPOLOGY = Topology.single(
    HOSTS,
    [
        Dvs("tenant", (PortGroup("trunk", Trunk(), security=Security(True, False, True)), PortGroup("hand", 77), DEAF)),
        Dvs("wired", uplinks=("uplink1",), uplink_vlans=((150, 160),), members=(Member("esx1.lab", ("vmnic1",)),)),
    ],
    [
        Vm(HOSTILE, "esx1.lab", (Nic("hand"),)),
        Vm("va1", "esx1.lab", (Nic("hand"), Nic("deaf")), uuid=APPLIANCES[0]),
        Vm("lost", "esx1.lab", uuid=LOST),
        Vm("va2", "esx2.lab", (Nic("trunk"),), uuid=APPLIANCES[1]),
    ],
)


@pytest.fixture(scope="module")
def vcenter() -> Iterator[Simulator]:
    with Simulator(TOPOLOGY, password=CANARY) as running:
        yield running


class Site:
    """A folder with a configuration and the program run on it."""

    def __init__(self, folder: Path, vcenter: Simulator) -> None:
        self.folder = folder
        self.intent = folder / "intent.yaml"
        self.intent.write_text("networks: [{name: red, vni: 5001}]")
        (folder / "password").write_text(CANARY + "\n")
        self.vcenter: dict[str, object] = {
            "url": vcenter.url,
            "user": vcenter.user,
            "password_file": "password",
            "ca_file": str(vcenter.ca_file),
            "timeout": 5,
        }
        self.deployment: dict[str, object] = {"design": "ovsvapp", "dvs": "tenant", "vids": "100-199"}
        self.hosts = {
            "esx1.lab": {"vtep": "203.0.113.1", "ovsdb": f"unix:{folder}/none1/db.sock", "trunk": "t0"},
            "esx2.lab": {"vtep": "203.0.113.2", "ovsdb": f"unix:{folder}/none2/db.sock", "trunk": "t0"},
        }

    def write(self) -> Path:
        tables: dict[str, dict[str, Any]] = {
            "vcenter.vc1": self.vcenter,
            "intent": {"file": "intent.yaml"},
            "status": {"socket": "sock", "state": "state"},
            "deployment.tenant": self.deployment,
            **{f'deployment.tenant.host."{name}"': table for name, table in self.hosts.items()},
        }
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
            for name, table in tables.items()
        ]
        path = self.folder / "isthmus.toml"
        path.write_text("".join(lines))
        return path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "isthmus.app.cli", *words, "--config", str(self.write())]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False)
        assert CANARY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def site(tmp_path: Path, vcenter: Simulator) -> Site:
    return Site(tmp_path, vcenter)


def findings(site: Site) -> list[str]:
    """The errors that `check` finds; it leaves with 1 if there are any."""
    done = site.run("check", "--json")
    found = json.loads(done.stdout)["findings"] if done.stdout else []
    errors = [f"{item['place']}: {item['what']} -> {item['remedy']}" for item in found if item["level"] == "error"]
    assert done.returncode == (1 if errors else 0)
    return errors


def one(errors: list[str], *words: str) -> None:
    found = [error for error in errors if all(word in error for word in words)]
    assert len(found) == 1, (words, errors)
    assert " -> " in found[0]


def test_check_names_a_missing_ovs_socket_and_else_finds_all_well(site: Site) -> None:
    errors = findings(site)
    assert len(errors) == 2
    one(errors, 'deployment.tenant.host."esx1.lab".ovsdb', "none1/db.sock")
    one(errors, 'deployment.tenant.host."esx2.lab".ovsdb', "none2/db.sock")


def test_check_looks_at_the_port_group_of_each_appliance_that_is_known(site: Site) -> None:
    for host, uuid in zip(HOSTS, APPLIANCES, strict=True):
        site.hosts[host]["bios_uuid"] = uuid
    errors = findings(site)
    one(errors, "'deaf'", "floods no unicast")
    one(errors, "'deaf'", "drops frames of remote VMs beyond the first 1 MACs")
    assert not [error for error in errors if "'trunk'" in error]
    del site.hosts["esx1.lab"]["bios_uuid"]
    assert not [error for error in findings(site) if "deaf" in error], "nobody knows which trunk its appliance is in"


def test_check_names_an_appliance_without_a_nic_on_the_switch_and_one_in_another_port_group_than_is_configured(
    site: Site,
) -> None:
    site.hosts["esx1.lab"]["bios_uuid"] = LOST
    one(findings(site), 'host."esx1.lab".bios_uuid', "has no NIC on dvs 'tenant'")
    site.hosts["esx1.lab"]["bios_uuid"] = APPLIANCES[0]
    site.deployment["trunk_port_group"] = "trunk"
    told = json.loads(site.run("check", "--json").stdout)["findings"]
    [warning] = [item for item in told if item["what"].endswith("has its trunk NIC in port group 'deaf'")]
    assert (warning["level"], "move it to 'trunk'" in warning["remedy"]) == ("warning", True)


def test_check_names_a_switch_that_does_not_exist_and_those_that_do(site: Site) -> None:
    site.deployment["dvs"] = "tennant"
    one(findings(site), "deployment.tenant.dvs", "'tennant' does not exist", "tenant, wired")
    done = site.run("plan")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "isthmus: dvs 'tennant' does not exist in vCenter 'vc1'; there are: tenant, wired"
    )


def test_check_names_uplinks_that_carry_tenants_vids(site: Site) -> None:
    site.deployment["dvs"] = "wired"
    errors = findings(site)
    one(errors, "uplinks carry VIDs 150-160")
    one(errors, 'host."esx2.lab"', "is not a member of dvs 'wired'")
    one(errors, "no trunk port group")


def test_check_names_a_host_that_does_not_exist(site: Site) -> None:
    site.hosts["esx9.lab"] = site.hosts.pop("esx2.lab")
    one(findings(site), 'host."esx9.lab"', "does not exist", "esx1.lab, esx2.lab")


def test_check_names_a_duplicate_vni_with_both_lines(site: Site) -> None:
    site.intent.write_text("networks:\n- {name: red, vni: 7}\n- {name: blue, vni: 7}\n")
    one(findings(site), "intent.yaml:3: networks[1].vni: 7 is already used by network 'red' (line 2)")


def test_check_names_an_mtu_that_the_switch_does_not_carry(site: Site) -> None:
    site.intent.write_text("networks: [{name: red, vni: 7, mtu: 8000}]")
    one(findings(site), "1500", "8000")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("url", "https://127.0.0.1:1/sdk", "unreachable"),
        ("user", "nobody@vsphere.local", "vcenter.vc1"),
        ("ca_file", None, "certificate"),
    ],
)
def test_a_vcenter_that_cannot_be_used_is_named_with_the_reason(
    site: Site, key: str, value: str | None, said: str
) -> None:
    if value is None:
        del site.vcenter[key]
    else:
        site.vcenter[key] = value
    errors = findings(site)
    assert len(errors) == 1
    one(errors, "vcenter.vc1", said)
    assert site.run("plan").returncode == 1


def test_a_hostile_vm_name_breaks_no_line(site: Site) -> None:
    done = site.run("explain", HOSTILE.replace("%2f", "/"))  # as vCenter writes a slash
    assert done.returncode == 0
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert "it is in no port group of ours" in done.stdout


def until(seconds: float, so: Any) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if so():
            return True
        time.sleep(0.05)
    return False


def test_the_daemon_starts_shows_reloads_its_intent_and_stops_within_two_seconds(site: Site) -> None:
    log = site.folder / "log"
    with log.open("w") as output:
        daemon = subprocess.Popen(site.command("run"), stderr=output)
    try:
        assert until(20, lambda: "create port group 'red'" in log.read_text())
        site.intent.write_text("networks: [{name: red, vni: 5001}, {name: red, vni: 5001}]")
        assert until(20, lambda: "stale" in site.run("show").stdout)
        draft = site.folder / "draft"
        draft.write_text("networks: []")
        os.replace(draft, site.intent)
        assert until(20, lambda: "remove port group" in log.read_text())
        shown = site.run("show")
        assert "tenant/port-groups: settled" in shown.stdout
        assert "ovs esx1.lab: no OVSDB socket at" in shown.stdout
        assert site.run("run").returncode == 1  # a second daemon
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        assert time.monotonic() - began < 4  # two seconds, and two for a busy machine
    finally:
        daemon.kill()
        daemon.wait()
    assert CANARY not in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (site.folder / "sock").exists()


def test_systemd_is_told_when_it_is_ready_that_it_makes_progress_and_when_it_leaves(site: Site, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        daemon = subprocess.Popen(site.command("run"), env=environment, stderr=subprocess.DEVNULL)
        try:
            assert systemd.recv(1000).decode().split("\n")[0] == "READY=1"
            signs = [systemd.recv(1000).decode() for _ in range(3)]
            assert all(sign.startswith("WATCHDOG=1\nSTATUS=") for sign in signs)
            daemon.send_signal(signal.SIGTERM)
            assert until(5, lambda: systemd.recv(1000) == b"STOPPING=1")
            assert daemon.wait(10) == 0
        finally:
            daemon.kill()
            daemon.wait()
