"""A world in which something goes wrong: one isthmus for all its hosts, and VMs that talk and listen all the while."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim

from lab.netns.admin import macs_of
from lab.netns.capture import Capture
from lab.netns.frames import BROADCAST, mark_of, marked
from lab.netns.guest import Guest
from lab.netns.layout import TENANT
from lab.netns.product import DEPLOYMENT, Isthmus, Network
from lab.netns.stage import Stage, is_open, until

HOSTS = ESX1, ESX2, ESX3 = "esx1.lab", "esx2.lab", "esx3.lab"
RED, BLUE = Network("red", 5001), Network("blue", 6001)
ALL = "all"
"""The name of the one process."""
QUICK = {"resync": 8.0, "backoff_first": 0.5, "backoff_longest": 4.0, "move_deadline": 20.0}


class OneProcess(Isthmus):
    """isthmus as one process for all hosts, with short timers."""

    def _config(self, host: str, reserved: str) -> Mapping[str, Any]:
        config = dict(Isthmus._config(self, host, reserved))
        deployment = {**config["deployment"][DEPLOYMENT], "serve": "all"}
        deployment["appliance"] = {**deployment["appliance"], "timeout": 2.0}
        vcenter = {name: {**table, "timeout": 5.0, "task_timeout": 20.0} for name, table in config["vcenter"].items()}
        return {**config, "deployment": {DEPLOYMENT: deployment}, "vcenter": vcenter, "loop": QUICK}


def furnished(stage: Stage, places: Mapping[str, tuple[str, Network, int]]) -> None:
    """The process runs, and these VMs are in their networks."""
    stage.isthmus.want(*{network.name: network for _, network, _ in places.values()}.values())
    stage.isthmus.start(ALL)
    wanted = {network.name for _, network, _ in places.values()}
    assert until(lambda: wanted <= stage.world.admin.port_group_names())
    for name, (host, network, number) in places.items():
        stage.boot(name, host, network, number)
    assert until(lambda: all(is_open(stage, name) for name in places))
    assert settled(stage)


def settled(stage: Stage, patience: float = 60.0) -> bool:
    """The process says that all is as it is wanted."""
    return until(lambda: stage.isthmus.is_settled(ALL), patience) is not None


def at_rest(stage: Stage) -> bool:
    """The process has looked at everything and has nothing to do, though it may have something to complain of."""
    if not stage.isthmus.is_running(ALL):
        return False
    told = stage.isthmus.ask(ALL, "show", "--json")
    status = json.loads(told.stdout) if told.returncode == 0 else {"daemon": False}
    return status.get("daemon", True) and all(
        shard["state"] not in ("starting", "waiting") and not shard["pending"] for shard in status["shards"]
    )


@dataclass(slots=True)
class Company:
    """VMs of several networks that say all the time whose they are, and keep what they hear."""

    stage: Stage
    _speaking: dict[str, tuple[Guest, str]] = field(default_factory=dict)
    _listening: dict[str, tuple[Capture, str]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def joined_by(self, name: str, network: Network, *, listens: bool = False) -> Guest:
        """From now on it speaks, as a VM of this network; one that stays to the end may listen too."""
        guest = self.stage.guest(name)
        if listens:
            self._listening[name] = guest.listen(), network.name
        self._speaking[name] = guest, network.name
        return guest

    def left_by(self, name: str) -> None:
        """It falls silent."""
        self._speaking.pop(name, None)

    def misheard(self) -> list[str]:
        """Who heard whom of another network."""
        return sorted(
            {
                f"{name} ({network}) heard {said}"
                for name, (capture, network) in self._listening.items()
                for frame in capture.frames()
                if (said := mark_of(frame)) is not None and not said.startswith(f"{network}:")
            }
        )

    def heard(self, name: str) -> set[str]:
        """Whom a listener heard."""
        marks = {mark_of(frame) for frame in self._listening[name][0].frames()}
        return {said.partition(":")[2] for said in marks if said}

    def _talk(self) -> None:
        while not self._over.wait(0.04):
            for name, (guest, network) in list(self._speaking.items()):
                with contextlib.suppress(OSError):  # its cable is out, or it was destroyed a moment ago
                    guest.send(marked(guest.mac, BROADCAST, f"{network}:{name}"))


@contextlib.contextmanager
def company(stage: Stage, members: Mapping[str, Network]) -> Iterator[Company]:
    """These VMs speak and listen for the time of a block.  At its end no VM has heard another network."""
    made = Company(stage)
    for name, network in members.items():
        made.joined_by(name, network, listens=True)
    talk = threading.Thread(target=made._talk, daemon=True)
    talk.start()
    try:
        yield made
        time.sleep(0.2)
        assert made.misheard() == []
        for name, network in members.items():
            others = {other for other, its in members.items() if its == network and other != name}
            assert others <= made.heard(name), f"{name} did not even hear its own network"
    finally:
        made._over.set()
        talk.join()
        for capture, _ in made._listening.values():
            capture.close()


def port_groups_by_vid(stage: Stage) -> Mapping[int, set[str]]:
    """For each VID of the tenant switch, the port groups whose ports wear it."""
    groups: dict[int, set[str]] = defaultdict(set)
    for port in stage.world.admin.switch(TENANT).FetchDVPorts(vim.dvs.PortCriteria()):
        vlan = port.config.setting.vlan
        if isinstance(vlan, vim.dvs.VmwareDistributedVirtualSwitch.VlanIdSpec) and vlan.vlanId:
            groups[vlan.vlanId].add(port.portgroupKey)
    return groups


def assert_each_vid_has_one_network(stage: Stage) -> None:
    """On this switch a VID is one network's, wherever it is worn."""
    assert {vid: keys for vid, keys in port_groups_by_vid(stage).items() if len(keys) > 1} == {}


def flows(stage: Stage) -> Mapping[str, Sequence[str]]:
    """What the appliances were told; what they learn from traffic comes and goes by itself."""

    def told(host: str) -> list[str]:
        ovs = stage.world.appliance(host).ovs
        held = [flow for bridge in ("br-int", "br-tun") for flow in ovs.dump_flows(bridge)]
        return sorted(flow for flow in held if "hard_timeout" not in flow)

    return {host: told(host) for host in HOSTS}


def admitted(stage: Stage, host: str, macs: Mapping[str, str]) -> set[str]:
    """The VMs of which an appliance takes frames from its host."""
    known = [flow for flow in stage.world.appliance(host).ovs.dump_flows("br-int") if "in_port" in flow]
    return {name for name, mac in macs.items() if any(f"dl_src={mac}" in flow for flow in known)}


def macs_of_all(stage: Stage, names: Sequence[str]) -> Mapping[str, str]:
    """The MAC of the first NIC of each."""
    return {name: macs_of(stage.world.admin.vm(name))[0] for name in names}


def homes(stage: Stage, names: Sequence[str]) -> Mapping[str, set[str]]:
    """Which of these VMs vCenter has on each host, powered on."""
    found: dict[str, set[str]] = {host: set() for host in HOSTS}
    for name in names:
        vm = stage.world.admin.vm(name)
        if vm.runtime.powerState == vim.VirtualMachine.PowerState.poweredOn:
            found[vm.runtime.host.name].add(name)
    return found


def right_everywhere(stage: Stage, names: Sequence[str]) -> bool:
    """Each VM is open, and its host's appliance, and no other, takes its frames."""
    macs, there = macs_of_all(stage, names), homes(stage, names)
    return all(admitted(stage, host, macs) == there[host] for host in HOSTS) and all(
        is_open(stage, name) for host in HOSTS for name in there[host]
    )
