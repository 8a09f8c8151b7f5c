"""A host's vRouter agent and what is kept on the api-server, as one target: real HTTP to stand-ins of both."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.adapters.contrail.agent import AgentPort, HeldPort, VrouterAgent
from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.http import Http, MaybeDone
from isthmus.adapters.contrail.notes import VM_OWNER, instance_ip_uuid, plug_key, vm_note, vmi_uuid
from isthmus.adapters.contrail.objects import Objects
from isthmus.adapters.contrail.records import Records
from isthmus.adapters.contrail.told import DROPPED_WITHIN, LOOKS_EVERY, NO_VLANS
from isthmus.adapters.contrail.vrouter import ADDRESS_AGAIN, VrouterTarget
from isthmus.model.change import Change, Forget, Learn, Outcome, Result
from isthmus.model.faults import Retry, Unreachable
from isthmus.model.names import HostId, NetworkId, NicId, PortId, VmId, mac
from isthmus.model.nve import NveEntry, Plug, Workload
from isthmus.model.tags import Vid, Vni
from lab.contrail import api_server, faults, vrouter_agent
from lab.contrail.client import PROJECT, Client
from lab.contrail.port_table import NOVA

ESX1, ESX2 = HostId("vc/host-1"), HostId("vc/host-2")
VM = VmId("5011aabb-0000-4000-8000-000000000001")
NIC = NicId(VM, 4000)
MAC = mac("00:50:56:00:00:05")


@dataclass
class Site:
    """An api-server, two hosts' vRouter agents, and a process of isthmus that speaks to them."""

    server: api_server.ApiServer
    client: Client
    agents: dict[HostId, vrouter_agent.VrouterAgentStandIn]
    network: str
    names: dict[str, str]
    patience: float = 20.0
    now: float = 0.0
    adopts: bool = False

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A process that remembers nothing."""
        api = ApiServer(Http(self.server.url, place="the api-server", kind="an api-server", timeout=self.patience))
        self.records = Records(api, "isthmus", lambda: self.now)
        objects = Objects(api, self.records, self.named, adopts=self.adopts)
        self.at = {
            host: VrouterTarget(host, VrouterAgent(agent.address, self.patience), objects, lambda: self.now)
            for host, agent in self.agents.items()
        }

    def named(self, network: str) -> list[str]:
        if network not in self.names:
            raise Retry(f"network {network}: nobody has told of it yet")
        return [*PROJECT, self.names[network]]

    def work(self, **other: Any) -> Workload:
        network = NetworkId(other.pop("network", self.network))
        nic = other.pop("nic", NIC)
        return replace(Workload(PortId(f"{nic}@{network}"), network, Vni(5), nic, MAC, "web-1"), **other)

    def plug(self, vid: int = 101, **other: Any) -> Plug:
        work = self.work()
        return replace(Plug(work.port, Vid(vid), work.network, work.vni, NIC, MAC), **other)

    def does(self, host: HostId, action: Learn | Forget) -> Result:
        target = self.at[host]
        (result,) = target.apply([Change(1, target.id, action, "test")])
        return result

    def learns(self, host: HostId, *entries: NveEntry) -> None:
        result = self.does(host, Learn(entries))
        assert result.outcome is Outcome.DONE, result.detail

    def forgets(self, host: HostId, *entries: NveEntry) -> None:
        result = self.does(host, Forget(entries))
        assert result.outcome is Outcome.DONE, result.detail

    def holds(self, host: HostId) -> set[NveEntry]:
        return set(self.at[host].observe().entries.values())

    def take_away(self) -> None:
        """Another deletes the instance-ip and the VMI, and we hear of it."""
        port = self.work().port
        for path in (f"/instance-ip/{instance_ip_uuid(port)}", f"/virtual-machine-interface/{vmi_uuid(port)}"):
            assert self.client.ask("DELETE", path)[0] == 200
        self.records.doubt()

    def there(self, kind: str) -> set[str]:
        self.client.get(f"/{kind}s")
        return {item["uuid"] for item in self.client.get(f"/{kind}s")[f"{kind}s"]}

    def noted(self, host: HostId) -> dict[str, int]:
        """The VIDs that VMIs are noted to have at a host."""
        vids = {}
        for vmi in self.there("virtual-machine-interface"):
            held = self.client.read("virtual-machine-interface", vmi).get("annotations") or {}
            for pair in held.get("key_value_pair", ()):
                if pair["key"] == plug_key(host):
                    vids[vmi] = json.loads(pair["value"])["vid"]
        return vids

    def vids(self, host: HostId) -> dict[str, int | None]:
        """What the agent has, of ports whose link is up."""
        return {port.vmi: port.vid for port in self.agents[host].ports.values() if port.enabled}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    def clock() -> float:
        return made[0].now if made else 0.0

    made: list[Site] = []
    with (
        api_server.ApiServer() as server,
        vrouter_agent.VrouterAgentStandIn(tmp_path / "1", clock=clock) as one,
        vrouter_agent.VrouterAgentStandIn(tmp_path / "2", clock=clock) as two,
    ):
        client = Client(server.url)
        client.project()
        red = client.network("red")
        made.append(Site(server, client, {ESX1: one, ESX2: two}, red, {red: "red"}))
        yield made[0]


def test_a_vm_that_runs_is_made_known_and_plugged_in_by_four_calls_and_one(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.now += DROPPED_WITHIN
    before = site.server.calls.so_far()
    other = NicId(VmId("5011aabb-0000-4000-8000-000000000002"), 4000)
    work = site.work(nic=other)
    plug = Plug(work.port, Vid(102), work.network, work.vni, other, MAC)
    calls = site.agents[ESX1].calls.total()
    site.learns(ESX1, work, plug)
    asked = site.server.calls.so_far() - before
    assert asked == {
        ("POST", "virtual-machines"): 1,
        ("POST", "virtual-machine-interfaces"): 1,
        ("POST", "instance-ips"): 1,
        ("GET", "instance-ip"): 1,
    }
    assert site.agents[ESX1].calls.total() - calls == 1
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 101, vmi_uuid(work.port): 102}
    assert site.holds(ESX1) == {site.work(), site.plug(), work, plug}


def test_what_is_made_says_whose_it_is_and_all_that_cannot_be_said_later(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    port = site.work().port
    vm, vmi = (
        site.client.read(kind, uuid)
        for kind, uuid in (("virtual-machine", VM), ("virtual-machine-interface", vmi_uuid(port)))
    )
    address = site.client.read("instance-ip", instance_ip_uuid(port))
    assert {item["id_perms"]["creator"] for item in (vm, vmi, address)} == {"isthmus"}
    assert (vm["fq_name"], vm["display_name"]) == ([VM], "web-1")
    assert (vmi["fq_name"], vmi["display_name"]) == ([*PROJECT, vmi["uuid"]], "vmi-red-web-1")
    assert vmi["virtual_machine_interface_mac_addresses"] == {"mac_address": [MAC]}
    assert [ref["to"] for ref in vmi["security_group_refs"]] == [[*PROJECT, "default"]]
    assert (address["instance_ip_address"], address["display_name"]) == ("10.1.0.3", "ip-red-web-1")
    (told,) = site.agents[ESX1].ports.values()
    assert (told.address, told.mac, told.vm, told.vn) == ("10.1.0.3", MAC, VM, site.network)


def test_power_off_takes_the_plug_and_the_address_stays(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.forgets(ESX1, site.plug())
    assert (site.vids(ESX1), site.holds(ESX1)) == ({}, {site.work()})
    before = site.server.calls.so_far()
    site.learns(ESX1, site.plug(105))
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 105}
    assert sum((site.server.calls.so_far() - before).values()) <= 1
    assert site.agents[ESX1].ports[vmi_uuid(site.work().port)].address == "10.1.0.3"


def test_a_deleted_vm_leaves_nothing(site: Site) -> None:
    before = {kind: site.there(kind) for kind in ("virtual-machine", "virtual-machine-interface", "instance-ip")}
    site.learns(ESX1, site.work(), site.plug())
    site.forgets(ESX1, site.plug(), site.work())
    assert {kind: site.there(kind) for kind in before} == before
    assert (site.vids(ESX1), site.holds(ESX1)) == ({}, set())


def test_a_vm_with_two_nics_in_one_network_has_two_ports_and_goes_with_the_second(site: Site) -> None:
    second = site.work(nic=NicId(VM, 4001))
    site.learns(ESX1, site.work())
    site.learns(ESX1, second)
    addresses = {
        site.client.read("instance-ip", instance_ip_uuid(w.port))["instance_ip_address"] for w in (site.work(), second)
    }
    assert addresses == {"10.1.0.3", "10.1.0.4"}
    site.forgets(ESX1, site.work())
    assert VM in site.there("virtual-machine")
    site.forgets(ESX1, second)
    assert VM not in site.there("virtual-machine")


def test_a_vm_that_another_made_is_not_removed_with_its_port(site: Site) -> None:
    site.client.make("virtual-machine", [VM], uuid=VM)
    site.learns(ESX1, site.work())
    site.forgets(ESX1, site.work())
    assert site.there("virtual-machine") == {VM}


def test_a_move_is_announced_done_and_cleared_and_the_port_stays_what_it_was(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    vmi = vmi_uuid(site.work().port)
    site.learns(ESX2, site.plug(enabled=False))
    assert (site.vids(ESX1), site.vids(ESX2)) == ({vmi: 101}, {})
    assert site.holds(ESX2) == {site.plug(enabled=False)}
    calls = site.agents[ESX2].calls.total()
    site.learns(ESX2, site.work(), site.plug())
    assert (site.vids(ESX2), site.agents[ESX2].calls.total() - calls) == ({vmi: 101}, 1)
    assert site.holds(ESX1) == {site.plug()}, "the workload is the destination's"
    site.forgets(ESX1, site.plug())
    assert (site.vids(ESX1), site.holds(ESX1)) == ({}, set())
    assert site.holds(ESX2) == {site.work(), site.plug()}
    assert site.client.read("instance-ip", instance_ip_uuid(site.work().port))["instance_ip_address"] == "10.1.0.3"


def test_a_port_whose_vmi_another_deleted_is_still_held_by_the_agent_until_it_is_unplugged(site: Site) -> None:
    """The note went with the VMI; were its VID taken for free, two ports of one host would have it."""
    site.learns(ESX1, site.work(), site.plug())
    site.take_away()
    assert site.holds(ESX1) == {site.plug(wired=False)}
    site.forgets(ESX1, site.plug(wired=False))
    assert (site.vids(ESX1), site.holds(ESX1)) == ({}, set())


def test_a_vmi_goes_only_after_the_last_agent_let_go_of_it(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.learns(ESX2, site.plug(enabled=False))
    site.forgets(ESX1, site.plug(), site.work())
    vmi = vmi_uuid(site.work().port)
    assert vmi in site.there("virtual-machine-interface")
    site.start()
    assert (site.holds(ESX1), len(site.holds(ESX2))) == (set(), 1)
    site.forgets(ESX2, site.plug(enabled=False))
    assert vmi not in site.there("virtual-machine-interface")


def test_an_agent_that_is_away_keeps_its_plug_noted_and_the_vmi_there(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.agents[ESX1].stop()
    assert site.does(ESX1, Forget((site.plug(), site.work()))).outcome is Outcome.UNREACHABLE
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}, "it may have let go, and it may not"
    site.learns(ESX2, site.plug())  # the other host is served meanwhile
    site.agents[ESX1].start()
    site.forgets(ESX1, site.plug(), site.work())
    assert site.vids(ESX1) == {}


def test_a_vm_is_made_known_while_its_agent_is_away_and_plugged_in_when_it_is_back(site: Site) -> None:
    site.agents[ESX1].stop()
    assert site.does(ESX1, Learn((site.work(), site.plug()))).outcome is Outcome.UNREACHABLE
    assert vmi_uuid(site.work().port) not in site.there("virtual-machine-interface") or site.holds(ESX1)
    site.agents[ESX1].start()
    site.learns(ESX1, site.work(), site.plug())
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 101}


def test_another_vid_is_told_by_an_unplug_and_a_plug(site: Site) -> None:
    """The agent takes no notice of what a port that it has is told anew."""
    site.learns(ESX1, site.work(), site.plug(101))
    site.learns(ESX1, site.plug(102))
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 102}
    site.start()
    assert site.holds(ESX1) == {site.work(), site.plug(102, wired=False)}
    site.learns(ESX1, site.plug(103))
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 103}


def test_a_new_process_says_again_what_is_noted_and_the_agent_drops_the_rest(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    stray = replace(site.work(nic=NicId(VM, 4009)))
    site.start()
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}, "nobody knows what the agent has"
    site.learns(ESX1, site.plug())
    assert site.holds(ESX1) == {site.work(), site.plug()}
    assert vmi_uuid(stray.port) not in site.vids(ESX1)
    assert site.agents[ESX1].calls["POST /syncports"] == 2, "one for each process"


def test_what_another_process_noted_is_seen_by_the_next_reading(site: Site) -> None:
    site.learns(ESX1, site.work())
    other = Site(site.server, site.client, site.agents, site.network, site.names)
    other.learns(ESX1, site.plug())
    site.now += 60
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}


def test_a_plug_whose_note_another_took_back_is_held_until_the_agent_says_otherwise(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    other = Site(site.server, site.client, site.agents, site.network, site.names)
    other.forgets(ESX1, site.plug())
    site.now += 60
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}
    site.forgets(ESX1, site.plug(wired=False))
    assert site.holds(ESX1) == {site.work()}


def test_a_vid_stays_taken_while_the_agent_holds_it_for_a_vmi_that_was_deleted_and_made_again(site: Site) -> None:
    """Were it free, a VM of another network would be given it, and the agent would take its frames for this one's."""
    site.learns(ESX1, site.work(), site.plug())
    site.take_away()
    site.agents[ESX1].stop()
    target = site.at[ESX1]
    changes = [Change(n, target.id, a, "") for n, a in enumerate((Forget((site.plug(),)), Learn((site.work(),))))]
    assert [result.outcome for result in target.apply(changes)] == [Outcome.UNREACHABLE, Outcome.DONE]
    site.agents[ESX1].start()
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}
    site.learns(ESX1, site.plug(105))
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 105}
    assert site.holds(ESX1) == {site.work(), site.plug(105)}


def test_a_vid_stays_taken_at_the_host_that_a_vm_left_while_its_vmi_was_made_again_at_the_next(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.take_away()
    site.learns(ESX2, site.work(), site.plug(105))
    assert site.holds(ESX1) == {site.plug(wired=False)}
    site.forgets(ESX1, site.plug(wired=False))
    assert (site.vids(ESX1), site.holds(ESX1)) == ({}, set())
    assert site.holds(ESX2) == {site.work(), site.plug(105)}


@pytest.mark.parametrize("spoilt", ["HTML", "HALF_JSON", "BAD_GATEWAY", "UNAVAILABLE"])
def test_a_server_that_answers_nonsense_is_not_read_as_an_empty_one(site: Site, spoilt: str) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.now += 60
    site.server.faults.spoiled = getattr(faults, spoilt)
    with pytest.raises(Retry):
        site.at[ESX1].observe()
    assert site.does(ESX1, Learn((site.work(nic=NicId(VM, 4001)),))).outcome is Outcome.UNREACHABLE
    site.server.faults.spoiled = None
    assert site.holds(ESX1) == {site.work(), site.plug()}


def test_what_was_made_and_never_answered_is_found_and_not_made_twice(site: Site) -> None:
    site.patience = 0.5
    site.start()
    site.server.faults.where = lambda method, path: path == "/virtual-machine-interfaces"
    site.server.faults.loses_answers = True
    assert site.does(ESX1, Learn((site.work(), site.plug()))).outcome is Outcome.UNREACHABLE
    site.server.faults.loses_answers = False
    assert len(site.there("virtual-machine-interface")) == 1
    assert site.work() in site.holds(ESX1)
    site.learns(ESX1, site.work(), site.plug())
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 101}
    assert site.agents[ESX1].ports[vmi_uuid(site.work().port)].address == "10.1.0.3"


def test_a_network_without_a_free_address_leaves_the_port_plugged_in_and_says_so(site: Site) -> None:
    site.network = site.client.network("tiny", "10.9.0.0", 30)
    site.names[site.network] = "tiny"
    site.learns(ESX1, site.work(), site.plug())
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 101}
    mirror = site.at[ESX1].observe()
    assert site.work() in mirror.entries.values()
    assert "no address" in mirror.warnings[0]
    site.now += ADDRESS_AGAIN
    assert site.work() not in site.holds(ESX1), "it is asked for again"
    site.learns(ESX1, site.work())
    assert site.work() in site.holds(ESX1)


def test_a_floating_address_leaves_a_port_before_it_goes(site: Site) -> None:
    site.learns(ESX1, site.work())
    vmi = vmi_uuid(site.work().port)
    refs = [{"to": [*PROJECT, vmi], "uuid": vmi}]
    pool = [*PROJECT, "red", "pool"]
    site.client.make("floating-ip-pool", pool, parent_type="virtual-network")
    of_port = {"parent_type": "floating-ip-pool", "virtual_machine_interface_refs": refs}
    floating = site.client.make("floating-ip", [*pool, "f1"], **of_port)
    site.forgets(ESX1, site.work())
    assert vmi not in site.there("virtual-machine-interface")
    assert floating in site.there("floating-ip")


def test_what_else_holds_a_port_is_named_and_stays(site: Site) -> None:
    """A service's address, say."""
    site.learns(ESX1, site.work())
    vmi = vmi_uuid(site.work().port)
    refs = [{"to": [*PROJECT, vmi], "uuid": vmi}]
    status, _ = site.client.address("service", virtual_machine_interface_refs=refs)
    assert status == 200
    result = site.does(ESX1, Forget((site.work(),)))
    assert result.outcome is Outcome.REFUSED
    assert "instance-ip" in result.detail
    assert vmi in site.there("virtual-machine-interface")


def test_a_vmi_of_our_uuid_that_is_not_ours_is_left_alone_and_named(site: Site) -> None:
    vmi = vmi_uuid(site.work().port)
    site.client.port(vmi, uuid=vmi)
    result = site.does(ESX1, Learn((site.work(), site.plug())))
    assert (result.outcome, "carries no note" in result.detail) == (Outcome.REFUSED, True)
    assert site.vids(ESX1) == {}


def test_a_renamed_vm_has_its_new_name_and_is_what_it_was(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.learns(ESX1, site.work(vm_name="web-2"))
    assert site.client.read("virtual-machine", VM)["display_name"] == "web-2"
    assert site.holds(ESX1) == {site.work(vm_name="web-2"), site.plug()}
    site.start()
    assert site.work(vm_name="web-2") in site.holds(ESX1)


def test_an_agent_that_starts_anew_without_its_ports_is_told_all_of_them_again(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.now += LOOKS_EVERY
    assert site.holds(ESX1) == {site.work(), site.plug()}
    site.agents[ESX1].stop()
    site.agents[ESX1].start(with_files=False)
    assert site.vids(ESX1) == {}
    site.now += LOOKS_EVERY
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}
    site.learns(ESX1, site.plug())
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 101}


def test_an_agent_that_was_missed_is_looked_at_as_soon_as_it_is_back(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    other = NicId(VmId("5011aabb-0000-4000-8000-000000000077"), 4000)
    work = site.work(nic=other)
    plug = site.plug(102, port=work.port, nic=other)
    site.agents[ESX1].stop()
    assert site.does(ESX1, Learn((work, plug))).outcome is Outcome.UNREACHABLE
    site.agents[ESX1].start(with_files=False)
    site.learns(ESX1, work, plug)
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False), work, plug}


def test_an_agent_that_starts_anew_with_its_ports_is_told_nothing(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    for _ in range(2):
        site.now += LOOKS_EVERY
        assert site.holds(ESX1) == {site.work(), site.plug()}
        site.agents[ESX1].stop()
        site.agents[ESX1].start()


def test_a_port_of_which_the_control_node_has_not_told_is_not_taken_for_lost(site: Site) -> None:
    site.agents[ESX1].known = set()
    site.learns(ESX1, site.work(), site.plug())
    site.now += LOOKS_EVERY
    assert site.holds(ESX1) == {site.work(), site.plug()}


def test_an_agent_that_does_not_answer_is_said_to_and_loses_nothing(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.agents[ESX1].stop()
    site.now += LOOKS_EVERY
    mirror = site.at[ESX1].observe()
    assert set(mirror.entries.values()) == {site.work(), site.plug()}
    assert any("does not answer" in warning for warning in mirror.warnings)
    site.agents[ESX1].start()
    site.now += LOOKS_EVERY
    assert site.at[ESX1].observe().warnings == ()


def test_a_port_of_which_an_agent_says_nonsense_is_named_and_hides_no_loss_of_the_next(site: Site) -> None:
    other = site.work(nic=NicId(VM, 4001))
    site.learns(ESX1, site.work(), site.plug())
    site.learns(ESX1, other, site.plug(102, port=other.port, nic=other.nic))
    agent = site.at[ESX1]._told._agent
    held_there = agent.held

    def held(port: PortId) -> HeldPort | None:
        if port == vmi_uuid(site.work().port):
            raise Retry("nonsense")
        return held_there(port)

    agent.held = held  # type: ignore[method-assign]
    site.agents[ESX1].stop()
    site.agents[ESX1].start(with_files=False)
    site.now += LOOKS_EVERY
    mirror = site.at[ESX1].observe()
    assert mirror.warnings == ("nonsense",)
    assert mirror.entries[site.plug(102, port=other.port, nic=other.nic).key].wired is False


def test_an_agent_that_uses_no_vlans_is_said_to(site: Site) -> None:
    site.agents[ESX1].hypervisor_type = "kvm"
    site.learns(ESX1, site.work(), site.plug())
    site.now += LOOKS_EVERY
    assert any(NO_VLANS in warning for warning in site.at[ESX1].observe().warnings)


def test_an_agent_that_has_another_vid_than_it_was_told_is_told_anew(site: Site) -> None:
    """By another hand, say."""
    site.learns(ESX1, site.work(), site.plug())
    port = PortId(vmi_uuid(site.work().port))
    hand = VrouterAgent(site.agents[ESX1].address, 20.0)
    hand.change(AgentPort(port, VM, NetworkId(site.network), VM, "web-1", MAC, Vid(199), "10.1.0.3", enabled=True))
    site.now += LOOKS_EVERY
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}
    site.learns(ESX1, site.plug())
    assert site.vids(ESX1) == {port: 101}


def test_an_agent_that_has_a_port_from_an_older_program_with_another_vid_is_told_ours(site: Site) -> None:
    """It would take no notice, and its own clean-up comes a minute after our first word."""
    site.learns(ESX1, site.work())
    port = PortId(vmi_uuid(site.work().port))
    hand = VrouterAgent(site.agents[ESX1].address, 20.0)
    hand.plug(AgentPort(port, VM, NetworkId(site.network), VM, "web-1", MAC, Vid(7), enabled=True))
    site.learns(ESX1, site.plug())
    assert site.vids(ESX1) == {port: 101}


def test_an_agent_that_has_another_mac_than_it_was_told_is_told_anew(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    port = PortId(vmi_uuid(site.work().port))
    hand, other = VrouterAgent(site.agents[ESX1].address, 20.0), mac("00:50:56:00:00:99")
    hand.change(AgentPort(port, VM, NetworkId(site.network), VM, "web-1", other, Vid(101), "10.1.0.3", enabled=True))
    site.now += LOOKS_EVERY
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}
    site.learns(ESX1, site.plug())
    assert site.agents[ESX1].ports[port].mac == MAC


def test_a_link_that_may_have_come_up_without_an_answer_goes_down_again_when_the_move_is_cancelled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.learns(ESX2, site.plug(enabled=False))
    with monkeypatch.context() as patched:
        break_at(0, patched, done=True, fault=MaybeDone)
        assert site.does(ESX2, Learn((site.plug(),))).outcome is Outcome.UNREACHABLE
    assert site.vids(ESX2) != {}
    assert site.holds(ESX2) == {site.plug(wired=False)}
    site.learns(ESX2, site.plug(enabled=False))
    assert site.vids(ESX2) == {}


@pytest.mark.parametrize("prepared", [{"enabled": False}, {"vid": 105}], ids=["with its link down", "with another vid"])
def test_a_port_that_may_have_been_plugged_in_otherwise_comes_as_it_is_to_be(
    site: Site, prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.learns(ESX2, site.work())
    site.now += DROPPED_WITHIN
    with monkeypatch.context() as patched:
        break_at(1, patched, done=True, fault=MaybeDone)
        assert site.does(ESX2, Learn((site.plug(**prepared),))).outcome is Outcome.UNREACHABLE
    assert len(site.agents[ESX2].ports) == 1
    site.learns(ESX2, site.plug())
    assert site.vids(ESX2) == {vmi_uuid(site.work().port): 101}


def test_a_vid_is_let_go_of_before_another_port_has_it(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    other = NicId(VM, 4001)
    work = site.work(nic=other)
    target = site.at[ESX1]
    actions = Learn((work, replace(site.plug(101), port=work.port, nic=other))), Forget((site.plug(),))
    results = target.apply([Change(n, target.id, action, "") for n, action in enumerate(actions)])
    assert [result.outcome for result in results] == [Outcome.DONE, Outcome.DONE]
    vmis = vmi_uuid(site.work().port), vmi_uuid(work.port)
    events = [(event.what, vmis.index(event.vmi)) for event in site.agents[ESX1].events if event.vmi in vmis]
    assert events.index(("unplug", 0)) < events.index(("plug", 1))


def test_a_note_never_says_another_vid_than_the_agent_holds_though_the_vmi_was_deleted_and_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process would take the note's word for what the agent holds."""
    for call in itertools.count():
        site.start()
        site.learns(ESX1, site.work(), site.plug(101))
        site.take_away()
        with monkeypatch.context() as patched:
            left = break_at(call, patched, done=False, fault=Killed)
            with suppress(Killed):
                site.does(ESX1, Learn((site.work(), site.plug(105))))
        noted = site.noted(ESX1)
        assert all(noted.get(vmi) in (None, port.vid) for vmi, port in site.agents[ESX1].ports.items())
        if left[0] >= 0:
            break
    assert call > 0


def test_an_agent_lets_go_of_a_vid_before_it_is_noted_that_the_port_has_another_that_cannot_be_told_yet(
    site: Site,
) -> None:
    site.learns(ESX1, site.work(), site.plug(101))
    site.names = {}
    site.start()
    assert site.does(ESX1, Learn((site.plug(105),))).outcome is Outcome.RETRY
    all_that_is_plugged_in_is_noted(site)


def test_an_agent_that_lost_its_ports_before_it_was_ever_looked_at_is_told_them_again(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.agents[ESX1].stop()
    site.agents[ESX1].start(with_files=False)
    site.now += LOOKS_EVERY
    assert site.holds(ESX1) == {site.work(), site.plug(wired=False)}
    site.learns(ESX1, site.plug())
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 101}


@pytest.mark.parametrize("number", range(3))
def test_a_port_that_an_agent_never_answers_for_is_no_reason_for_it_to_drop_the_others(site: Site, number: int) -> None:
    works = [site.work(nic=NicId(VM, 4000 + number)) for number in range(3)]
    plugs = [site.plug(101 + n, port=work.port, nic=work.nic) for n, work in enumerate(works)]
    for work, plug in zip(works, plugs, strict=True):
        site.learns(ESX1, work, plug)
    before = site.vids(ESX1)
    site.start()
    agent = site.at[ESX1]._told._agent
    plug_there, bad = agent.plug, list(site.records.read())[number]

    def plug_most(port: AgentPort) -> None:
        if port.port == bad:
            raise Retry("no answer for this one")
        plug_there(port)

    agent.plug = plug_most  # type: ignore[method-assign]
    other = site.work(nic=NicId(VM, 4009))
    site.learns(ESX1, other, site.plug(109, port=other.port, nic=other.nic))
    site.now += DROPPED_WITHIN
    left = {vmi: vid for vmi, vid in before.items() if vmi != bad}
    assert site.vids(ESX1) == left | {vmi_uuid(other.port): 109}


def test_of_a_batch_of_an_earlier_term_nothing_is_written_in_the_next(site: Site) -> None:
    other = site.work(nic=NicId(VM, 4001))
    target = site.at[ESX1]
    plug_there = target._agent.plug

    def plug_slowly(port: AgentPort) -> None:
        plug_there(port)
        target.forget()  # another led meanwhile

    target._agent.plug = plug_slowly  # type: ignore[method-assign]
    learns = ((site.work(), site.plug()), (other, site.plug(102, port=other.port, nic=other.nic)))
    done = target.apply([Change(n, target.id, Learn(entries), "test") for n, entries in enumerate(learns)])
    assert [result.outcome for result in done] == [Outcome.DONE, Outcome.RETRY]
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 101}


def test_who_leads_anew_does_not_trust_what_he_told_an_agent_in_an_earlier_term(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    between = Site(site.server, site.client, site.agents, site.network, site.names)
    between.learns(ESX1, site.plug(105))
    site.records.doubt()
    site.at[ESX1].forget()
    assert site.holds(ESX1) == {site.work(), site.plug(105, wired=False)}
    site.learns(ESX1, site.plug(105))
    assert site.vids(ESX1) == {vmi_uuid(site.work().port): 105}
    assert site.holds(ESX1) == {site.work(), site.plug(105)}


def test_who_does_not_lead_any_more_ends_within_a_batch(site: Site) -> None:
    second = site.work(nic=NicId(VM, 4001))
    target = VrouterTarget(
        ESX1,
        VrouterAgent(site.agents[ESX1].address),
        site.at[ESX1]._objects,
        lambda: site.now,
        lambda: VM not in site.there("virtual-machine"),
    )
    results = target.apply([Change(n, target.id, Learn((work,)), "") for n, work in enumerate((site.work(), second))])
    assert [result.outcome for result in results] == [Outcome.DONE, Outcome.RETRY]
    assert site.there("virtual-machine-interface") == {vmi_uuid(site.work().port)}


def test_the_loss_of_a_port_without_an_address_is_noticed(site: Site) -> None:
    """An agent never shows such a port."""
    site.learns(ESX1, site.work(address=""), site.plug())
    for lost in (False, True):
        site.agents[ESX1].stop()
        site.agents[ESX1].start(with_files=not lost)
        site.now += LOOKS_EVERY
        assert site.holds(ESX1) == {site.work(address=""), site.plug(wired=not lost)}


def test_a_port_whose_link_the_agent_will_not_bring_up_is_plugged_anew_and_holds_up_no_other(site: Site) -> None:
    """One of an older program, say, that is of another type."""
    site.learns(ESX1, site.work(), site.plug())
    vmi = vmi_uuid(site.work().port)
    (file,) = site.agents[ESX1].table.folder.iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"type": NOVA}))
    site.agents[ESX1].stop()
    site.agents[ESX1].start()
    site.start()
    other = NicId(VM, 4001)
    work = site.work(nic=other)
    site.learns(ESX1, work, replace(site.plug(102), port=work.port, nic=other))
    site.learns(ESX1, site.plug())
    assert site.vids(ESX1) == {vmi: 101, vmi_uuid(work.port): 102}


def test_a_port_that_cannot_be_told_now_holds_up_no_other_and_is_not_dropped(site: Site) -> None:
    """The agent drops whatever it is not told again after the first word of a process."""
    site.learns(ESX1, site.work(), site.plug())
    names, site.names = site.names, {}
    site.start()
    blue = site.client.network("blue", "10.2.0.0")
    site.names |= {blue: "blue"}
    other = NicId(VM, 4001)
    work = site.work(nic=other, network=blue)
    plug = replace(site.plug(102), port=work.port, nic=other, network=work.network)
    site.learns(ESX1, work, plug)
    both = {vmi_uuid(site.work().port): 101, vmi_uuid(work.port): 102}
    site.now += DROPPED_WITHIN
    assert site.vids(ESX1) == both
    site.names |= names
    site.learns(ESX1, site.plug())
    site.now += DROPPED_WITHIN
    assert site.vids(ESX1) == both
    assert site.holds(ESX1) == {site.work(), site.plug(), work, plug}


def test_a_destination_that_is_prepared_stays_down_over_a_restart_of_isthmus(site: Site) -> None:
    """Also where ports are Neutron's, and nothing notes where their VM is at home."""
    site.client.make("virtual-machine", [VM], uuid=VM)
    plug = site.plug(enabled=False, port=PortId(site.client.port("theirs", virtual_machine_refs=[{"to": [VM]}])))
    for with_files in (True, False):
        site.learns(ESX2, plug)
        site.start()
        site.agents[ESX2].stop()
        site.agents[ESX2].start(with_files=with_files)
        second = site.work(nic=NicId(VM, 4001))
        site.learns(ESX2, second, replace(site.plug(102), port=second.port, nic=second.nic))
        assert set(site.vids(ESX2)) == {vmi_uuid(second.port)}
        assert replace(plug, wired=False, enabled=True) in site.holds(ESX2), "nobody notes what its link is"


class Killed(BaseException):
    """The process ends, between two calls."""


def kill_before(call: int, patched: pytest.MonkeyPatch) -> None:
    """The process is killed before its n-th call from now on."""
    break_at(call, patched, done=False, fault=Killed)


def break_at(call: int, patched: pytest.MonkeyPatch, *, done: bool, fault: type[BaseException]) -> list[int]:
    """The n-th call from now on ends so, whether it was carried out or not.  Gives how many are left till then."""
    left = [call]
    request = Http.request

    def counted(self: Http, *what: Any) -> Any:
        left[0] -= 1
        if left[0] != -1:
            return request(self, *what)
        if done:
            request(self, *what)
        raise fault("no answer")

    patched.setattr(Http, "request", counted)
    return left


def all_that_is_plugged_in_is_noted(site: Site) -> None:
    """So no VID is anybody else's while an agent has it, and no VMI goes before."""
    for host, agent in site.agents.items():
        noted = site.noted(host)
        assert {vmi: port.vid for vmi, port in agent.ports.items()}.items() <= noted.items()


def story(site: Site) -> Iterator[tuple[HostId, Learn | Forget]]:
    """A VM's life: it boots, gets another VID, moves, is powered off and on, renamed, and deleted."""
    work, plug = site.work(), site.plug()
    yield ESX1, Learn((work, plug))
    yield ESX1, Learn((site.plug(105),))
    yield ESX2, Learn((site.plug(105, enabled=False),))
    yield ESX2, Learn((work, site.plug(105)))
    yield ESX1, Forget((site.plug(105),))
    yield ESX2, Forget((site.plug(105),))
    yield ESX2, Learn((site.work(vm_name="web-2"), site.plug(106)))
    yield ESX2, Forget((site.plug(106), site.work(vm_name="web-2")))


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("chapter", range(8))
def test_killed_at_any_call_a_new_process_brings_it_to_the_same_end(
    site: Site, chapter: int, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list(story(site))
    for host, action in told[:chapter]:
        assert site.does(host, action).outcome is Outcome.DONE
    host, action = told[chapter]
    for call in itertools.count():
        site.start()
        with monkeypatch.context() as patched:
            break_at(call, patched, done=done, fault=Killed)
            try:
                assert site.does(host, action).outcome is Outcome.DONE
                ended = True
            except Killed:
                ended = False
        all_that_is_plugged_in_is_noted(site)
        if ended:
            break
    assert call > 0
    site.start()
    held, said = {entry.key for entry in site.holds(host)}, {entry.key for entry in action.entries}
    assert not held & said if isinstance(action, Forget) else held >= said


@pytest.mark.parametrize(("fault", "done"), [(Unreachable, False), (MaybeDone, False), (MaybeDone, True)])
@pytest.mark.parametrize("settled", [False, True], ids=["new", "settled"])
@pytest.mark.parametrize("chapter", range(8))
def test_whatever_call_is_not_answered_the_next_try_comes_to_the_same_end(
    site: Site, chapter: int, fault: type[Retry], done: bool, settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes on, with what it remembers."""
    told = list(story(site))
    if settled:  # it has spoken with both agents, long enough ago that they dropped what they had from before
        for host in site.agents:
            site.learns(host, site.work(), site.plug())
        undo(site, [])
        site.now += DROPPED_WITHIN
    for host, action in told[:chapter]:
        assert site.does(host, action).outcome is Outcome.DONE
    host, action = told[chapter]
    end: dict[HostId, dict[str, vrouter_agent.Port]] | None = None
    for call in itertools.count():
        with monkeypatch.context() as patched:
            left = break_at(call, patched, done=done, fault=fault)
            ended = site.does(host, action).outcome is Outcome.DONE
        all_that_is_plugged_in_is_noted(site)
        if not ended:
            assert site.does(host, action).outcome is Outcome.DONE
        all_that_is_plugged_in_is_noted(site)
        now = {at: agent.ports for at, agent in site.agents.items()}
        assert now == (end if end is not None else now)
        end = now
        if left[0] >= 0:
            break
        undo(site, told[:chapter])
    assert call > 0


def undo(site: Site, told: list[tuple[HostId, Learn | Forget]]) -> None:
    """All as before the chapter, in a process that knows as much."""
    for host in site.agents:
        site.forgets(host, site.plug(), site.work())
    for host, action in told:
        assert site.does(host, action).outcome is Outcome.DONE


def test_a_vms_whole_life_killed_at_every_call_leaves_no_vm_no_port_and_no_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {kind: site.there(kind) for kind in ("virtual-machine", "virtual-machine-interface", "instance-ip")}
    for host, action in story(site):
        for call in itertools.count():
            site.start()
            with monkeypatch.context() as patched:
                kill_before(call, patched)
                try:
                    site.does(host, action)
                except Killed:
                    all_that_is_plugged_in_is_noted(site)
                    continue
            break
    assert {kind: site.there(kind) for kind in before} == before
    assert [agent.ports for agent in site.agents.values()] == [{}, {}]


def test_a_vm_belongs_to_its_project_so_that_the_tenant_sees_it(site: Site) -> None:
    site.learns(ESX1, site.work())
    project = site.client.read("virtual-network", site.network)["parent_uuid"]
    assert site.client.read("virtual-machine", VM)["perms2"]["owner"] == project.replace("-", "")


def test_only_vms_that_this_installation_made_go_when_they_are_found_without_a_port(site: Site) -> None:
    ours, others, foreign, in_use, port_made = (f"5011aabb-0000-4000-8000-0000000000{n}" for n in range(11, 16))

    def vm(uuid: str, creator: str, owner: str) -> None:
        note = {"key": VM_OWNER, "value": vm_note(owner)}
        perms, notes = {"creator": creator, "enable": True}, {"key_value_pair": [note]}
        site.client.make("virtual-machine", [uuid], uuid=uuid, id_perms=perms, annotations=notes)

    vm(ours, "isthmus", "isthmus")
    vm(others, "isthmus", "another")
    vm(foreign, "vcenter-plugin", "isthmus")
    vm(in_use, "isthmus", "isthmus")
    site.client.port("theirs", virtual_machine_refs=[{"to": [in_use]}])
    site.client.make("virtual-machine", [port_made], uuid=port_made)
    site.learns(ESX1, site.work())
    assert site.there("virtual-machine") == {VM, others, foreign, in_use, port_made}


def test_a_vm_that_is_swept_away_before_it_has_its_port_is_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ApiServer.create

    def late(self: ApiServer, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        if kind == "virtual-machine-interface":
            monkeypatch.setattr(ApiServer, "create", create)
            assert site.client.ask("DELETE", f"/virtual-machine/{VM}")[0] == 200
        return create(self, kind, fields)

    monkeypatch.setattr(ApiServer, "create", late)
    site.learns(ESX1, site.work(), site.plug())
    assert site.there("virtual-machine") == {VM}
    site.forgets(ESX1, site.plug(), site.work())
    assert site.there("virtual-machine") == set()


def test_a_port_whose_process_was_killed_before_it_had_an_address_is_given_one_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        create = ApiServer.create

        def killed(self: ApiServer, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
            if kind == "instance-ip":
                raise Killed
            return create(self, kind, fields)

        patched.setattr(ApiServer, "create", killed)
        with pytest.raises(Killed):
            site.learns(ESX1, site.work())
    site.start()
    assert site.holds(ESX1) == set()
    site.learns(ESX1, site.work())
    assert len(site.there("instance-ip")) == 1
    assert site.holds(ESX1) == {site.work()}


def test_a_guests_address_stays_where_a_host_takes_the_vm_over_that_has_not_heard_of_it(site: Site) -> None:
    site.learns(ESX1, site.work(address="10.1.0.77"), site.plug())
    (address,) = site.there("instance-ip")
    site.learns(ESX2, site.work(address=""))
    assert site.work(address="10.1.0.77") in site.holds(ESX2)
    assert site.client.read("instance-ip", address)["instance_ip_address"] == "10.1.0.77"


def test_a_guests_address_that_is_said_again_is_not_made_again(site: Site) -> None:
    site.learns(ESX1, site.work(address="10.1.0.77"), site.plug())
    before = site.server.calls.so_far()
    site.learns(ESX1, site.work(address="10.1.0.77", vm_name="other"))
    asked = site.server.calls.so_far() - before
    assert not asked.keys() & {("POST", "instance-ips"), ("DELETE", "instance-ip")}


def addresses(site: Site) -> set[str]:
    return {site.client.read("instance-ip", uuid)["instance_ip_address"] for uuid in site.there("instance-ip")}


def test_a_guest_that_uses_another_address_has_that_and_the_old_one_is_free(site: Site) -> None:
    site.learns(ESX1, site.work(address="10.1.0.77"), site.plug())
    site.learns(ESX1, site.work(address="10.1.0.78"), site.plug(addresses=("10.1.0.78",)))
    assert addresses(site) == {"10.1.0.78"}
    assert site.agents[ESX1].ports[vmi_uuid(site.work().port)].address == "10.1.0.78"
    site.forgets(ESX1, site.plug(), site.work(address="10.1.0.78"))
    assert [site.there(kind) for kind in ("instance-ip", "virtual-machine-interface", "virtual-machine")] == [set()] * 3


def test_a_guest_that_uses_anothers_address_keeps_its_own_until_that_is_free(site: Site) -> None:
    site.learns(ESX1, site.work(address="10.1.0.77"), site.plug())
    _, others = site.client.address("another", instance_ip_address="10.1.0.78")
    now = site.work(address="10.1.0.78")
    site.learns(ESX1, now, site.plug())
    assert addresses(site) == {"10.1.0.77", "10.1.0.78"}
    assert site.agents[ESX1].ports[vmi_uuid(now.port)].address == "10.1.0.77"
    (lack,) = site.at[ESX1].observe().warnings
    assert "10.1.0.78, which its guest uses, is not its address" in lack
    assert now in site.holds(ESX1)
    site.now += ADDRESS_AGAIN
    assert now not in site.holds(ESX1)
    assert site.client.ask("DELETE", f"/instance-ip/{others['instance-ip']['uuid']}")[0] == 200
    site.learns(ESX1, now)
    assert addresses(site) == {"10.1.0.78"}
    assert site.at[ESX1].observe().warnings == ()


def test_a_guest_that_goes_back_to_the_address_it_had_lacks_nothing(site: Site) -> None:
    site.client.address("another", instance_ip_address="10.1.0.78")
    for address in ("10.1.0.77", "10.1.0.78", "10.1.0.77"):
        site.learns(ESX1, site.work(address=address), site.plug())
    assert addresses(site) == {"10.1.0.77", "10.1.0.78"}
    assert site.at[ESX1].observe().warnings == ()


def test_a_port_that_goes_while_its_guest_uses_anothers_address_takes_its_own_along(site: Site) -> None:
    site.learns(ESX1, site.work(address="10.1.0.77"))
    site.client.address("another", instance_ip_address="10.1.0.78")
    site.learns(ESX1, site.work(address="10.1.0.78"))
    site.forgets(ESX1, site.work(address="10.1.0.78"))
    assert addresses(site) == {"10.1.0.78"}
    assert site.there("virtual-machine-interface") == set()


def test_a_change_of_a_guests_address_killed_at_any_call_leaves_the_new_one_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in itertools.count():
        site.learns(ESX1, site.work(address="10.1.0.77"), site.plug())
        site.start()
        with monkeypatch.context() as patched:
            kill_before(call, patched)
            try:
                site.learns(ESX1, site.work(address="10.1.0.78"))
                ended = True
            except Killed:
                ended = False
        assert addresses(site) & {"10.1.0.77", "10.1.0.78"}
        site.start()
        if site.work(address="10.1.0.78") not in site.holds(ESX1):
            site.learns(ESX1, site.work(address="10.1.0.78"))
        assert addresses(site) == {"10.1.0.78"}
        if ended:
            return


def test_an_address_that_another_put_on_the_port_stays_when_its_guest_uses_a_new_one(site: Site) -> None:
    site.learns(ESX1, site.work(address="10.1.0.77"))
    vmi = vmi_uuid(site.work().port)
    to = [{"to": [*PROJECT, vmi]}]
    site.client.address("tenants", instance_ip_address="10.1.0.90", virtual_machine_interface_refs=to)
    site.records.doubt()
    site.learns(ESX1, site.work(address="10.1.0.78"))
    assert addresses(site) == {"10.1.0.78", "10.1.0.90"}


def test_an_address_that_another_port_shares_by_now_stays_when_its_guest_uses_a_new_one(site: Site) -> None:
    site.learns(ESX1, site.work(address="10.1.0.77"))
    (address,) = site.there("instance-ip")
    both = [{"to": [*PROJECT, vmi]} for vmi in (vmi_uuid(site.work().port), "p1")]
    site.client.port("p1")
    fields = {"instance-ip": {"virtual_machine_interface_refs": both}}
    assert site.client.ask("PUT", f"/instance-ip/{address}", fields)[0] == 200
    site.learns(ESX1, site.work(address="10.1.0.78"))
    assert addresses(site) == {"10.1.0.77", "10.1.0.78"}


def test_a_port_that_waits_for_its_guests_address_is_not_asked_for_again_and_again(site: Site) -> None:
    site.learns(ESX1, site.work(address=""), site.plug())
    site.now += 10 * ADDRESS_AGAIN
    assert site.work(address="") in site.holds(ESX1)
    assert site.there("instance-ip") == set()
