"""What is kept on the api-server of a port: by several hosts at once, and as its VM and its NIC change."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from isthmus.adapters.contrail.api import ApiServer
from isthmus.adapters.contrail.notes import HOME, VM_OWNER, instance_ip_uuid, vm_note, vmi_uuid
from isthmus.model.change import Forget, Learn
from isthmus.model.names import HostId, mac
from tests.adapters.contrail.test_vrouter import ESX1, ESX2, VM, Killed, Site, break_at, site

__all__ = ["site"]
KINDS = ("virtual-machine", "virtual-machine-interface", "instance-ip")


def at_once(site: Site, monkeypatch: pytest.MonkeyPatch, *what: tuple[HostId, Learn | Forget]) -> None:
    """Each host has read what there is before any of them writes."""
    both = threading.Barrier(len(what))
    note, waited = ApiServer.note, threading.local()

    def late(self: ApiServer, *about: Any) -> None:
        if not getattr(waited, "once", False):
            waited.once = True
            both.wait(20)
        note(self, *about)

    with monkeypatch.context() as patched:
        patched.setattr(ApiServer, "note", late)
        threads = [threading.Thread(target=site.does, args=one) for one in what]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)


def test_of_two_hosts_that_let_go_at_once_one_takes_the_port_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {kind: site.there(kind) for kind in KINDS}
    site.learns(ESX1, site.work(), site.plug())
    site.learns(ESX2, site.plug(enabled=False))
    site.at[ESX1]._objects.give_up(site.work(), ESX1)
    at_once(site, monkeypatch, (ESX1, Forget((site.plug(),))), (ESX2, Forget((site.plug(),))))
    assert {kind: site.there(kind) for kind in KINDS} == before


def test_a_host_that_gives_a_port_up_while_another_lets_go_of_it_leaves_none_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {kind: site.there(kind) for kind in KINDS}
    site.learns(ESX1, site.work())
    site.learns(ESX2, site.plug(enabled=False))
    at_once(site, monkeypatch, (ESX1, Forget((site.work(),))), (ESX2, Forget((site.plug(),))))
    assert {kind: site.there(kind) for kind in KINDS} == before


def test_a_port_that_nobody_keeps_and_no_agent_has_is_swept_away(site: Site) -> None:
    """A process was killed between its note and its look, or two processes let go at once."""
    before = {kind: site.there(kind) for kind in KINDS}
    site.learns(ESX1, site.work())
    objects = site.at[ESX1]._objects
    objects._api.note(vmi_uuid(site.work().port), {HOME: None})
    site.records.doubt()
    objects.sweep()
    assert {kind: site.there(kind) for kind in KINDS} == before


def test_a_port_that_another_host_takes_over_at_the_last_moment_is_not_swept_away(site: Site) -> None:
    site.learns(ESX1, site.work())
    objects, uuid = site.at[ESX1]._objects, vmi_uuid(site.work().port)
    objects._api.note(uuid, {HOME: None})
    site.records.doubt()
    assert site.records.read()[uuid].home is None
    objects._api.note(uuid, {HOME: ESX2})  # of which we have not heard
    objects.sweep()
    assert site.work() in Site(site.server, site.client, site.agents, site.network, site.names).holds(ESX2)


def test_a_nics_new_mac_is_the_ports_and_the_agents(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    new = mac("00:50:56:00:00:77")
    site.learns(ESX1, site.work(mac=new), site.plug(mac=new))
    vmi = vmi_uuid(site.work().port)
    held = site.client.read("virtual-machine-interface", vmi)
    assert held["virtual_machine_interface_mac_addresses"] == {"mac_address": [new]}
    assert [port.mac for port in site.agents[ESX1].ports.values()] == [new]
    assert site.client.read("instance-ip", instance_ip_uuid(site.work().port))["instance_ip_address"] == "10.1.0.3"


def test_a_mac_that_was_changed_when_the_process_was_killed_is_changed_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = mac("00:50:56:00:00:77")
    site.learns(ESX1, site.work(), site.plug())
    for call in range(3):
        site.start()
        with monkeypatch.context() as patched:
            break_at(call, patched, done=False, fault=Killed)
            with pytest.raises(Killed):
                site.does(ESX1, Learn((site.work(mac=new),)))
    site.start()
    assert site.work(mac=new) not in site.holds(ESX1)
    site.learns(ESX1, site.work(mac=new))
    held = site.client.read("virtual-machine-interface", vmi_uuid(site.work().port))
    assert held["virtual_machine_interface_mac_addresses"] == {"mac_address": [new]}


def test_all_that_is_named_after_a_vm_follows_its_name(site: Site) -> None:
    site.learns(ESX1, site.work(), site.plug())
    site.learns(ESX1, site.work(vm_name="web-2"))
    ids = VM, vmi_uuid(site.work().port), instance_ip_uuid(site.work().port)
    titles = [site.client.read(kind, uuid)["display_name"] for kind, uuid in zip(KINDS, ids, strict=True)]
    assert titles == ["web-2", "vmi-red-web-2", "ip-red-web-2"]


def test_a_vm_that_another_installation_made_stays_its_own(site: Site) -> None:
    note = {"key": VM_OWNER, "value": vm_note("another")}
    perms, notes = {"creator": "isthmus", "enable": True}, {"key_value_pair": [note]}
    site.client.make("virtual-machine", [VM], uuid=VM, id_perms=perms, annotations=notes)
    site.learns(ESX1, site.work(), site.plug())
    site.forgets(ESX1, site.plug(), site.work())
    assert VM in site.there("virtual-machine")
