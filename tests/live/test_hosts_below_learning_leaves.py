"""ESXi hosts below leaves that learn by BGP EVPN: a distributed switch each, its uplinks carry the tags into the leaf.

VM === [rack's distributed switch on its host] === Ethernet4 [EVPN leaf] fabric0 === [spine]
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.netns import hosts, namespace
from lab.netns.admin import Admin
from lab.netns.capture import Capture
from lab.netns.evpn_leaf import EvpnLeaf, missing
from lab.netns.fabric import cable
from lab.netns.frames import vxlan
from lab.netns.guest import Guest
from lab.netns.simulator import start_simulator
from lab.netns.stage import until
from lab.netns.state import WorldState
from lab.netns.switches import far_end
from lab.netns.vcenter import Login
from lab.openstack.racks import MIGRATION_MS, join_spine, spine_of
from lab.vcenter import Cluster, Datacenter, Dvs, Host, Member, Topology

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

VNIS = {"red": 70001, "blue": 70002}
PORT = "Ethernet4"


@dataclass(frozen=True)
class Rack:
    name: str
    leaf: str
    vtep: str
    host: str
    vids: str
    cable: int


RACKS = (
    Rack("rack1", "leaf1", "192.0.2.1", "esx1.lab", "101-109", 1),
    Rack("rack2", "leaf2", "192.0.2.2", "esx2.lab", "201-209", 2),
)
CLUSTERS = tuple(Cluster(rack.name, (Host(rack.host),)) for rack in RACKS)
SWITCHES = tuple(
    Dvs(rack.name, mtu=1600, uplinks=("uplink1",), members=(Member(rack.host, ("vmnic1",)),)) for rack in RACKS
)


@dataclass
class Site:
    state: WorldState
    login: Login
    leaves: dict[str, EvpnLeaf]
    admin: Admin

    def start(self) -> None:
        """isthmus, with two networks to keep."""
        folder = self.state.directory
        networks = [{"id": name, "name": name, "vni": vni} for name, vni in VNIS.items()]
        (folder / "intent.yaml").write_text(json.dumps({"networks": networks}))
        text = (
            f'[vcenter.lab]\nurl = "{self.login.url}"\nuser = "{self.login.user}"\n'
            f'password_file = "password"\nca_file = "{self.login.ca_file}"\n'
            '[intent]\nfile = "intent.yaml"\n[status]\nsocket = "sock"\nstate = "state"\n[loop]\nresync = 5\n'
        )
        (folder / "isthmus.toml").write_text(text + "".join(self._deployment(rack) for rack in RACKS))
        self.state.processes.start("isthmus", self._command("run"), folder / "isthmus.log", is_vital=False)

    def boot(self, name: str, network: str, host: str, address: str) -> Guest:
        (rack,) = (rack for rack in RACKS if rack.host == host)
        self.admin.create_vm(name, host, [f"{network} ({rack.name})"])
        self.admin.power_on(name)
        guest = hosts.guest(self.state, name)
        guest.set_addresses(address)
        return guest

    def offers(self) -> bool:
        groups = {f"{network} ({rack.name})" for network in VNIS for rack in RACKS}
        return groups <= self.admin.port_group_names()

    def is_settled(self) -> bool:
        told = subprocess.run(self._command("show", "--json"), capture_output=True, text=True, timeout=60, check=False)
        return told.returncode == 0 and all(shard["state"] == "settled" for shard in json.loads(told.stdout)["shards"])

    def _deployment(self, rack: Rack) -> str:
        leaf = self.leaves[rack.leaf]
        options = {"driver": "ngs", "device_type": "netmiko_sonic", "ip": "127.0.0.1", **leaf.options}
        return (
            f'[deployment.{rack.name}]\ndesign = "vds-leaf"\ndvs = "{rack.name}"\nvids = "{rack.vids}"\n'
            f'[deployment.{rack.name}.leaf.{leaf.name}]\nvtep = "{rack.vtep}"\n'
            + "".join(f'{key} = "{value}"\n' for key, value in options.items())
            + f'[deployment.{rack.name}.host."{rack.host}"]\nleaf = "{leaf.name}"\nports = ["{PORT}"]\n'
        )

    def _command(self, *words: str) -> list[str]:
        config = str(self.state.directory / "isthmus.toml")
        return [sys.executable, "-m", "isthmus.app.cli", *words, "--config", config]


@pytest.fixture(scope="module")
def site(machine: None) -> Iterator[Site]:
    if advice := missing():
        pytest.skip(advice)
    state = WorldState(f"e{secrets.token_hex(4)}")
    state.claim(keep=False)
    try:
        login = start_simulator(state, Topology((Datacenter("dc1", CLUSTERS, SWITCHES),)), MIGRATION_MS)
        made = Site(state, login, _leaves(state), Admin(login))
        hosts.start_hostd(state, {rack.name: {rack.host: rack.cable} for rack in RACKS})
        made.start()
        assert until(made.offers, 60) is not None, state.tail("isthmus.log")
        yield made
        print(state.tail("isthmus.log", 6000), state.tail("hostd.log"))
        made.admin.close()
    finally:
        state.take_down()


def _leaves(state: WorldState) -> dict[str, EvpnLeaf]:
    spine, switches = spine_of(state), hosts.switches_of(state)
    for where in (spine, switches.namespace):
        namespace.add(where, speaks_ipv6=False)
    namespace.ip(spine, ["link add spine type bridge forward_delay 0", "link set spine up"])
    switches.start(state.processes)
    made: dict[str, EvpnLeaf] = {}
    for rack in RACKS:
        where = f"{state.prefix}{rack.leaf}"
        namespace.add(where, speaks_ipv6=False)
        join_spine(state, where, rack.leaf)
        cable(where, PORT, switches.namespace, far_end(rack.cable))
        made[rack.leaf] = EvpnLeaf.at(rack.leaf, f"{rack.vtep}/24", (PORT,), where, state.directory / rack.leaf)
        made[rack.leaf].boot(state.processes)
    for leaf in made.values():
        leaf.peer_with(str(other.vtep.ip) for other in made.values() if other is not leaf)
    return made


def test_vms_on_esxi_hosts_below_evpn_leaves_talk_with_a_vid_each_for_one_vni_and_are_not_overheard(site: Site) -> None:
    a, b = site.boot("a", "red", "esx1.lab", "10.0.0.1/24"), site.boot("b", "red", "esx2.lab", "10.0.0.2/24")
    x, y = site.boot("x", "blue", "esx1.lab", "10.0.0.1/24"), site.boot("y", "blue", "esx2.lab", "10.0.0.2/24")
    assert site.admin.vid_of("a") in range(101, 110)
    assert site.admin.vid_of("b") in range(201, 210)
    for guest in (a, x):
        assert until(lambda guest=guest: guest.reaches("10.0.0.2", 0.5), 60) is not None
    with Capture(spine_of(site.state)) as wire:
        assert a.ping("10.0.0.2").all_answered
        assert a.transfer(b, "10.0.0.2", 1 << 18).intact
        told = [found for heard in wire.heard() if (found := vxlan(heard.frame)) is not None]
    ours = [found for found in told if a.mac in (found.inner.src, found.inner.dst)]
    assert len(ours) >= 10
    assert {(found.vni, found.inner.vid) for found in ours} == {(VNIS["red"], None)}
    assert {str(found.local) for found in ours} == {"192.0.2.1", "192.0.2.2"}
    assert b.hears(a)
    assert y.hears(x)
    for one in (a, b):
        for stranger in (x, y):
            assert not one.hears(stranger)
            assert not stranger.hears(one)
    assert until(site.is_settled, 30) is not None
