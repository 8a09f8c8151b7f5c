"""Neutron, isthmus and a vCenter in one world: the drivers in Neutron, the loop beside it, the simulator over SOAP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg
from pyVmomi import vmodl

from isthmus.adapters.neutron import bus, errands
from isthmus.adapters.neutron.intent import HOLDS
from isthmus.adapters.neutron.protocol import AGENT_TYPE, RETIRING
from isthmus.app import report, wiring
from isthmus.app.daemon import Daemon
from isthmus.app.settings import load
from isthmus.app.status import seen_by
from isthmus.model.nve import LeafBinding
from lab.netns.admin import Admin
from lab.netns.state import NotThere
from lab.netns.vcenter import Login
from lab.vcenter import Simulator, Topology
from tests.app.leaf_site import CANARY, MemoryLeaf, topology, until
from tests.app.ovs_site import MemoryOvs, MemoryPlugger
from tests.openstack.cloud import DRIVERS, Cloud, cloud

RACKS = {"rack1": "101:149", "rack2": "201:249"}


class Site:
    """What an operator of all three has in front of him."""

    def __init__(self, folder: Path, neutron: Cloud, vcenter: Simulator, deployments: str) -> None:
        self.neutron = neutron
        self.vcenter = vcenter
        self.folder = folder
        (folder / "password").write_text(CANARY)
        (folder / "isthmus.toml").write_text(
            f'[vcenter.vc1]\nurl = "{vcenter.url}"\nuser = "{vcenter.user}"\npassword_file = "password"\n'
            f'ca_file = "{vcenter.ca_file}"\n[intent.neutron]\nurl_env = "NEUTRON_BUS"\ntimeout = 10\n'
            f'[status]\nstate = "state"\nsocket = "sock"\n[loop]\nresync = 60\n' + deployments
        )
        self.admin = Admin(Login(vcenter.url, vcenter.user, CANARY, str(vcenter.ca_file)))

    def start(self) -> None:
        """`isthmus run`, without its process."""
        self.wiring = wiring.wire(load(self.folder / "isthmus.toml", {"NEUTRON_BUS": "fake:///"}), time.monotonic)
        self.daemon = Daemon(self.wiring)
        self.thread = threading.Thread(target=self.daemon.loop.run, daemon=True)
        self.thread.start()
        self.wiring.watch(self.daemon.loop.wake)

    def stop(self) -> None:
        self.daemon.loop.stop()
        self.daemon.loop.finish(5)
        self.thread.join(5)
        self.wiring.close()

    def restart(self, change: Callable[[str], str] = str) -> None:
        """`isthmus run` goes and comes, its configuration changed meanwhile; leaves keep what they have."""
        self.stop()
        file = self.folder / "isthmus.toml"
        file.write_text(change(file.read_text()))
        MemoryLeaf.held = {address: leaf.entries for address, leaf in MemoryLeaf.made.items()}
        MemoryLeaf.made = {}
        self.start()

    @contextmanager
    def beside(self, name: str, change: Callable[[str], str]) -> Iterator[Daemon]:
        """Another `isthmus run`, of a configuration that differs from the first one's."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "password").write_text(CANARY)
        (folder / "isthmus.toml").write_text(change((self.folder / "isthmus.toml").read_text()))
        wired = wiring.wire(load(folder / "isthmus.toml", {"NEUTRON_BUS": "fake:///"}), time.monotonic)
        daemon = Daemon(wired)
        thread = threading.Thread(target=daemon.loop.run, daemon=True)
        thread.start()
        wired.watch(daemon.loop.wake)
        try:
            yield daemon
        finally:
            daemon.loop.stop()
            daemon.loop.finish(5)
            thread.join(5)
            wired.close()

    def vids(self, network: str) -> dict[str, int]:
        """The VID that the port groups of a network have, by name, as an administrator sees them."""
        found = {}
        for name in self.admin.port_group_names():
            if name.partition(" (")[0] == network:
                with suppress(NotThere, vmodl.fault.ManagedObjectNotFound):  # gone while we looked
                    found[name] = self.admin.port_group(name).config.defaultPortConfig.vlan.vlanId
        return found

    def key_of(self, port_group: str) -> str:
        return str(self.admin.port_group(port_group).key)

    def at_leaf(self, leaf: str) -> dict[int, int]:
        """VID to VNI, as the leaf maps them."""
        entries = self.leaf(leaf).entries.values()
        return {int(e.vid): int(e.vni) for e in entries if isinstance(e, LeafBinding)}

    def leaf(self, name: str) -> MemoryLeaf:
        return MemoryLeaf.made[f"unix:/nowhere/{name}"]

    def boot(self, port: str, host: str, group: str = "") -> str:
        """As Nova does: a VM with the port's MAC, plugged into the port group that the binding names."""
        shown = self.neutron.port(port)
        key = group or shown["binding:vif_details"]["pg_id"]
        (name,) = [n for n in self.admin.port_group_names() if self.key_of(n) == key]
        vm = f"vm-{port[:8]}"
        self.admin.create_vm(vm, host, [name], [shown["mac_address"]], uuid=shown["device_id"])
        self.admin.power_on(vm)
        return vm

    def conditions(self) -> list[dict[str, Any]]:
        return [condition for shard in self.daemon.status()["shards"] for condition in shard["conditions"]]

    def explained(self, port: str) -> str:
        """Why the port has no network, as `isthmus explain` says it."""
        return "; ".join(row["why"] for row in self.daemon.answer({"do": "explain", "port": port})["rows"])

    def shown_name(self, network: str) -> str:
        """What `isthmus show networks` calls it."""
        rows = report.networks(seen_by(self.daemon.loop))
        return next((str(row["name"]) for row in rows if row["id"] == network), "")

    def standing(self, host: str) -> str:
        """How Neutron was told that a host's deployment stands."""
        agents = self.neutron.plugin.get_agents(self.neutron.context, {"agent_type": [AGENT_TYPE], "host": [host]})
        return "".join(agent["configurations"]["standing"] for agent in agents)

    def unplug(self, vm: str) -> None:
        self.admin.destroy(vm)

    def is_free(self, domain: str, vid: int) -> bool:
        """Neutron may give the VLAN to another network."""
        return vid not in self.neutron.allocated(domain)

    def is_retiring(self, network: str) -> bool:
        """Nothing refers to its VLAN, and Neutron was told so."""
        (row,) = self.neutron.read(network)
        return any(segment["mark"].startswith(RETIRING) for segment in row["segments"])

    def rounds(self, count: int) -> None:
        """Each shard was kept so often since."""
        seats = self.daemon.loop.seats.values()
        for _ in range(count):
            before = {seat.keeper.name: seat.rounds for seat in seats}
            self.daemon.loop.wake()
            until(lambda before=before: all(seat.rounds > before[seat.keeper.name] for seat in seats))

    def read_anew(self) -> None:
        """By the timer, when nobody told of a change: what Neutron said last stands no longer."""
        time.sleep(HOLDS)
        self.daemon.loop.look_at_everything()

    def stirs(self, rounds: int = 4) -> list[str]:
        """What is written, and what Neutron is asked to do, in some rounds: nothing once all is at rest."""
        asked: list[str] = []
        plain = bus.Bus.call

        def noted(spoken: bus.Bus, topic: str, method: str, **more: Any) -> Any:
            asked.append(method)
            return plain(spoken, topic, method, **more)

        self.rounds(2)
        before = self.writes()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bus.Bus, "call", noted)
            self.rounds(rounds)
        return ["write"] * (self.writes() - before) + [what for what in asked if what not in ("read", "report_state")]

    def is_named(self, *words: str) -> bool:
        """Some condition says all of this."""
        return any(all(word in f"{c['about']} {c['reason']}" for word in words) for c in self.conditions())

    def writes(self) -> int:
        """How many changes were made in vCenter and at leaves since the start."""
        return sum(seat.changes for seat in self.daemon.loop.seats.values())

    def is_active(self, port: str) -> bool:
        return bool(self.neutron.port(port)["status"] == "ACTIVE")

    def has_hosts(self, *hosts: str) -> None:
        """Neutron was told of them."""
        until(lambda: set(hosts) <= {agent["host"] for agent in self.neutron.plugin.get_agents(self.neutron.context)})


@contextmanager
def site(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    deployments: str,
    *,
    static: Sequence[str] = (),
    ranges: dict[str, str] | None = None,
    drivers: Sequence[str] = DRIVERS,
    there: Topology | None = None,
    before: Callable[[Site], None] = lambda made: None,
) -> Iterator[Site]:
    """All three, until the block ends.  `there`: what vCenter has, other than two racks."""
    monkeypatch.setattr(errands, "LINGER", 3.0)
    monkeypatch.setattr(bus, "configured", lambda options_file: cfg.CONF)  # Neutron's, which is in this process
    monkeypatch.setattr("isthmus.adapters.leaf.hwvtep.HwvtepTarget", MemoryLeaf)
    for store in ("made", "held", "misfits"):
        monkeypatch.setattr(MemoryLeaf, store, {})
    monkeypatch.setattr("isthmus.adapters.ovs.OvsTarget", MemoryOvs)
    monkeypatch.setattr(MemoryOvs, "made", {})
    monkeypatch.setattr(MemoryOvs, "silent", set())
    monkeypatch.setattr("isthmus.adapters.ovs.PluggerTarget", MemoryPlugger)
    monkeypatch.setattr(MemoryPlugger, "made", {})
    with (
        cloud(drivers, ranges=ranges or RACKS, static=static, folder=folder, between=True) as neutron,
        Simulator(there or topology((0, 4094), ()), password=CANARY) as vcenter,
    ):
        made = Site(folder, neutron, vcenter, deployments)
        before(made)
        made.start()
        try:
            yield made
        finally:
            made.stop()
            made.admin.close()
