"""A site of design `contrail`: vCenter over SOAP, api-server and vRouter agents over HTTP, processes of isthmus."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from isthmus.app import wiring
from isthmus.app.daemon import Daemon
from isthmus.app.settings import load
from lab.contrail.api_server import ApiServer
from lab.contrail.client import Client
from lab.contrail.vrouter_agent import VrouterAgentStandIn
from lab.netns.admin import Admin
from lab.netns.vcenter import Login
from lab.vcenter import Dvs, PortGroup, Security, Simulator, Topology, Trunk
from tests.app.leaf_site import CANARY, until

HOSTS = ("esx1.lab", "esx2.lab")
SWITCHES: Mapping[str, Sequence[str]] = {"tenants": HOSTS}
"""The members of each distributed switch."""
TRUNK = PortGroup("trunk", Trunk(), security=Security(True, False, True))
TOPOLOGY = Topology.single(HOSTS, [Dvs("tenants", (TRUNK,))], [])
A, B = (f"5011aabb-0000-4000-8000-00000000000{n}" for n in "12")
VMI = "virtual-machine-interface"
ONE: Mapping[str, str] = {"isthmus": ""}
EACH: Mapping[str, str] = {
    "isthmus-1": 'serve = ["esx1.lab"]',
    "isthmus-2": 'serve = ["esx2.lab"]\nport_groups = false',
}


class Process:
    """`isthmus run` with a configuration."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def start(self) -> None:
        self.wiring = wiring.wire(load(self.file, {}), time.monotonic)
        self.daemon = Daemon(self.wiring)
        self.thread = threading.Thread(target=self.daemon.loop.run, daemon=True)
        self.thread.start()
        self.wiring.watch(self.daemon.loop.wake)

    def stop(self) -> None:
        self.daemon.loop.stop()
        self.daemon.loop.finish(5)
        self.thread.join(5)
        self.wiring.close()


class Site:
    """All three sides, and the processes of isthmus between them."""

    def __init__(
        self,
        folder: Path,
        vcenter: Simulator,
        server: ApiServer,
        agents: dict[str, VrouterAgentStandIn],
        processes: Mapping[str, str],
        intent: str,
        vids: str,
        switches: Mapping[str, Sequence[str]],
    ) -> None:
        self.vcenter, self.server, self.agents = vcenter, server, agents
        self.client = Client(server.url)
        self.client.project()
        self.red = self.client.network("red")
        (folder / "password").write_text(CANARY)
        self.processes: list[Process] = []
        for name, duty in processes.items():
            file = folder / f"{name}.toml"
            file.write_text(
                f'[vcenter.vc1]\nurl = "{vcenter.url}"\nuser = "{vcenter.user}"\npassword_file = "password"\n'
                f'ca_file = "{vcenter.ca_file}"\n[intent.contrail]\nurl = "{server.url}"\npoll = 0.2\n{intent}\n'
                f'[status]\nstate = "{name}.state"\nsocket = "{name}.sock"\n'
                + "".join(
                    self._deployment(number, dvs, f'vids = "{vids}"\n{duty}') for number, dvs in enumerate(switches)
                )
                + "".join(self._host(number, host) for number, hosts in enumerate(switches.values()) for host in hosts)
            )
            self.processes.append(Process(file))
        self.admin = Admin(Login(vcenter.url, vcenter.user, CANARY, str(vcenter.ca_file)))

    def _deployment(self, number: int, dvs: str, more: str) -> str:
        return f'[deployment.cloud{number or ""}]\ndesign = "contrail"\ndvs = "{dvs}"\n{more}\n'

    def _host(self, number: int, name: str) -> str:
        where = f'vtep = "192.0.2.{name[3]}"\nvrouter = "{self.agents[name].address}"'
        return f'[deployment.cloud{number or ""}.host."{name}"]\n{where}\n'

    def start(self) -> None:
        for process in self.processes:
            process.start()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()

    def boot(self, name: str, uuid: str, host: str, *networks: str) -> None:
        self.admin.create_vm(name, host, networks or ["red"], uuid=uuid)
        self.admin.power_on(name)

    def vids(self, host: str) -> dict[str, int | None]:
        """What the host's agent has, by VM, as far as its link is up."""
        return {port.vm: port.vid for port in self.agents[host].ports.values() if port.enabled}

    def there(self, kind: str) -> set[str]:
        return {item["uuid"] for item in self.client.get(f"/{kind}s")[f"{kind}s"]}

    def is_wired(self, name: str, uuid: str, host: str) -> bool:
        """Its DV port is open with the VID by which its host's agent knows it."""
        setting = self.admin.dv_port(name)[1].config.setting
        vid = self.admin.vid_of(name)
        return not setting.blocked.value and vid is not None and self.vids(host).get(uuid) == vid

    def conditions(self) -> str:
        shards: Sequence[dict[str, Any]] = [
            shard for process in self.processes for shard in process.daemon.status()["shards"]
        ]
        return "; ".join(f"{c['about']}: {c['reason']}" for shard in shards for c in shard["conditions"])


@contextmanager
def contrail_site(
    folder: Path,
    processes: Mapping[str, str] = ONE,
    intent: str = "",
    vids: str = "100-199",
    topology: Topology = TOPOLOGY,
    switches: Mapping[str, Sequence[str]] = SWITCHES,
) -> Iterator[Site]:
    """Up, with a port group of network `red` made.  `intent` is what else [intent.contrail] says."""
    hosts = [host for members in switches.values() for host in members]
    with ExitStack() as stack:
        vcenter = stack.enter_context(Simulator(topology, password=CANARY))
        server = stack.enter_context(ApiServer())
        agents = {host: stack.enter_context(VrouterAgentStandIn(folder / host)) for host in hosts}
        made = Site(folder, vcenter, server, agents, processes, intent, vids, switches)
        made.start()
        stack.callback(made.stop)
        until(lambda: "red" in made.admin.port_group_names())
        yield made
