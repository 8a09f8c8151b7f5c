"""A vCenter's inventory of any size, and the files that a process needs to keep it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab.vcenter import Dvs, Nic, Overrides, PortGroup, Security, Simulator, Topology, Trunk, Vm

SWITCH = "tenant"
PORTS_PER_NETWORK = 10
OVERRIDES = Overrides(vlan=True, block=True)


@dataclass(frozen=True, slots=True)
class Size:
    """So many connected ports, one for each VM, spread evenly over hosts and networks."""

    ports: int
    hosts: int

    @property
    def names(self) -> list[str]:
        """The hosts."""
        return [f"esx{number}.lab" for number in range(self.hosts)]

    @property
    def networks(self) -> int:
        """How many."""
        return max(10, self.ports // PORTS_PER_NETWORK)

    def network(self, port: int) -> str:
        """The network that a port is in; its members are on several hosts."""
        return f"n{port % self.networks}"

    def host(self, port: int) -> int:
        """The host it is on: a network's ten members are on ten hosts, or, where there are fewer, on all."""
        return (port + port // self.networks) % self.hosts

    def topology(self) -> Topology:
        """Port groups as isthmus makes them, with its mark; ports as VMs find them, closed and without a tag."""
        groups = [
            PortGroup(
                f"n{number}",
                blocked=True,
                overrides=OVERRIDES,
                description=f"isthmus/1 owner=isthmus network=n{number} vni={5001 + number}",
            )
            for number in range(self.networks)
        ]
        trunk = PortGroup("trunk", Trunk(), security=Security(promiscuous=True, forged_transmits=True))
        names = self.names
        vms = [Vm(f"vm{port}", names[self.host(port)], (Nic(self.network(port)),)) for port in range(self.ports)]
        return Topology.single(names, [Dvs(SWITCH, (trunk, *groups), mtu=1600)], vms)


def configure(folder: Path, simulator: Simulator, size: Size, serve: int) -> Path:
    """A configuration for a process that serves the first `serve` hosts.  Returns its file."""
    folder.mkdir(exist_ok=True)
    networks = [{"name": f"n{number}", "vni": 5001 + number} for number in range(size.networks)]
    (folder / "intent.yaml").write_text(json.dumps({"networks": networks}))
    (folder / "password").write_text(simulator.password)
    (folder / "password").chmod(0o600)
    lines = [
        "[vcenter.vc]",
        f'url = "{simulator.url}"',
        f'user = "{simulator.user}"',
        'password_file = "password"',
        f'ca_file = "{simulator.ca_file}"',
        "timeout = 120",
        "[intent]",
        'file = "intent.yaml"',
        "[status]",
        'socket = "sock"',
        'state = "state"',
        "[loop]",
        "resync = 86400",  # nothing of what is measured is a timer's doing
        "[deployment.bench]",
        'design = "ovsvapp"',
        f'dvs = "{SWITCH}"',
        f"serve = {json.dumps(size.names[:serve])}",
        "[deployment.bench.appliance]",
        'trunk = "trunk0"',
    ]
    for number, name in enumerate(size.names):
        lines += [f'[deployment.bench.host."{name}"]', f'vtep = "10.1.{number >> 8}.{(number & 255) + 1}"']
        lines += [f'ovsdb = "unix:/nowhere/{number}/db.sock"']
    path = folder / "isthmus.toml"
    path.write_text("\n".join(lines) + "\n")
    return path
