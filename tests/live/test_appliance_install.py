"""A plain Debian 12 becomes an appliance by one command: its own systemd, its own Open vSwitch, and VMs that talk.

The machine's kernel is that of the lab and has no datapath of Open vSwitch's: its configuration names the userspace
one, and `br-phy`, which only that needs, is set up here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lab.netns import debian, namespace
from lab.netns.appliance import TRUNK, UNDERLAY, Appliance
from lab.netns.debian import Debian
from lab.netns.layout import Layout
from lab.netns.product import DEPLOYMENT, Isthmus, Network, as_toml
from lab.netns.relay import Relay
from lab.netns.stage import Stage, is_open, until
from lab.netns.world import world

pytestmark = [pytest.mark.live, pytest.mark.live_long, pytest.mark.timeout(900)]
TREE = Path(__file__).parents[2]
ESX1, ESX2 = "esx1.lab", "esx2.lab"
RED = Network("red", 5001)
INSTALL = "/root/isthmus/appliance/install"
BEYOND, ROUTER = "203.0.113.0/24", "192.0.2.254"
CONFIG = "etc/isthmus/isthmus.toml"


@dataclass(slots=True)
class Site:
    """Two hosts; the first one's appliance is the machine."""

    stage: Stage
    machine: Debian
    appliance: Appliance
    wheel: str

    def install(self, *words: str) -> subprocess.CompletedProcess[str]:
        wheels = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/root/wheels"}
        vtep, package = str(self.appliance.vtep), f"/root/wheels/{self.wheel}"
        own = ["--underlay", UNDERLAY, "--vtep", vtep, "--trunk", TRUNK, "--mtu", "1550", "--package", package]
        return self.machine.run(INSTALL, *own, "--route", f"{BEYOND}={ROUTER}", *words, **wheels)

    def write_configuration(self) -> None:
        """As its operator would, for all appliances alike."""
        etc, product = self.machine.root / "etc/isthmus", self.stage.isthmus
        config = product._config(ESX1, "")
        etc.mkdir(exist_ok=True)
        login, deployment = config["vcenter"]["lab"], config["deployment"][DEPLOYMENT]
        hosts = {name: {key: host[key] for key in ("vtep", "bios_uuid")} for name, host in deployment["host"].items()}
        (etc / "vcenter.password").write_text(self.stage.world.login.password)
        shutil.copy(login["ca_file"], etc / "vcenter-ca.pem")
        shutil.copy(product.intent, etc / "intent.yaml")
        (etc / "isthmus.toml").write_text(
            as_toml({
                "installation": config["installation"],
                "vcenter": {"lab": {**login, "password_file": "vcenter.password", "ca_file": "vcenter-ca.pem"}},
                "intent": {"file": "intent.yaml"},
                "deployment": {DEPLOYMENT: {**deployment, "serve": "here", "host": hosts}},
            })
        )  # fmt: skip

    def give_the_vtep_to_br_phy(self) -> None:
        """What the userspace datapath needs, and the kernel's does not."""
        machine, vtep = self.machine, str(self.appliance.vtep)
        machine.told("ovs-vsctl", "--may-exist", "add-br", "br-phy", "--", "set", "bridge", "br-phy",
                     "datapath_type=netdev", "--", "--may-exist", "add-port", "br-phy", UNDERLAY,
                     "--", "set", "interface", "br-phy", "mtu_request=1600")  # fmt: skip
        machine.told("ip", "addr", "flush", "dev", UNDERLAY)
        machine.told("ip", "addr", "replace", vtep, "dev", "br-phy")
        machine.told("ip", "link", "set", "br-phy", "up")

    def state(self, unit: str, of: str = "ActiveState") -> str:
        return self.machine.told("systemctl", "show", "-P", of, unit)


@pytest.fixture(scope="module")
def site(machine: None) -> Iterator[Site]:
    if advice := debian.advice():
        pytest.skip(advice)
    with world(f"ain{os.getpid()}", Layout(hosts=(ESX1, ESX2))) as made, tempfile.TemporaryDirectory() as folder:
        isthmus = Isthmus(made)
        isthmus.want(RED)
        isthmus.start(ESX2)
        appliance = made.appliance(ESX1)
        emptied(appliance, made.state.processes)
        uuid = made.admin.vm(appliance.vm).config.uuid
        plain = Debian("appliance1", appliance.namespace, Path(folder) / "root", uuid, made.state.processes)
        plain.install()
        wheel = delivered(plain.root / "root")
        relay = Relay(appliance.namespace, urlsplit(made.login.url).port or 443)
        try:
            plain.power_on()
            yield Site(Stage(made, isthmus), plain, appliance, wheel)
        finally:
            print(isthmus.log(ESX2)[-3000:])
            print(plain.run("journalctl", "-u", "isthmus", "-n", "40", "--no-pager").stdout)
            relay.close()
            plain.power_off()


def emptied(appliance: Appliance, processes: debian.Processes) -> None:
    """The appliance that the lab delivers leaves its VM: there are two NICs, as new, and nothing else."""
    for process in reversed(processes.alive()):
        if process.what.endswith(f" of {appliance.namespace}"):
            os.kill(process.pid, 9)
    assert until(lambda: not [p for p in processes.alive() if p.what.endswith(f" of {appliance.namespace}")])
    for device in ("br-phy", "ovs-netdev"):
        subprocess.run(["ip", "-n", appliance.namespace, "link", "delete", device], capture_output=True, check=False)
    as_new(appliance)


def as_new(appliance: Appliance) -> None:
    """Its NICs, of which a kernel that has just started knows nothing."""
    for nic in (TRUNK, UNDERLAY):
        namespace.ip(appliance.namespace, [f"link set {nic} down mtu 1500", f"addr flush dev {nic}"])
        command = ["sysctl", "-qw", f"net.ipv6.conf.{nic}.disable_ipv6=0"]
        namespace.run(*namespace.inside(appliance.namespace), *command)


def assert_nics_are_right(site: Site) -> None:
    machine = site.machine
    assert f"inet {site.appliance.vtep}" in machine.told("ip", "-o", "addr", "show", "dev", UNDERLAY)
    assert f"{BEYOND} via {ROUTER}" in machine.told("ip", "route", "show", "dev", UNDERLAY)
    assert "mtu 1600" in machine.told("ip", "-o", "link", "show", "dev", UNDERLAY, "up")
    assert "mtu 1550" in machine.told("ip", "-o", "link", "show", "dev", TRUNK, "up")
    assert machine.told("ip", "-o", "addr", "show", "dev", TRUNK) == ""
    assert machine.told("sysctl", "-n", f"net.ipv6.conf.{TRUNK}.disable_ipv6") == "1"


def delivered(home: Path) -> str:
    """What is copied to the machine: the installer, and wheels, since it has no way to PyPI.  The wheel of isthmus."""
    shutil.copytree(TREE / "packaging", home / "isthmus")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "-w", str(home / "wheels"), ".[ovs]"]
    subprocess.run([*command, "-c", "requirements/constraints.txt"], cwd=TREE, check=True, capture_output=True)
    (wheel,) = (home / "wheels").glob("isthmus-*.whl")
    return wheel.name


def changed_since(machine: Debian, mark: str) -> str:
    """Files of the machine that were written since another one was; logs and what runs apart."""
    return machine.told("find", "/etc", "/opt", "/usr", "-newer", mark, "-not", "-type", "d")


def test_what_cannot_work_is_refused_before_anything_is_changed(site: Site) -> None:
    machine, nics = site.machine, ["--underlay", UNDERLAY, "--trunk", TRUNK]
    machine.told("touch", "/root/mark")
    machine.told("ip", "link", "add", "other0", "type", "veth", "peer", "name", "other1")
    machine.told("ip", "addr", "add", "198.51.100.7/24", "dev", "other0")
    package = ["--package", "isthmus"]
    for words, why in (
        ([*nics], "--vtep ADDRESS/LENGTH is missing"),
        ([*nics, "--vtep", "192.0.2.1/24"], "--package WHAT is missing"),
        ([*nics, "--vtep", "192.0.2.1/24", "--package", "isthmus.whl"], "there is no such file or folder here"),
        ([*nics, *package, "--vtep", "192.0.2.1/24", "--trunk", "eth9"], "there is no NIC eth9; there are:"),
        ([*nics, *package, "--vtep", "192.0.2.1/24", "--trunk", "other0"], "other0 has an address, 198.51.100.7/24"),
        ([*nics, *package, "--vtep", "198.51.100.7/24"], "198.51.100.7 is an address of other0, not of"),
        ([*nics, *package, "--vtep", "192.0.2.1/24", "--underlay", "other0"], "other0 has the address 198.51.100.7/24"),
        ([*nics, *package, "--vtep", "192.0.2.1/24"], "this kernel has no module openvswitch"),
    ):
        done = machine.run(INSTALL, *words)
        assert done.returncode == 1
        assert why in done.stderr
    machine.told("ip", "link", "delete", "other0")
    machine.told("ip", "addr", "add", "192.0.2.1/24", "dev", UNDERLAY)
    done = machine.run(INSTALL, *nics, *package, "--vtep", "192.0.2.1/24")
    assert f"the MTU of {UNDERLAY} is less than 1500 + 50: raise it where its address is configured" in done.stderr
    machine.told("ip", "addr", "flush", "dev", UNDERLAY)
    interfaces = machine.root / "etc/network/interfaces"
    interfaces.parent.mkdir(exist_ok=True)
    interfaces.write_text(f"auto lo {TRUNK}\niface {TRUNK} inet dhcp\n")
    done = machine.run(INSTALL, *nics, *package, "--vtep", "192.0.2.1/24")
    assert f"{TRUNK} is configured in /etc/network/interfaces" in done.stderr
    interfaces.unlink()
    assert changed_since(machine, "/root/mark") == ""


def test_without_a_configuration_it_writes_an_example_and_starts_nothing(site: Site) -> None:
    machine = site.machine
    modules = machine.root / "usr/lib/modules" / os.uname().release
    modules.mkdir(parents=True)
    (modules / "modules.order").touch()
    (modules / "modules.builtin").write_text("kernel/net/openvswitch/openvswitch.ko\n")  # so it says of itself
    machine.told("depmod")
    for _ in range(2):
        done = site.install()
        assert done.returncode == 0, done.stderr
        assert "is an example: fill it in, and run this again" in done.stdout
        assert machine.bios_uuid in done.stdout
        assert machine.bios_uuid in (machine.root / CONFIG).read_text()
        assert site.state("isthmus") == "inactive"
    shutil.rmtree(modules)


def test_a_configuration_that_isthmus_does_not_read_is_refused_with_its_line(site: Site) -> None:
    for text, why in (
        ('serve = "nobody"  # datapath_type = "netdev"\n', "isthmus.toml:1: serve: unknown key"),
        ((site.machine.root / CONFIG).read_text() + '# datapath_type = "netdev"\n', "vc1.password_file: No such file"),
    ):
        (site.machine.root / CONFIG).write_text(text)
        done = site.install()
        assert done.returncode == 1
        assert why in done.stderr
        assert site.state("isthmus") == "inactive"


def test_one_command_makes_it_the_appliance_of_its_host(site: Site) -> None:
    machine = site.machine
    site.write_configuration()
    done = site.install()
    assert done.returncode == 0, done.stderr
    assert machine.bios_uuid in done.stdout
    assert "isthmus is ready" in done.stdout
    assert [site.state(unit) for unit in ("isthmus", "ovs-vswitchd")] == ["active", "active"]
    assert machine.run("systemd-analyze", "verify", "isthmus.service", "isthmus-unplug.service").stderr == ""
    assert machine.told("systemctl", "is-enabled", "isthmus-unplug") == "enabled"
    assert_nics_are_right(site)
    assert until(lambda: TRUNK in machine.run("ovs-vsctl", "list-ifaces", "br-int").stdout) is not None


def test_a_second_run_changes_nothing(site: Site) -> None:
    before = [site.state(unit, "MainPID") for unit in ("isthmus", "ovs-vswitchd", "systemd-networkd")]
    site.machine.told("touch", "/root/mark")
    done = site.install()
    assert done.returncode == 0, done.stderr
    assert "isthmus is ready" in done.stdout
    assert changed_since(site.machine, "/root/mark") == ""
    assert [site.state(unit, "MainPID") for unit in ("isthmus", "ovs-vswitchd", "systemd-networkd")] == before


def test_another_wheel_takes_the_place_of_the_first_and_isthmus_is_started_anew(site: Site) -> None:
    before = [site.state(unit, "MainPID") for unit in ("isthmus", "ovs-vswitchd")]
    other = site.machine.root / "root/other"
    other.mkdir()
    with zipfile.ZipFile(shutil.copy(site.machine.root / "root/wheels" / site.wheel, other), "a") as wheel:
        wheel.writestr("isthmus_other.txt", "")
    done = site.install("--package", f"/root/other/{site.wheel}")
    assert done.returncode == 0, done.stderr
    assert "isthmus is ready" in done.stdout
    assert site.machine.told("find", "/opt/isthmus", "-name", "isthmus_other.txt")
    after = [site.state(unit, "MainPID") for unit in ("isthmus", "ovs-vswitchd")]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_vms_of_its_host_reach_those_of_another_through_it(site: Site) -> None:
    stage = site.stage
    site.give_the_vtep_to_br_phy()
    stage.boot("a", ESX1, RED, 1)
    stage.boot("c", ESX2, RED, 3)
    assert until(lambda: is_open(stage, "a") and is_open(stage, "c"), 30) is not None
    assert stage.guest("a").reaches("10.0.0.3", 30)


def test_check_says_there_where_the_underlay_is_too_narrow_in_its_midst(site: Site) -> None:
    made = site.stage.world
    checked = site.machine.run("isthmus", "check")
    assert checked.returncode == 0, checked.stdout
    assert "packets of 1500 bytes reach all other VTEPs (1)" in checked.stdout
    port = made.layout.underlay_port(ESX2)
    namespace.ip(made.underlay, [f"link set {port} mtu 1499"])
    checked = site.machine.run("isthmus", "check")
    namespace.ip(made.underlay, [f"link set {port} mtu 9000"])
    assert checked.returncode == 1
    assert f"packets of 1500 bytes get lost on the way to {made.layout.vtep(ESX2).ip}" in checked.stdout


def test_after_a_power_cut_it_comes_back_by_itself(site: Site) -> None:
    site.machine.power_off()
    as_new(site.appliance)
    site.machine.power_on()
    assert until(lambda: site.state("isthmus") == "active", 30) is not None
    assert site.state("isthmus-unplug") == "active"
    assert_nics_are_right(site)
    site.give_the_vtep_to_br_phy()
    assert site.stage.guest("a").reaches("10.0.0.3", 30)


def test_removed_it_leaves_the_vms_talking_until_it_is_told_otherwise(site: Site) -> None:
    machine = site.machine
    for _ in range(2):
        done = machine.run(INSTALL, "--remove")
        assert done.returncode == 0, done.stderr
        assert machine.run("systemctl", "cat", "isthmus").returncode != 0
        assert not (machine.root / "opt/isthmus").exists()
        assert (machine.root / CONFIG).exists()
        assert site.stage.guest("a").reaches("10.0.0.3", 5)
    done = machine.run(INSTALL, "--remove", "--purge")
    assert done.returncode == 0, done.stderr
    assert machine.told("ovs-vsctl", "list-br") == "br-phy"
    assert not (machine.root / CONFIG).exists()
    assert list((machine.root / "etc/systemd/network").iterdir()) == []
