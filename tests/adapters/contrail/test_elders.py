"""Ports of the older Contrail programs become ours with their addresses, at whatever call a process is killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus.adapters.contrail.agent import AgentPort, VrouterAgent
from isthmus.adapters.contrail.amiss import of_older_programs
from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.http import Http
from isthmus.adapters.contrail.notes import vmi_uuid
from isthmus.model.change import Forget, Learn, Outcome
from isthmus.model.faults import Retry
from isthmus.model.names import NetworkId, PortId
from isthmus.model.nve import Workload
from isthmus.model.tags import Vid
from lab.contrail import api_server, vrouter_agent
from lab.contrail.client import PROJECT, Client
from tests.adapters.contrail.test_vrouter import ESX1, ESX2, MAC, VM, Killed, Site, kill_before

VMI = "virtual-machine-interface"
PLUGIN = {"creator": "vcenter-plugin", "enable": True}


@dataclass
class Older:
    """What contrail-vcenter-plugin made of a VM: its port with an address, and a floating one."""

    port: str
    address: str
    floating: str


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        api_server.ApiServer() as server,
        vrouter_agent.VrouterAgentStandIn(tmp_path / "1") as one,
        vrouter_agent.VrouterAgentStandIn(tmp_path / "2") as two,
    ):
        client = Client(server.url)
        client.project()
        red = client.network("red")
        yield Site(server, client, {ESX1: one, ESX2: two}, red, {red: "red"}, adopts=True)


@pytest.fixture
def older(site: Site) -> Older:
    site.client.make("virtual-machine", [VM], uuid=VM, id_perms=PLUGIN, display_name="192.0.2.7")
    macs = {"mac_address": [MAC.upper()]}
    refs: dict[str, Any] = {"virtual_machine_refs": [{"to": [VM]}], "virtual_machine_interface_mac_addresses": macs}
    port = site.client.port("old", id_perms=PLUGIN, **refs)
    to = [{"to": [*PROJECT, "old"]}]
    fields: dict[str, Any] = {"virtual_machine_interface_refs": to, "instance_ip_address": "10.1.0.77"}
    status, said = site.client.address("old-ip", id_perms=PLUGIN, **fields)
    assert status == 200
    pool = [*PROJECT, "red", "pool"]
    site.client.make("floating-ip-pool", pool, parent_type="virtual-network")
    floating = site.client.make(
        "floating-ip", [*pool, "f"], parent_type="floating-ip-pool", virtual_machine_interface_refs=to
    )
    return Older(port, said["instance-ip"]["uuid"], floating)


def holders(site: Site, kind: str, uuid: str) -> list[str]:
    return [ref["uuid"] for ref in site.client.read(kind, uuid).get("virtual_machine_interface_refs", ())]


def is_ours_alone(site: Site, older: Older) -> bool:
    ours = vmi_uuid(site.work().port)
    assert site.there(VMI) == {ours}
    assert site.there("instance-ip") == {older.address}
    assert site.client.read("instance-ip", older.address)["instance_ip_address"] == "10.1.0.77"
    assert holders(site, "floating-ip", older.floating) == [ours]
    return holders(site, "instance-ip", older.address) == [ours]


def test_a_port_of_an_older_program_becomes_ours_with_its_address_and_its_floating_one(
    site: Site, older: Older
) -> None:
    site.learns(ESX1, site.work(), site.plug())
    assert is_ours_alone(site, older)
    assert site.client.read("virtual-machine", VM)["display_name"] == "web-1"
    assert site.agents[ESX1].ports[vmi_uuid(site.work().port)].address == "10.1.0.77"
    assert site.holds(ESX1) == {site.work(), site.plug()}


def test_a_port_whose_guest_says_no_address_is_followed_with_the_one_it_had(site: Site, older: Older) -> None:
    site.learns(ESX1, site.work(address=""), site.plug())
    assert is_ours_alone(site, older)
    assert site.agents[ESX1].ports[vmi_uuid(site.work().port)].address == "10.1.0.77"


def test_a_guest_that_says_the_address_it_had_keeps_it_and_one_that_says_another_has_that(
    site: Site, older: Older
) -> None:
    site.learns(ESX1, site.work(address=""), site.plug())
    site.learns(ESX1, site.work(address="10.1.0.77"))
    assert is_ours_alone(site, older)
    assert site.at[ESX1].observe().warnings == ()
    site.learns(ESX1, site.work(address="10.1.0.78"))
    assert [site.client.read("instance-ip", uuid)["instance_ip_address"] for uuid in site.there("instance-ip")] == [
        "10.1.0.78"
    ]


def test_a_port_that_began_to_be_followed_while_its_guest_says_nothing_is_followed_by_the_next_process(
    site: Site, older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in itertools.count():
        site.start()
        with monkeypatch.context() as patched:
            kill_before(call, patched)
            try:
                site.learns(ESX1, site.work(address=""))
                ended = True
            except Killed:
                ended = False
        if vmi_uuid(site.work().port) in site.there(VMI):
            break
    assert not ended
    site.start()
    site.learns(ESX1, site.plug())
    assert is_ours_alone(site, older)


def test_what_is_not_adopted_is_listed_and_what_is_no_more(site: Site, older: Older) -> None:
    api = ApiServer(Http(site.server.url, place="the api-server", kind="an api-server", timeout=20))
    vms, ports, addresses = of_older_programs(api, "isthmus")
    assert [VM in vms, older.port in ports, older.address in addresses] == [True] * 3
    site.learns(ESX1, site.work())
    assert list(of_older_programs(api, "isthmus")) == []


def test_the_agent_lets_go_of_the_port_that_an_older_program_plugged_in(site: Site, older: Older) -> None:
    theirs = AgentPort(
        port=PortId(older.port),
        vm=VM,
        network=NetworkId(site.network),
        project=site.client.read("virtual-network", site.network)["parent_uuid"],
        name="web-1",
        mac=MAC,
        vid=Vid(7),
        address="10.1.0.77",
        address6="",
        enabled=True,
    )
    VrouterAgent(site.agents[ESX1].address, 20.0).plug(theirs)
    site.learns(ESX1, site.work())
    assert older.port in site.agents[ESX1].ports
    site.learns(ESX1, site.plug())
    assert set(site.agents[ESX1].ports) == {vmi_uuid(site.work().port)}


def test_an_address_that_moved_without_an_answer_is_not_given_a_second_one_beside_it(
    site: Site, older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = ApiServer.update

    def unheard(self: ApiServer, kind: str, uuid: str, fields: dict[str, Any]) -> None:
        update(self, kind, uuid, fields)
        if kind == "instance-ip":
            raise Retry("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(ApiServer, "update", unheard)
        assert site.does(ESX1, Learn((site.work(),))).outcome is not Outcome.DONE
    site.learns(ESX1, site.work(), site.plug())
    assert is_ours_alone(site, older)


def test_killed_at_every_call_no_address_is_lost_or_in_two_places_and_all_is_ours_at_last(
    site: Site, older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in itertools.count():
        site.start()
        with monkeypatch.context() as patched:
            kill_before(call, patched)
            try:
                site.learns(ESX1, site.work(), site.plug())
                ended = True
            except Killed:
                ended = False
        assert site.there("instance-ip") == {older.address}
        assert len(holders(site, "instance-ip", older.address)) == 1
        assert holders(site, "floating-ip", older.floating)
        if ended:
            break
    assert call > 5
    assert is_ours_alone(site, older)


def test_each_call_of_an_adoption_is_one_at_which_it_may_be_killed_once(
    site: Site, older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next process need not learn it again: what is noted is enough."""
    killed = False
    for call in itertools.count():
        with monkeypatch.context() as patched:
            kill_before(call, patched)
            try:
                site.does(ESX1, Learn((site.work(),)))
            except Killed:
                killed = True
        if older.address in site.there("instance-ip") and older.port not in holders(site, "instance-ip", older.address):
            break
        site.start()
    assert killed
    site.start()
    site.does(ESX1, Learn((site.plug(),)))
    assert is_ours_alone(site, older)


def test_what_was_adopted_goes_with_its_vm_and_leaves_nothing(site: Site, older: Older) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.forgets(ESX1, site.plug(), site.work())
    assert [site.there(kind) for kind in ("virtual-machine", VMI, "instance-ip")] == [set(), set(), set()]
    assert holders(site, "floating-ip", older.floating) == []


def test_without_the_word_nothing_of_an_older_program_is_touched(site: Site, older: Older) -> None:
    site.adopts = False
    site.start()
    site.learns(ESX1, site.work(), site.plug())
    assert site.there(VMI) == {older.port, vmi_uuid(site.work().port)}
    assert holders(site, "instance-ip", older.address) == [older.port]
    site.adopts = True
    site.start()
    site.learns(ESX1, site.plug())
    assert older.port in site.there(VMI), "its address is not that which the VM has by now"


def test_ports_of_other_macs_networks_and_makers_are_nobodys_to_adopt(site: Site, older: Older) -> None:
    to = {"virtual_machine_refs": [{"to": [VM]}]}
    mac = {"virtual_machine_interface_mac_addresses": {"mac_address": [MAC]}}
    other_mac = {"virtual_machine_interface_mac_addresses": {"mac_address": ["00:50:56:00:00:99"]}}
    site.client.network("blue", "10.2.0.0")
    kept = {
        site.client.port("mac", id_perms=PLUGIN, **to, **other_mac),
        site.client.port("net", "blue", id_perms=PLUGIN, **to, **mac),
        site.client.port("maker", id_perms={"creator": "somebody"}, **to, **mac),
    }
    work: Workload = site.work()
    site.learns(ESX1, work, site.plug())
    assert site.there(VMI) == {*kept, vmi_uuid(work.port)}
    assert site.does(ESX1, Forget((site.plug(), work))).detail == ""
    assert VM in site.there("virtual-machine")


@pytest.mark.parametrize(
    "other", [{"service_instance_ip": True, "id_perms": PLUGIN}, {"id_perms": {"creator": "somebody"}}]
)
def test_a_port_on_which_somebody_elses_hangs_stays_and_is_named(
    site: Site, older: Older, other: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {"virtual_machine_interface_refs": [{"to": [*PROJECT, "old"]}]}
    assert site.client.address("other", **other, **fields)[0] == 200
    site.learns(ESX1, site.work(), site.plug())
    assert older.port in site.there(VMI)
    assert holders(site, "instance-ip", older.address) == [vmi_uuid(site.work().port)]
    (warning,) = site.at[ESX1].observe().warnings
    assert "an older port of it" in warning
