"""Who may come in, what ends a session, and what hostile clients get."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
import urllib.error
import urllib.request

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

from lab.vcenter import Simulator
from tests.lab.vcenter import client as c
from tests.lab.vcenter.client import Client, Watch, wait

pytestmark = pytest.mark.sim


def context(vcenter: Simulator) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(vcenter.ca_file))


@pytest.mark.parametrize("wrong", ["user", "password"])
def test_only_the_right_name_and_password_come_in(vcenter: Simulator, wrong: str) -> None:
    host, port = vcenter.address
    user = "nobody" if wrong == "user" else vcenter.user
    password = "guess" if wrong == "password" else vcenter.password
    with pytest.raises(vim.fault.InvalidLogin):
        SmartConnect(host=host, port=port, user=user, pwd=password, sslContext=context(vcenter))


def test_the_certificate_is_from_our_authority_and_no_other(vcenter: Simulator) -> None:
    host, port = vcenter.address
    with pytest.raises(ssl.SSLCertVerificationError):
        SmartConnect(
            host=host, port=port, user=vcenter.user, pwd=vcenter.password, sslContext=ssl.create_default_context()
        )


def test_the_thumbprint_is_that_of_the_certificate(vcenter: Simulator) -> None:
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(vcenter.address))
    digest = hashlib.sha256(der).hexdigest().upper()
    assert vcenter.thumbprint == ":".join(digest[i : i + 2] for i in range(0, 64, 2))


def test_plain_http_is_not_spoken(vcenter: Simulator) -> None:
    with pytest.raises((urllib.error.URLError, ConnectionError, OSError)):
        urllib.request.urlopen(vcenter.url.replace("https", "http"), timeout=5)


def test_a_terminated_session_is_not_authenticated_any_more(vcenter: Simulator, client: Client) -> None:
    victim = Client(vcenter)
    watch = Watch(victim, vim.VirtualMachine, ["name"])
    watch.drain()
    ended: list[BaseException] = []

    def wait_long() -> None:
        try:
            watch.next(seconds=30)
        except vmodl.fault.RequestCanceled as fault:
            ended.append(fault)

    waiting = threading.Thread(target=wait_long)
    waiting.start()
    key = victim.content.sessionManager.currentSession.key
    client.content.sessionManager.TerminateSession([key])
    waiting.join(timeout=5)
    assert len(ended) == 1  # the call that was under way is cancelled, and the next
    with pytest.raises(vim.fault.NotAuthenticated):
        victim.content.sessionManager.currentSession  # noqa: B018
    with pytest.raises(vim.fault.NotAuthenticated):
        victim.all(vim.VirtualMachine)


def test_a_client_that_logged_out_is_not_authenticated(vcenter: Simulator) -> None:
    session = Client(vcenter)
    vm = session.vm("resident")
    session.content.sessionManager.Logout()
    with pytest.raises(vim.fault.NotAuthenticated):
        vm.name  # noqa: B018


def test_two_sessions_do_not_share_filters(client: Client, other_client: Client) -> None:
    mine, theirs = (Watch(s, vim.VirtualMachine, ["name"]) for s in (client, other_client))
    mine.drain()
    theirs.drain()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vmodl.query.PropertyCollector(mine.collector._moId, other_client.si._stub).WaitForUpdatesEx("", None)
    wait(client.vm("resident").Rename_Task("shared"))
    assert mine.next() is not None
    assert theirs.next() is not None
    wait(client.vm("shared").Rename_Task("resident"))


HOSTILE = ["line\nbreak", "<b>&amp;</b>", "\u202egnp.exe", "a/b/../../c", "%2f%5c%25", "'; DROP TABLE vm; --", "ü" * 80]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_only_a_name(client: Client, name: str) -> None:
    red = client.port_group("red")
    vm = client.make_vm(name, red)
    shown = name if name == "%2f%5c%25" else c.escaped(name)
    assert vm.name == vm.config.name == vm.summary.config.name == shown
    assert len(c.nics(vm)) == 1
    with pytest.raises(vim.fault.DuplicateName):
        client.make_vm(name, red)
    group = wait(client.dvs("tenant").CreateDVPortgroup_Task(c.port_group_spec(name)))
    assert group.name == shown
    wait(group.Destroy_Task())
    wait(vm.Destroy_Task())


@pytest.mark.parametrize("name", ["", "x" * 81, "x" * 10_000], ids=["empty", "81", "10000"])
def test_a_name_that_vcenter_refuses(client: Client, name: str) -> None:
    with pytest.raises(vim.fault.InvalidName):
        client.make_vm(name, client.port_group("red"))


@pytest.mark.parametrize("body", [b"", b"<", b"<a/>", b"\x00\xff", b"<Envelope><Body><Nonsense/></Body></Envelope>"])
def test_garbage_is_answered_and_forgotten(vcenter: Simulator, client: Client, body: bytes) -> None:
    request = urllib.request.Request(vcenter.url, data=body)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, context=context(vcenter), timeout=5)
    assert client.vm("resident").name == "resident"


def test_requests_for_what_is_not_there_are_faults(vcenter: Simulator, client: Client) -> None:
    ghost = vim.HostSystem("host-99999", client.si._stub)
    resident = client.vm("resident")
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        wait(resident.MigrateVM_Task(host=ghost, priority=vim.VirtualMachine.MovePriority.highPriority))
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        wait(resident.RelocateVM_Task(vim.vm.RelocateSpec(datastore=vim.Datastore("datastore-99999"))))
    spec = vim.vm.ConfigSpec(name="ghost", files=vim.vm.FileInfo(vmPathName="[no such datastore]"))
    folder = client.all(vim.Datacenter)[0].vmFolder
    pool = client.host("esx1.lab").parent.resourcePool
    with pytest.raises(vim.fault.InvalidDatastore):
        wait(folder.CreateVM_Task(spec, pool, None))
    spec.files.vmPathName = "[datastore1]"
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        wait(folder.CreateVM_Task(spec, vim.ResourcePool("resgroup-99999"), None))
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        wait(folder.CreateVM_Task(spec, pool, ghost))
    assert vcenter.alive
    assert client.vm("resident").runtime.powerState == "poweredOn"


def test_many_clients_come_and_go_without_using_anything_up(vcenter: Simulator, client: Client) -> None:
    for _ in range(40):  # more than the 32 event collectors that upstream allows in all
        visitor = Client(vcenter)
        visitor.events()
        Watch(visitor, vim.VirtualMachine, ["name"]).drain()
        visitor.close()
    assert client.events().read() == []
    time.sleep(0.1)


def test_the_instance_uuid_is_settable() -> None:
    with Simulator(hosts=1, instance_uuid="11111111-2222-3333-4444-555555555555") as simulator:
        session = Client(simulator)
        assert session.content.about.instanceUuid == simulator.instance_uuid
        assert simulator.instance_uuid.startswith("11111111")
        session.close()
