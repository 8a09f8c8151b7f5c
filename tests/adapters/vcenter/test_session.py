"""Bad input and lost sessions: each is said plainly, with its place and remedy, and nothing is taken for empty."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from isthmus.adapters.vcenter import Vcenter, VcenterSettings
from isthmus.adapters.vcenter.session import Session
from isthmus.adapters.vcenter.tls import PinnedConnection
from isthmus.model.change import Change, CreatePortGroup, Outcome, PortGroupSpec
from isthmus.model.faults import Refused, Retry, Unreachable
from isthmus.model.names import DvsId, NetworkId
from isthmus.model.observed import OwnerMark
from isthmus.model.tags import Vni
from lab.vcenter import Delay, Hang, NotBuilt, Simulator, Topology
from tests.adapters.vcenter.bench import Bench, eventually, settings_of

sim = pytest.mark.sim


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    try:
        running = Simulator(Topology.single(["esx1"])).start()
    except NotBuilt as missing:
        pytest.skip(str(missing))
    yield running
    running.stop()


def read(settings: VcenterSettings) -> None:
    vcenter = Vcenter(settings)
    try:
        vcenter.inventory.read()
    finally:
        vcenter.close()


def refusal(settings: VcenterSettings) -> str:
    with pytest.raises(Refused) as caught:
        read(settings)
    assert "vCenter" in str(caught.value) or "thumbprint" in str(caught.value) or "ca_file" in str(caught.value)
    return str(caught.value)


def test_who_leaves_does_not_wait_for_a_vcenter_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = VcenterSettings(f"https://127.0.0.1:{port}/sdk", "u", lambda: "p", insecure=True, timeout=90)
        session, faults = Session(settings), []

        def enter() -> None:
            try:
                session.call(lambda content: content)
            except Retry as fault:
                faults.append(fault)

        entering = threading.Thread(target=enter, daemon=True)
        entering.start()
        held, _ = silent.accept()
        leaving = threading.Thread(target=session.close, daemon=True)
        leaving.start()
        leaving.join(45)
        entering.join(45)
        held.close()
        assert not leaving.is_alive()
        assert not entering.is_alive()
        assert len(faults) == 1


@sim
def test_a_log_out_that_is_not_answered_is_not_waited_for(simulator: Simulator) -> None:
    session = Session(settings_of(simulator, timeout=90))
    session.call(lambda content: content)
    rule = simulator.faults.add(Hang(), method="Logout")
    leaving = threading.Thread(target=session.close, daemon=True)
    leaving.start()
    leaving.join(45)
    simulator.faults.release(rule)
    assert not leaving.is_alive()


@sim
def test_a_ca_file_is_enough_and_so_is_a_thumbprint_in_any_spelling(simulator: Simulator) -> None:
    read(settings_of(simulator))
    plain = simulator.thumbprint.replace(":", "").lower()
    spelled = ":".join(plain[i : i + 2] for i in range(0, 64, 2)).upper()
    read(settings_of(simulator, ca_file=None, thumbprint=plain))
    read(settings_of(simulator, ca_file=None, thumbprint=spelled))


@sim
def test_a_certificate_nobody_vouches_for_is_refused(simulator: Simulator) -> None:
    text = refusal(settings_of(simulator, ca_file=None))
    assert "certificate" in text
    assert "thumbprint" in text
    read(settings_of(simulator, ca_file=None, insecure=True))


@sim
def test_a_certificate_other_than_the_pinned_one_is_refused_on_every_connection(simulator: Simulator) -> None:
    wrong = "00" * 32
    vcenter = Vcenter(settings_of(simulator, thumbprint=wrong))  # the CA is known, the pin is stricter
    for _ in range(2):
        with pytest.raises(Refused, match="pinned"):
            vcenter.inventory.read()
    vcenter.close()


def test_a_thumbprint_that_is_none_and_a_ca_file_that_is_missing_are_refused() -> None:
    settings: dict[str, Any] = {"url": "vc.example.org", "user": "u", "password": lambda: "p"}
    assert "thumbprint" in refusal(VcenterSettings(**settings, thumbprint="abc"))
    assert "/nowhere.pem" in refusal(VcenterSettings(**settings, ca_file="/nowhere.pem"))


@sim
def test_a_wrong_password_is_refused_and_told_to_nobody(simulator: Simulator) -> None:
    settings = settings_of(simulator, password=lambda: "s3cr3t-but-wrong")
    text = refusal(settings)
    assert "password" in text
    assert "s3cr3t" not in text + repr(settings)


@sim
def test_a_url_that_leads_elsewhere_is_refused(simulator: Simulator) -> None:
    assert "no vSphere API" in refusal(settings_of(simulator, url=simulator.url.replace("/sdk", "/other")))


@pytest.mark.parametrize(
    "url", ["ftp://vc", "http://vc/sdk", "https://", "https://u:hidden@vc:port/sdk", "https://vc:99999", "https://[vc/"]
)
def test_a_url_that_is_none_of_a_vcenter_is_refused_and_its_spelling_shown(url: str) -> None:
    text = refusal(VcenterSettings(url, "u", lambda: "p"))
    assert "https://vcenter.example.org[:port][/sdk]" in text
    assert not [leak for leak in ("int()", "integer", "range", "hidden") if leak in text]


def test_a_url_never_shows_the_password_it_holds() -> None:
    settings = VcenterSettings("https://user:hidden@vc.example.org/sdk", "u", lambda: "p")
    assert settings.place == "vCenter vc.example.org/sdk"


def test_settings_in_a_log_show_neither_the_password_nor_where_it_comes_from() -> None:
    class Vault:
        def __call__(self) -> str:
            return "s3cr3t"

        def __repr__(self) -> str:
            return "Vault(s3cr3t)"

    settings = VcenterSettings("https://vc.example.org", "u", Vault())
    assert "vc.example.org" in repr(settings)
    assert not [word for word in ("s3cr3t", "Vault", "password") if word in repr(settings)]


def test_nobody_listening_is_a_retry_that_names_the_place() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{taken.getsockname()[1]}/sdk"
        with pytest.raises(Retry, match=r"127\.0\.0\.1"):
            read(VcenterSettings(url, "u", lambda: "p", insecure=True, timeout=2.0))


def test_a_listener_that_never_answers_is_not_waited_for() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/sdk"
        began = time.monotonic()
        with pytest.raises(Retry):
            read(VcenterSettings(url, "u", lambda: "p", insecure=True, timeout=0.5, wait=60.0))
        assert time.monotonic() - began < 5


@sim
def test_only_the_wait_for_changes_may_take_longer_than_the_timeout(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: dict[bool, set[float | None]] = {True: set(), False: set()}
    getresponse, request = PinnedConnection.getresponse, PinnedConnection.request
    asked: dict[PinnedConnection, bool] = {}

    def requested(self: PinnedConnection, *what: Any, **rest: Any) -> None:
        asked[self] = "WaitForUpdatesEx" in str(what)
        request(self, *what, **rest)

    def answered(self: PinnedConnection) -> Any:
        patience[asked[self]].add(self.sock.gettimeout())
        return getresponse(self)

    monkeypatch.setattr(PinnedConnection, "request", requested)
    monkeypatch.setattr(PinnedConnection, "getresponse", answered)
    vcenter = Vcenter(settings_of(simulator, timeout=1.0, wait=60.0))
    try:
        vcenter.inventory.read()
        began = time.monotonic()
        vcenter.inventory._pull(2.0)
        assert time.monotonic() - began > 1.5, "vCenter kept the wait open for longer than the timeout"
        vcenter.inventory.read()
    finally:
        vcenter.close()
    assert patience == {False: {1.0}, True: {1.0, 3.0}}


@sim
def test_an_ended_session_is_renewed_and_nothing_looks_empty_meanwhile(bench: Bench) -> None:
    switch = bench.vcenter.switch("tenant")
    before = switch.observe()
    for number in range(3):
        assert bench.operator.end_other_sessions() >= 1
        assert switch.observe() == before
        assert bench.operator.end_other_sessions() >= 1
        spec = PortGroupSpec(f"n{number}", OwnerMark("o", NetworkId(f"n{number}"), Vni(1 + number)))
        [result] = switch.apply([Change(1, switch.id, CreatePortGroup(DvsId(switch.id.name), spec), "test")])
        assert result.outcome is Outcome.DONE, result.detail
        before = switch.observe()
        assert len(before.port_groups) == 4 + number


def told(read: Callable[[], object]) -> str:
    """What a read fails with; nothing if it does not."""
    try:
        read()
    except (Retry, Refused) as fault:
        return str(fault)
    return ""


@sim
def test_another_vcenter_at_the_same_address_is_refused_and_told_no_password(bench: Bench) -> None:
    switch = bench.vcenter.switch("tenant")
    switch.observe()
    bench.vcenter.inventory.read()
    bench.simulator.instance_uuid = "11111111-2222-3333-4444-555555555555"
    bench.simulator.start_anew()
    log_ins = bench.simulator.faults.add(Delay(1), method="Login")
    for read in (switch.observe, bench.vcenter.inventory.read):
        eventually(lambda: "another vCenter now (11111111-2222" in told(read))  # noqa: B023
    assert bench.simulator.faults.struck(log_ins) == 0


@sim
def test_close_leaves_no_session_behind(bench: Bench) -> None:
    another = bench.again()
    another.inventory.read()
    another.switch("tenant").observe()
    sessions = bench.operator.content.sessionManager.sessionList
    assert len(sessions) >= 3
    another.close()
    assert len(bench.operator.content.sessionManager.sessionList) == len(sessions) - 2


@sim
def test_a_vcenter_that_dies_is_unreachable(bench: Bench) -> None:
    switch = bench.vcenter.switch("tenant")
    switch.observe()
    bench.simulator.kill()
    with pytest.raises(Unreachable):
        switch.observe()
    spec = PortGroupSpec("n", OwnerMark("o", NetworkId("n"), Vni(1)))
    [result] = switch.apply([Change(1, switch.id, CreatePortGroup(DvsId(switch.id.name), spec), "test")])
    assert result.outcome is Outcome.UNREACHABLE


@sim
def test_an_idle_session_is_kept_alive_and_a_busy_one_left_alone(simulator: Simulator) -> None:
    now = [0.0]
    session = Session(settings_of(simulator), clock=lambda: now[0])
    session.keep_alive()
    assert session.epoch == 0, "nobody asked for a log-in"
    assert session.instance == simulator.instance_uuid
    said: list[str] = []
    stub: Any = session._stub
    invoke = stub.InvokeMethod
    stub.InvokeMethod = lambda mo, info, args: (said.append(info.name), invoke(mo, info, args))[1]
    session.keep_alive()
    assert said == []
    for _ in range(2):
        now[0] += 601.0
        session.keep_alive()
        session.keep_alive()
    assert said == ["CurrentTime", "CurrentTime"]
    session.close()
