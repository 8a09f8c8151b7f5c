"""What an api-server answers is taken for what it is, and nothing else for an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from isthmus.adapters.contrail.api import ApiServer, Conflict, Gone
from isthmus.adapters.contrail.http import Http, MaybeDone, basic_auth
from isthmus.adapters.contrail.identity import REFUSED_AGAIN, TOKEN, Fixed, Token, User
from isthmus.adapters.contrail.intent import ContrailIntent
from isthmus.adapters.contrail.meaning import Choice
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.names import NetworkId
from lab.contrail import api_server, faults, identity
from lab.contrail.client import PROJECT, Client

VN, VMI = "virtual-network", "virtual-machine-interface"
NOBODY = "5011aabb-0000-4000-8000-00000000dead"


@pytest.fixture
def server() -> Iterator[api_server.ApiServer]:
    with api_server.ApiServer() as made:
        yield made


@pytest.fixture
def client(server: api_server.ApiServer) -> Client:
    made = Client(server.url)
    made.project()
    return made


def speaks(*urls: str, patience: float = 20.0) -> ApiServer:
    return ApiServer(Http(urls, place="the api-server", kind="an api-server", timeout=patience))


@pytest.fixture
def api(server: api_server.ApiServer) -> ApiServer:
    return speaks(server.url)


def names(api: ApiServer) -> set[str]:
    found = {tuple(fields["fq_name"]) for fields in api.listed(VN, ("id_perms",))}
    return {name[-1] for name in found if list(name[:-1]) == PROJECT}


def test_a_list_has_all_objects_with_the_fields_that_were_asked_for(api: ApiServer, client: Client) -> None:
    for number in range(120):
        client.network(f"net-{number}", f"10.{number}.0.0")
    listed = [
        f for f in api.listed(VN, ("virtual_network_network_id", "network_ipam_refs")) if f["fq_name"][:-1] == PROJECT
    ]
    assert len({fields["virtual_network_network_id"] for fields in listed}) == 120
    assert all(fields["network_ipam_refs"][0]["attr"]["ipam_subnets"] for fields in listed)


def test_a_list_may_be_of_some_projects(api: ApiServer, client: Client) -> None:
    client.network()
    (project,) = [f["uuid"] for f in api.listed("project", ()) if f["fq_name"] == PROJECT]
    assert [fields["fq_name"][-1] for fields in api.listed(VN, (), [project])] == ["red"]


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_list_that_fails_is_a_fault_and_never_an_empty_one(
    server: api_server.ApiServer, api: ApiServer, client: Client, status: int
) -> None:
    """With 404 the server says that it could not read its database: its own client takes that for an empty list."""
    client.network()
    server.faults.failing_lists[VN] = status
    with pytest.raises((Retry, Refused)):
        api.listed(VN, ())
    del server.faults.failing_lists[VN]
    assert names(api) == {"red"}


@pytest.mark.parametrize("spoiled", [faults.HTML, faults.HALF_JSON, faults.BAD_GATEWAY, faults.UNAVAILABLE])
def test_nonsense_is_no_answer(server: api_server.ApiServer, api: ApiServer, spoiled: faults.Spoiled) -> None:
    server.faults.spoiled = spoiled
    for ask in (lambda: api.listed(VN, ()), lambda: api.read(VN, NOBODY), lambda: api.id_of("project", PROJECT)):
        with pytest.raises(Unreachable):
            ask()


def test_what_is_not_there_is_gone_and_can_be_deleted_again(api: ApiServer) -> None:
    with pytest.raises(Gone):
        api.read(VN, NOBODY)
    with pytest.raises(Gone):
        api.id_of("project", ["default-domain", "nobody"])
    with pytest.raises(Gone):
        api.note(NOBODY, {"a": "b"})
    api.delete(VN, NOBODY)


def test_what_is_there_already_or_still_used_is_a_conflict(api: ApiServer, client: Client) -> None:
    network = client.network()
    client.port()
    with pytest.raises(Conflict, match="already exists"):
        api.create(VN, {"fq_name": [*PROJECT, "red"], "parent_type": "project"})
    with pytest.raises(Conflict):
        api.delete(VN, network)


def test_a_clients_error_is_refused_with_the_servers_words_whatever_its_status(api: ApiServer, client: Client) -> None:
    client.network()
    with pytest.raises(Refused, match="POST /virtual-machine-interfaces"):
        api.create(VMI, {"fq_name": [*PROJECT, "p"], "parent_type": "project"})
    with pytest.raises(Refused):
        api.create(
            VMI, {"fq_name": [*PROJECT, "p"], "parent_type": "project", "virtual_network_refs": [{"to": ["no"]}]}
        )


def test_notes_are_set_and_taken_off_one_by_one(api: ApiServer, client: Client) -> None:
    client.network()
    port = client.port(annotations={"key_value_pair": [{"key": "theirs", "value": "1"}]})
    api.note(port, {"a": "x", "b": "y"})
    api.note(port, {"a": "z", "b": None})
    pairs = client.read(VMI, port)["annotations"]["key_value_pair"]
    assert {pair["key"]: pair["value"] for pair in pairs} == {"theirs": "1", "a": "z"}


def test_a_write_without_an_answer_may_be_done(server: api_server.ApiServer, client: Client) -> None:
    """As with ZooKeeper frozen: it is, when that thaws."""
    api = speaks(server.url, patience=0.3)
    server.faults.freeze_writes()
    with pytest.raises(MaybeDone):
        api.create("virtual-machine", {"fq_name": [NOBODY], "uuid": NOBODY})
    server.faults.thaw()
    api = speaks(server.url)
    end = time.monotonic() + 20
    while NOBODY not in {fields["uuid"] for fields in api.listed("virtual-machine", ())}:
        assert time.monotonic() < end
    with pytest.raises(Conflict):
        api.create("virtual-machine", {"fq_name": [NOBODY], "uuid": NOBODY})


def test_another_api_server_is_asked_when_one_is_gone(server: api_server.ApiServer, client: Client) -> None:
    client.network()
    with api_server.ApiServer(objects=server.objects) as second:
        api = speaks(server.url, second.url)
        assert names(api) == {"red"}
        server.stop()
        assert names(api) == {"red"}
        server.start()
        second.stop()
        assert names(api) == {"red"}


def test_a_token_that_is_not_taken_any_more_is_replaced_and_nothing_is_done_twice() -> None:
    with identity.Keystone("isthmus", "secret", 3600) as keystone, api_server.ApiServer(door=keystone) as server:
        user = User("isthmus", "Default", "admin", "Default", lambda: "secret")
        token = Token(Http(keystone.url, place="Keystone", kind="a Keystone v3", timeout=20), user)
        api = ApiServer(Http(server.url, place="the api-server", kind="an api-server", timeout=20), token)
        api.create("project", {"fq_name": PROJECT, "parent_type": "domain"})
        api.listed("project", ())
        assert keystone.given == 1
        keystone.end_all()
        api.create("virtual-machine", {"fq_name": [NOBODY], "uuid": NOBODY})
        assert [fields["uuid"] for fields in api.listed("virtual-machine", ())] == [NOBODY]
        assert keystone.given == 2


def test_a_user_that_keystone_does_not_know_is_refused_without_a_word_of_his_password() -> None:
    with identity.Keystone("isthmus", "secret", 3600) as keystone, api_server.ApiServer(door=keystone) as server:
        user = User("isthmus", "Default", "admin", "Default", lambda: "wr0ng")
        token = Token(Http(keystone.url, place="Keystone", kind="a Keystone v3", timeout=20), user)
        api = ApiServer(Http(server.url, place="the api-server", kind="an api-server", timeout=20), token)
        with pytest.raises(Refused, match="does not know user isthmus") as refused:
            api.listed("project", ())
        assert "wr0ng" not in str(refused.value)


def tokens(token: Token, threads: int) -> list[str]:
    """What as many threads at once are given, or told."""
    told: list[str] = []

    def ask() -> None:
        try:
            told.append(token.headers()[TOKEN])
        except (Retry, Refused) as fault:
            told.append(type(fault).__name__)

    started = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(30)
    return told


def test_a_wrong_password_is_tried_once_for_all_and_not_again_for_a_minute() -> None:
    """Keystone may lock a user out who is tried too often."""
    now, password = [0.0], ["wr0ng"]
    with identity.Keystone("isthmus", "secret", 3600) as keystone:
        user = User("isthmus", "Default", "admin", "Default", lambda: password[0])
        http = Http(keystone.url, place="Keystone", kind="a Keystone v3", timeout=20)
        token = Token(http, user, lambda: now[0])
        assert tokens(token, 6) == ["Refused"] * 6
        now[0] += REFUSED_AGAIN - 1
        assert tokens(token, 2) == ["Refused"] * 2
        assert keystone.asked == 1
        now[0], password[0] = now[0] + 1, "secret"
        (given,) = set(tokens(token, 6))
        assert given not in ("Refused", "Retry", "Unreachable")
        assert (keystone.asked, keystone.given) == (2, 1)


def test_a_keystone_that_hangs_costs_all_who_ask_one_time_out() -> None:
    now = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v3"
        http = Http(url, place="Keystone", kind="a Keystone v3", timeout=1)
        token = Token(http, User("isthmus", "Default", "admin", "Default", lambda: "secret"), lambda: now[0])
        began = time.monotonic()
        told = tokens(token, 6)
        assert set(told) <= {"MaybeDone", "Unreachable"}
        assert len(told) == 6
        assert time.monotonic() - began < 4, "not one after another"


def test_a_user_and_password_of_the_servers_own_are_enough_or_refused() -> None:
    with api_server.ApiServer(door=identity.Basic("admin", "secret")) as server:
        http = Http(server.url, place="the api-server", kind="an api-server", timeout=20)
        assert ApiServer(http, Fixed(basic_auth("admin", "secret"))).listed("project", ())
        with pytest.raises(Refused, match="not allowed"):
            ApiServer(http, Fixed(basic_auth("admin", "wrong"))).listed("project", ())


def test_the_networks_of_the_server_are_the_intent_and_a_change_wakes(api: ApiServer, client: Client) -> None:
    source = ContrailIntent(api, Choice(), poll=0.05)
    red = client.network()
    assert {network.name for network in source.read().networks.values()} == {"red"}
    assert list(source.named(NetworkId(red))) == [*PROJECT, "red"]
    with pytest.raises(Retry, match="has not told of it yet"):
        source.named(NetworkId("blue"))
    woken: list[object] = []
    source.watch(woken.append)
    client.network("blue", "10.2.0.0")
    end = time.monotonic() + 20
    while not woken:
        assert time.monotonic() < end
        time.sleep(0.02)
    source.close()
    assert {network.name for network in source.read().networks.values()} == {"red", "blue"}


def test_a_server_that_is_away_wakes_nobody_and_is_watched_on(
    server: api_server.ApiServer, api: ApiServer, client: Client
) -> None:
    source = ContrailIntent(api, Choice(), poll=0.02)
    client.network()
    source.read()
    woken: list[object] = []
    source.watch(woken.append)
    server.stop()
    time.sleep(0.2)
    with pytest.raises(Unreachable):
        source.read()
    assert not woken
    server.start()
    client.network("blue", "10.2.0.0")
    end = time.monotonic() + 20
    while not woken:
        assert time.monotonic() < end
        time.sleep(0.02)
    source.close()
