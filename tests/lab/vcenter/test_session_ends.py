"""How sessions are limited and how they end: told, untold, idle."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

from lab.vcenter import Simulator
from tests.lab.vcenter.client import Client, Watch, wait
from tests.lab.vcenter.test_sessions import context

pytestmark = pytest.mark.sim

Collect = vmodl.query.PropertyCollector


@pytest.fixture(autouse=True)
def no_limits(vcenter: Simulator) -> Iterator[None]:
    yield
    vcenter.sessions.limits()


def key_of(client: Client) -> str:
    return str(client.content.sessionManager.currentSession.key)


def read(client: Client, obj: Any, *paths: str) -> Any:
    spec = Collect.FilterSpec(
        objectSet=[Collect.ObjectSpec(obj=obj)],
        propSet=[Collect.PropertySpec(type=type(obj), pathSet=list(paths))],
    )
    (content,) = client.content.propertyCollector.RetrieveContents([spec])
    return content


def test_a_session_that_says_nothing_ends_and_one_that_speaks_does_not(vcenter: Simulator) -> None:
    quiet, talking = Client(vcenter), Client(vcenter)
    vm = quiet.vm("resident")
    vcenter.sessions.limits(idle=0.6)
    for _ in range(8):
        talking.vm("resident")
        time.sleep(0.15)
    with pytest.raises(vim.fault.NotAuthenticated):
        vm.name  # noqa: B018
    assert talking.vm("resident").name == "resident"
    talking.close()


def test_a_wait_for_updates_is_not_idling(vcenter: Simulator) -> None:
    waiting = Client(vcenter)
    watch = Watch(waiting, vim.VirtualMachine, ["name"])
    watch.drain()
    vcenter.sessions.limits(idle=0.5)
    assert watch.next(seconds=2) is None
    assert waiting.vm("resident").name == "resident"
    waiting.close()


def test_a_hollow_session_reads_everything_as_missing(vcenter: Simulator, client: Client) -> None:
    victim = Client(vcenter)
    vm = victim.vm("resident")
    watch = Watch(victim, vim.VirtualMachine, ["name", "runtime.host"])
    assert {u.obj.name for u in watch.drain()} >= {"resident"}
    assert vcenter.sessions.hollow(key=key_of(victim)) == 1
    content = read(victim, vm, "name", "config.instanceUuid")
    assert not content.propSet
    assert {m.path for m in content.missingSet} == {"name", "config.instanceUuid"}
    assert all(isinstance(m.fault, vim.fault.NotAuthenticated) for m in content.missingSet)
    updates = watch.drain()  # the watch says the same, and that nothing has left
    assert updates
    assert {u.kind for u in updates} == {"modify"}
    assert all(not u.changeSet and {m.path for m in u.missingSet} == {"name", "runtime.host"} for u in updates)
    with pytest.raises(vim.fault.NotAuthenticated):
        vm.Rename_Task("stolen")
    with pytest.raises(vim.fault.NotAuthenticated):
        vim.DistributedVirtualSwitch(client.dvs("tenant")._moId, victim.si._stub).FetchDVPorts(None)
    assert client.vm("resident").name == "resident"  # others read on


def test_a_hollow_session_can_log_in_again(vcenter: Simulator) -> None:
    victim = Client(vcenter)
    vcenter.sessions.hollow(key=key_of(victim))
    victim.content.sessionManager.Login(vcenter.user, vcenter.password, None)
    wait(victim.vm("resident").Rename_Task("resident"))
    victim.close()


def test_too_many_sessions_refuse_the_next(vcenter: Simulator, client: Client) -> None:
    vcenter.sessions.limits(most=len(vcenter.sessions.list()) + 1)
    last = Client(vcenter)
    with pytest.raises(http.client.HTTPException, match="503"):
        Client(vcenter)
    last.close()
    Client(vcenter).close()


def test_wrong_passwords_lock_the_user_for_a_while(vcenter: Simulator) -> None:
    vcenter.sessions.limits(lock_after=3, lock_seconds=0.8)
    host, port = vcenter.address
    for _ in range(3):
        with pytest.raises(vim.fault.InvalidLogin):
            SmartConnect(host=host, port=port, user=vcenter.user, pwd="guess", sslContext=context(vcenter))
    with pytest.raises(vim.fault.InvalidLogin):
        Client(vcenter)
    time.sleep(0.9)
    Client(vcenter).close()


def test_one_user_s_sessions_can_be_ended_from_behind(vcenter: Simulator) -> None:
    victim = Client(vcenter)
    assert vcenter.sessions.end(user="nobody") == 0
    assert vcenter.sessions.end(user=vcenter.user) >= 1
    with pytest.raises(vim.fault.NotAuthenticated):
        victim.vm("resident")
