"""Design `contrail`: what a VM costs each far side, how soon it is plugged in, and what a first sync of many takes.

The api-server and the vRouter agents are the lab's, in one process of their own; the floor speaks to the same.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pyVmomi import vim

from isthmus.adapters.contrail.objects import default_group
from isthmus.adapters.contrail.told import DROPPED_WITHIN
from lab.bench.contrail_side import ContrailSide
from lab.bench.dvports import exponent
from lab.bench.events import Floor, opened
from lab.bench.figures import Figure
from lab.bench.inventories import OVERRIDES
from lab.bench.keeping import Keeping
from lab.bench.operator import Operator, all_finished, drained, finished, port_key
from lab.bench.raw import Raw, switch_in, values
from lab.bench.raw_http import RawHttp
from lab.vcenter import (
    Cluster,
    Datacenter,
    Dvs,
    Host,
    Member,
    Nic,
    PortGroup,
    Security,
    Simulator,
    Topology,
    Trunk,
    Vm,
)

VMS_PER_HOST = 50
HOSTS_PER_SWITCH = 50
VMS_PER_NETWORK = 25
TIMES, BOOTS, BURST = 3, 30, 500
CONNECTIONS = 8
PROJECT = ["default-domain", "bench"]
SIDES = (("vcenter", "vCenter", 6), ("api", "api-server", 3), ("agent", "vRouter agent", 1))
"""How their calls are counted, what they are called, and what a VM's event may cost there."""
IPAM = ["default-domain", "default-project", "default-network-ipam"]


@dataclass(frozen=True, slots=True)
class Size:
    """Hosts, `VMS_PER_HOST` VMs on each with one NIC; a switch has `HOSTS_PER_SWITCH` of them."""

    hosts: int
    vms_per_host: int = VMS_PER_HOST

    @property
    def ports(self) -> int:
        """One for each VM."""
        return self.hosts * self.vms_per_host

    @property
    def switches(self) -> int:
        """As many as there are VIDs for."""
        return -(-self.hosts // HOSTS_PER_SWITCH)

    def names(self, switch: int) -> list[str]:
        """The hosts of a switch."""
        first = switch * HOSTS_PER_SWITCH
        return [f"esx{number}.lab" for number in range(first, min(first + HOSTS_PER_SWITCH, self.hosts))]

    @property
    def networks(self) -> int:
        """How many; one has its VMs on as many hosts of one switch."""
        return max(4 * self.switches, self.ports // VMS_PER_NETWORK)

    def switch_of(self, network: int) -> int:
        """Its VMs are on this one."""
        return network % self.switches


class Vn(NamedTuple):
    """A virtual network as the api-server has it."""

    name: str
    uuid: str
    vni: int


def figures() -> Iterator[Figure]:
    """Single events and a burst on four hosts, then first syncs of ever more hosts."""
    with _site(Size(4)) as site:
        yield from _events(site)
    yield from _syncs((Size(20), Size(50), Size(100)))


# --- a site ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Site:
    size: Size
    simulator: Simulator
    contrail: ContrailSide
    networks: Sequence[Vn]
    folder: Path
    project: str

    @property
    def config(self) -> Path:
        """For a process that serves all hosts."""
        (self.folder / "password").write_text(self.simulator.password)
        (self.folder / "password").chmod(0o600)
        lines = [
            "[vcenter.vc]",
            f'url = "{self.simulator.url}"',
            f'user = "{self.simulator.user}"',
            'password_file = "password"',
            f'ca_file = "{self.simulator.ca_file}"',
            "timeout = 120",
            "[intent.contrail]",
            f'url = "{self.contrail.url}"',
            "poll = 86400",
            "[status]",
            'socket = "sock"',
            'state = "state"',
            "[loop]",
            "resync = 86400",
        ]
        for switch in range(self.size.switches):
            lines += [f"[deployment.hall{switch}]", 'design = "contrail"', f'dvs = "tenant{switch}"']
            lines += [f'trunk_port_group = "trunk{switch}"']
            for name in self.size.names(switch):
                number = int(name.removeprefix("esx").removesuffix(".lab"))
                lines += [f'[deployment.hall{switch}.host."{name}"]', f'vtep = "10.1.0.{number + 1}"']
                lines += [f'vrouter = "{self.contrail.agents[number]}"']
        path = self.folder / "isthmus.toml"
        path.write_text("\n".join(lines) + "\n")
        return path


@contextmanager
def _site(size: Size) -> Iterator[_Site]:
    """Networks are there on both sides; of the VMs, which all run, nobody has heard."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as scratch:
        folder = Path(scratch)
        with ContrailSide(size.hosts, folder / "agents") as contrail:
            project, networks = _furnish(contrail.url, size.networks)
            with Simulator(_topology(size, networks)) as simulator:
                yield _Site(size, simulator, contrail, networks, folder, project)


def _furnish(url: str, count: int) -> tuple[str, list[Vn]]:
    """The project with its security group, and networks, on the api-server."""
    api = RawHttp(url)
    made = api.ask("POST", "/projects", {"project": {"fq_name": PROJECT, "parent_type": "domain"}})
    api.ask("POST", "/security-groups", {"security-group": default_group(PROJECT)})
    for number in range(count):
        subnet = {"subnet": {"ip_prefix": f"10.{2 + number // 256}.{number % 256}.0", "ip_prefix_len": 24}}
        refs = [{"to": IPAM, "attr": {"ipam_subnets": [subnet]}}]
        body = {"fq_name": [*PROJECT, f"n{number}"], "parent_type": "project", "network_ipam_refs": refs}
        api.ask("POST", "/virtual-networks", {"virtual-network": body})
    asked = {"type": "virtual-network", "fields": "virtual_network_network_id"}
    found = api.ask("POST", "/list-bulk-collection", asked)["virtual-networks"]
    api.close()
    ours = {vn["fq_name"][-1]: vn for vn in found if vn["fq_name"][:-1] == PROJECT}
    vns = [ours[f"n{number}"] for number in range(count)]
    return made["project"]["uuid"], [Vn(vn["fq_name"][-1], vn["uuid"], vn["virtual_network_network_id"]) for vn in vns]


def _topology(size: Size, networks: Sequence[Vn]) -> Topology:
    """A cluster for each switch: DRS would move its VMs to hosts that are no members."""
    clusters, switches, vms = [], [], []
    for switch in range(size.switches):
        names = size.names(switch)
        here = [vn for number, vn in enumerate(networks) if size.switch_of(number) == switch]
        groups = [
            PortGroup(
                vn.name,
                blocked=True,
                overrides=OVERRIDES,
                description=f"isthmus/1 owner=isthmus network={vn.uuid} vni={vn.vni}",
            )
            for vn in here
        ]
        trunk = PortGroup(f"trunk{switch}", Trunk(), security=Security(promiscuous=True, forged_transmits=True))
        members = tuple(Member(name) for name in names)
        clusters.append(Cluster(f"cluster{switch}", tuple(Host(name) for name in names)))
        switches.append(Dvs(f"tenant{switch}", (trunk, *groups), mtu=1600, members=members))
        for number in range(len(names) * size.vms_per_host):
            nic = Nic(here[number % len(here)].name)
            vms.append(Vm(f"vm{switch}-{number}", names[number % len(names)], (nic,)))
    return Topology((Datacenter("dc1", tuple(clusters), tuple(switches), tuple(vms)),))


# --- the floor ------------------------------------------------------------------------------------------------


class _Raw:
    """What must be said for a VM, said by requests that are made of nothing but what they say."""

    def __init__(self, site: _Site) -> None:
        self._vns = {vn.name: vn for vn in site.networks}
        self._project = site.project
        self.api = RawHttp(site.contrail.url)
        self._addresses = site.contrail.agents
        self._agents: dict[int, RawHttp] = {}

    def serve(self, host: int, vm: str, mac: str, network: str, vid: int) -> None:
        """VM, VMI and instance-ip, which address that is, and the plug."""
        vn, tail = self._vns[network], vm[8:]
        vmi, address = f"aaaaaaaa{tail}", f"bbbbbbbb{tail}"
        self._make("virtual-machine", uuid=vm, fq_name=[vm])
        self._make(
            "virtual-machine-interface",
            uuid=vmi,
            fq_name=[*PROJECT, vmi],
            parent_type="project",
            virtual_network_refs=[{"to": [*PROJECT, network]}],
            virtual_machine_refs=[{"to": [vm]}],
            security_group_refs=[{"to": [*PROJECT, "default"]}],
            virtual_machine_interface_mac_addresses={"mac_address": [mac]},
        )
        self._make(
            "instance-ip",
            uuid=address,
            fq_name=[address],
            virtual_network_refs=[{"to": [*PROJECT, network]}],
            virtual_machine_interface_refs=[{"to": [*PROJECT, vmi]}],
        )
        given = self.api.ask("GET", f"/instance-ip/{address}")["instance-ip"]["instance_ip_address"]
        if host not in self._agents:
            self._agents[host] = RawHttp(self._addresses[host])
        self._agents[host].ask("POST", "/port", {
            "id": vmi, "instance-id": vm, "vn-id": vn.uuid, "vm-project-id": self._project, "display-name": vm,
            "ip-address": given, "ip6-address": "::", "system-name": "", "mac-address": mac, "type": 2,
            "tx-vlan-id": vid, "rx-vlan-id": vid, "vhostuser-mode": 0, "link-state": 1,
        })  # fmt: skip

    def close(self) -> None:
        for line in (self.api, *self._agents.values()):
            line.close()

    def _make(self, kind: str, **fields: Any) -> None:
        self.api.ask("POST", f"/{kind}s", {kind: fields})


def _raw_sync(site: _Site) -> float:
    """Seconds that all VMs take, `CONNECTIONS` at a time: vCenter is read first and written last."""
    began = time.perf_counter()
    raw = Raw(site.simulator)
    found = [values(record) for record in raw.inventory()]
    names = {one["obj"]: one.get("name", "") for one in found}
    switches = [one["obj"] for one in found if one["obj"].startswith("dvs-")]
    ports = {(switch, port["key"]) for switch in switches for port in map(dict, raw.ports(switch))}
    vms = [one for one in found if "portKey" in one]
    by_uuid = {one["uuid"]: one["obj"] for one in found if one["obj"] in switches}
    writes: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    shares: list[list[tuple[int, str, str, str, int]]] = [[] for _ in range(CONNECTIONS)]
    for number, vm in enumerate(vms):
        switch = by_uuid[vm["switchUuid"]]
        assert (switch, vm["portKey"]) in ports
        vid = 2 + len(writes[switch])
        writes[switch].append((vm["portKey"], vid))
        host = int(names[vm["runtime.host"]].removeprefix("esx").removesuffix(".lab"))
        said = host, vm["config.instanceUuid"], vm["macAddress"], names[vm["portgroupKey"]], vid
        shares[number % CONNECTIONS].append(said)

    def tell(share: list[tuple[int, str, str, str, int]]) -> None:
        client = _Raw(site)
        for said in share:
            client.serve(*said)
        client.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(tell, shares))
    for switch, wanted in writes.items():
        for first in range(0, len(wanted), 500):
            raw.finish(raw.write(switch, wanted[first : first + 500]))
    raw.close()
    return time.perf_counter() - began


# --- single events, and a burst -------------------------------------------------------------------------------


def _events(site: _Site) -> Iterator[Figure]:
    operator = Operator(site.simulator)
    try:
        floor = list(_boots(operator, _floor(site), "floor", site))
        with Keeping(site.config, site.folder / "store") as kept:
            kept.start()
            kept.ask("settled", seconds=300)
            kept.ask("quiet", seconds=300)
            time.sleep(DROPPED_WITHIN)  # until then an agent may hold ports that were told it before
            yield from _single(operator, kept, site)
            yield from _latency(list(_boots(operator, kept, "kept", site)), floor)
            yield from _burst(operator, kept, site)
    finally:
        operator.close()


def _single(operator: Operator, kept: Keeping, site: _Site) -> Iterator[Figure]:
    told: dict[str, list[Counter[str]]] = {}

    def measured(what: str, do: Callable[[], object]) -> None:
        kept.ask("reset")
        site.contrail.asked()
        do()
        vcenter = kept.ask("quiet")["calls"]
        told.setdefault(what, []).append(
            site.contrail.asked() + Counter({f"vcenter {name}": count for name, count in vcenter.items()})
        )

    for number in range(TIMES):
        vms: list[Any] = []

        def create(vms: list[Any] = vms, name: str = f"one-{number}") -> None:
            vms.append(operator.create(name, "esx0.lab", "n0"))

        measured("creation", create)
        measured("first power-on", lambda: finished(vms[0].PowerOnVM_Task()))  # noqa: B023
        measured("vMotion", lambda: finished(operator.move(vms[0], "esx1.lab")))  # noqa: B023
        measured("power-off", lambda: finished(vms[0].PowerOffVM_Task()))  # noqa: B023
        measured("power-on", lambda: finished(vms[0].PowerOnVM_Task()))  # noqa: B023
        finished(vms[0].PowerOffVM_Task())
        kept.ask("quiet")
        measured("delete", lambda: finished(vms[0].Destroy_Task()))  # noqa: B023
    for what, answers in told.items():
        for side, name, target in SIDES:
            calls = statistics.median(_count(answer, side) for answer in answers)
            yield Figure(f"{name} calls for one VM's {what}", calls, "", target, _which(answers[-1], side))


def _count(calls: Counter[str], side: str) -> int:
    return sum(count for call, count in calls.items() if call.startswith(side))


def _which(calls: Counter[str], side: str) -> str:
    of = [(call.partition(" ")[2], count) for call, count in calls.items() if call.startswith(side)]
    return ", ".join(f"{count} {call}" for call, count in sorted(of, key=lambda pair: -pair[1])) or "none"


def _boots(operator: Operator, kept: Any, name: str, site: _Site) -> Iterator[float]:
    """Seconds from a new VM's power-on until its port was open, plugged in before, VM by VM."""
    kinds = [vim.event.VmPoweredOnEvent, vim.event.DvsPortReconfiguredEvent]
    collector = operator.events(kinds)
    kept.start()
    kept.ask("quiet")
    for number in range(BOOTS):
        drained(collector)
        vm = operator.create(f"{name}-{number}", f"esx{number % site.size.hosts}.lab", f"n{number % 4}")
        finished(vm.PowerOnVM_Task())
        yield opened(collector, port_key(vm), lambda: kept.ask("quiet"))
    kept.ask("done")
    collector.DestroyCollector()


def _floor(site: _Site) -> Floor:
    """A client that says what must be said of a VM that comes up, and opens its port with the next VID."""
    raw, client = Raw(site.simulator), _Raw(site)
    objects = raw.inventory()
    switch = switch_in(objects)
    names = {found["obj"]: found.get("name", "") for found in map(values, objects)}
    vids = iter(range(3000, 4000))

    def serve(vm: dict[str, str]) -> None:
        vid = next(vids)
        host = int(names[vm["runtime.host"]].removeprefix("esx").removesuffix(".lab"))
        client.serve(host, vm["config.instanceUuid"], vm["macAddress"], names[vm["portgroupKey"]], vid)
        raw.write(switch, [(vm["portKey"], vid)])

    return Floor(raw, serve)


def _latency(kept: list[float], floor: list[float]) -> Iterator[Figure]:
    for name, share in (("p50", 50), ("p99", 99)):
        mine, least = (statistics.quantiles(times, n=100, method="inclusive")[share - 1] for times in (kept, floor))
        against = f"{mine * 1000:.0f} ms; a raw client that waits and says it: {least * 1000:.0f} ms; {BOOTS} VMs"
        yield Figure(
            f"from a new VM's power-on to a port plugged in and open, {name}", mine / least, "x", None, against
        )


def _burst(operator: Operator, kept: Keeping, site: _Site) -> Iterator[Figure]:
    """Many that come up at once, new to everybody."""
    hosts, names = site.size.hosts, [f"burst-{number}" for number in range(BURST)]
    vms = [operator.create(name, f"esx{n % hosts}.lab", f"n{n % 4}") for n, name in enumerate(names)]
    kept.ask("quiet", seconds=300)
    kept.ask("reset")
    site.contrail.asked()
    began = time.perf_counter()
    all_finished([vm.PowerOnVM_Task() for vm in vms])
    up = time.perf_counter() - began
    kept.ask("settled", seconds=300)
    told = kept.ask("quiet", seconds=300)
    asked, what = site.contrail.asked(), f"burst of {BURST} VMs that come up"
    against = f"the power-ons alone: {up:.1f} s; {told['cpu']:.1f} s of CPU; {hosts} hosts"
    yield Figure(f"{what}: until all is settled", told["wall"], "s", None, against)
    yield Figure(f"{what}: vCenter calls per VM", sum(told["calls"].values()) / BURST, "", 6, "")
    for side, name, target in SIDES[1:]:
        yield Figure(f"{what}: {name} calls per VM", _count(asked, side) / BURST, "", target, _which(asked, side))


# --- many -----------------------------------------------------------------------------------------------------


def _syncs(sizes: Sequence[Size]) -> Iterator[Figure]:
    taken: dict[int, float] = {}
    memory: dict[int, int] = {}
    for size in sizes:
        with _site(size) as site:
            floor = _raw_sync(site)
        with _site(size) as site, Keeping(site.config, site.folder / "store") as kept:
            kept.start()
            told = kept.ask("settled", seconds=900)
            taken[size.ports], memory[size.ports] = told["wall"], kept.ask("memory")["bytes"]
            against = f"{told['wall']:.1f} s, {told['cpu']:.1f} s of CPU; raw requests: {floor:.1f} s"
            what = f"first sync, {size.hosts} hosts x {size.vms_per_host} VMs"
            yield Figure(f"{what}: wall", told["wall"] / floor, "x", None, against)
    ports = sorted(taken)
    seconds = ", ".join(f"{n:,}: {taken[n]:.1f} s" for n in ports)
    yield Figure("first sync, growth exponent of wall", exponent(ports, [taken[n] for n in ports]), "", 1.1, seconds)
    few, many = ports[0], ports[-1]
    slope = (memory[many] - memory[few]) / (many - few) / 1000
    yield Figure("memory per port, all hosts served", slope, "kB", None, f"resident, {few:,} to {many:,} ports")
