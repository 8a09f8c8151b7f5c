"""A site of design `contrail` in a world: an api-server, a vRouter with its agent on each host, one process of isthmus.

with contrail_site("mine") as site:
    red = site.tenant.network("red")
    a = site.boot("a", "esx1.lab", "red", 1)
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from lab.contrail.api_server import ApiServer
from lab.contrail.client import Client
from lab.contrail.vrouter_agent import VrouterAgentStandIn
from lab.netns.guest import Guest
from lab.netns.layout import TENANT, Layout
from lab.netns.product import VIDS, Isthmus
from lab.netns.vrouters import Following, Vrouter
from lab.netns.world import World, world

CENTRAL = "central"
"""The one process, by the name that a host's would have."""
VMI = "virtual-machine-interface"


class Central(Isthmus):
    """One process of isthmus for all hosts."""

    def serve(self, intent: Mapping[str, Any], agents: Mapping[str, str], **deployment: Any) -> None:
        """Write its configuration and start it."""
        config = dict(self._config(CENTRAL, ""))
        hosts = {
            appliance.host: {"vtep": str(appliance.vtep.ip), "vrouter": agents[appliance.host]}
            for appliance in self.world.appliances
        }
        own = {"design": "contrail", "dvs": TENANT, "vids": VIDS, **deployment, "host": hosts}
        config |= {"intent": {"contrail": dict(intent)}, "deployment": {"lab": own}}
        self.configure(CENTRAL, config)
        self.restart(CENTRAL)


@dataclass(slots=True)
class ContrailSite:
    """What is up."""

    world: World
    server: ApiServer
    agents: dict[str, VrouterAgentStandIn]
    vrouters: dict[str, Vrouter]
    isthmus: Central
    tenant: Client
    _uuids: dict[str, str] = field(default_factory=dict)

    def start(self, **deployment: Any) -> None:
        """isthmus, as configured."""
        agents = {host: agent.address for host, agent in self.agents.items()}
        self.isthmus.serve({"url": self.server.url, "poll": 1}, agents, **deployment)

    def vm(self, name: str, host: str, *networks: str) -> str:
        """A VM that is off, with a NIC in each of these networks.  Its instance uuid."""
        self._uuids[name] = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.lab"))
        self.world.admin.create_vm(name, host, networks, uuid=self._uuids[name])
        return self._uuids[name]

    def boot(self, name: str, host: str, network: str, number: int) -> Guest:
        """A VM that runs, with an address of the network's choice of ours."""
        self.vm(name, host, network)
        self.world.admin.power_on(name)
        guest = self.world.guest(name)
        guest.set_addresses(f"10.1.0.{number}/24")
        guest.set_mtu(1450)
        return guest

    def uuid_of(self, name: str) -> str:
        return self._uuids[name]

    def there(self, kind: str) -> set[str]:
        """The uuids of all objects of a kind on the api-server."""
        return {item["uuid"] for item in self.tenant.get(f"/{kind}s")[f"{kind}s"]}

    def vmis_of(self, name: str) -> set[str]:
        """The VMIs of a VM."""
        found = self.tenant.get(f"/{VMI}s?back_ref_id={self._uuids[name]}")
        return {item["uuid"] for item in found[f"{VMI}s"]}

    def held(self, host: str) -> dict[str, int | None]:
        """What a host's agent holds with its link up: the VID of each VM."""
        return {port.vm: port.vid for port in self.agents[host].ports.values() if port.enabled}

    def is_wired(self, name: str, host: str) -> bool:
        """Its DV port is open with the VID under which its host's agent holds it, and that is on the wire."""
        setting, vid = self.world.admin.dv_port(name)[1].config.setting, self.world.admin.vid_of(name)
        wired = {one.vid for one in self.vrouters[host].wired.values() if one.up}
        is_open = not setting.blocked.value and vid is not None
        return is_open and self.held(host).get(self._uuids[name]) == vid and vid in wired


@contextmanager
def contrail_site(name: str, layout: Layout | None = None) -> Iterator[ContrailSite]:
    """Up, without isthmus and networks."""
    with ExitStack() as stack:
        made = stack.enter_context(world(name, layout))
        server = stack.enter_context(ApiServer())
        folder = made.state.directory / "agents"
        agents = {
            host: stack.enter_context(VrouterAgentStandIn(folder / host.split(".")[0])) for host in made.layout.hosts
        }
        tenant = Client(server.url)
        tenant.project()

        def vni_of(network: str) -> int:
            return int(tenant.read("virtual-network", network)["virtual_network_network_id"])

        vteps = {appliance.host: str(appliance.vtep.ip) for appliance in made.appliances}
        vrouters = {
            appliance.host: Vrouter(
                made.state.prefix,
                appliance,
                agents[appliance.host],
                vni_of,
                [vtep for host, vtep in vteps.items() if host != appliance.host],
            )
            for appliance in made.appliances
        }
        for vrouter in vrouters.values():
            vrouter.boot()
        following = Following(list(vrouters.values()))
        following.start()
        stack.callback(following.stop)
        yield ContrailSite(made, server, agents, vrouters, Central(made), tenant)
