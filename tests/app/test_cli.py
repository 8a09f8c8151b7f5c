"""The commands: exit codes, one line per fault, the same answers with and without a daemon."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.app import commands, looking
from isthmus.app.cli import main
from isthmus.app.control import Server, ask
from isthmus.app.daemon import Daemon
from isthmus.app.keeper import Charge
from isthmus.app.notify import Systemd
from isthmus.app.standing import Standing, Word
from isthmus.model.change import Outcome
from isthmus.model.faults import Refused, Retry
from tests.app.far_sides import Clock, Nve, Small
from tests.app.test_leading import Keepers, Lock
from tests.app.test_settings import CANARY, GOOD


class Wired:
    """What `wire` would have made, on far sides of the tests."""

    def __init__(self, small: Small, charges: list[Charge], settings: Any) -> None:
        self.settings, self.config = settings, settings.config
        self.sight, self.clock = small.sight, small.clock
        self.intent, self.inventories = small.intent_source, {"vc1": small.inventory_source}
        self.charges = tuple(charges)
        self.neutron, self.lock = None, None
        self.cabling: dict[str, Any] = {}

    def watch(self, wake: Callable[[], None]) -> None:
        """Nothing happens but what tests do."""

    def forget(self) -> None:
        """Nothing is remembered."""

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRET", CANARY)
    path = tmp_path / "isthmus.toml"
    path.write_text(GOOD + '[status]\nsocket = "sock"\nstate = "state"\n')
    return path


@pytest.fixture
def nve() -> Nve:
    return Nve("esx1")


@pytest.fixture
def small(nve: Nve, monkeypatch: pytest.MonkeyPatch) -> Small:
    made = Small()
    keeper = made.keeper("tenant/esx1", nve)
    for module in (commands, looking):
        wired = lambda settings, clock, once=False: Wired(made, [keeper.charge], settings)  # noqa: E731
        monkeypatch.setattr(module, "wire", wired)
    monkeypatch.setattr("isthmus.app.keeper.Keeper.__init__.__defaults__", (made.think,))
    return made


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*words: str) -> tuple[int, str, str]:
        try:
            status = main([*words, "--config", str(config)])
        except SystemExit as left:
            status = int(left.code or 0)
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return command


Run = Callable[..., tuple[int, str, str]]


def test_plan_tells_differences_nothing_and_errors_apart(small: Small, nve: Nve, run: Run) -> None:
    status, out, _ = run("plan")
    assert (status, nve.batches) == (2, [])
    assert "tenant/esx1: ovs:esx1: learn 1 entry for VNI 5001 (network n5001)" in out
    nve.vnis = {5001}
    small.sight.written(nve.id)
    assert run("plan")[:2] == (0, "nothing to do\n")
    nve.observe_fault = Retry("no answer")
    small.sight.written(nve.id)
    status, out, err = run("plan")
    assert (status, err) == (1, "isthmus: ovs:esx1 cannot be read: no answer\n")


def test_apply_makes_the_changes_and_a_second_one_none(small: Small, nve: Nve, run: Run) -> None:
    status, out, _ = run("apply")
    assert (status, nve.vnis) == (0, {5001})
    assert out.endswith("1 changes made\n")
    assert run("apply")[:2] == (0, "0 changes made\n")


def test_apply_says_what_it_could_not_do(small: Small, nve: Nve, run: Run) -> None:
    nve.outcome = Outcome.REFUSED
    status, _, err = run("apply")
    assert status == 1
    assert "learn 1 entry for VNI 5001 (network n5001): not now" in err


def test_a_bad_intent_file_is_every_error_on_a_line_of_its_own(small: Small, run: Run) -> None:
    small.intent.fault = Refused("intent.yaml:1: one\nintent.yaml:2: two")
    assert run("plan") == (1, "", "isthmus: intent.yaml:1: one\nisthmus: intent.yaml:2: two\n")


def test_a_wrong_command_line_and_a_missing_file_are_errors_not_differences(tmp_path: Path, run: Run) -> None:
    assert run("plan", "--colour")[0] == 1
    assert run()[0] == 1
    assert main(["plan", "--config", str(tmp_path / "none.toml")]) == 1


def test_ctrl_c_leaves_quietly(small: Small, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "looked", interrupted)
    assert run("plan") == (130, "", "")


def test_json_is_one_document_in_ascii(small: Small, nve: Nve, run: Run) -> None:
    small.intent.answer = type(small.intent.answer)({})  # type: ignore[call-arg]
    nve.observe_fault = Retry("\u202e\n\x1b[31m")
    status, out, _ = run("plan", "--json")
    assert status == 1
    assert out.isascii()
    assert json.loads(out)["errors"] == ["ovs:esx1 cannot be read: \u202e\n\x1b[31m"]


def test_a_fault_is_json_too_for_who_asked_for_json(run: Run) -> None:
    status, out, err = run("pause", "nobody", "--json")
    assert status == 1
    assert json.loads(out) == {"errors": [err.removeprefix("isthmus: ").removesuffix("\n")]}


def test_a_reader_who_has_enough_of_the_output_ends_the_command_quietly(config: Path) -> None:
    command = [sys.executable, "-m", "isthmus.app.cli", "version"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_paused_shard_is_shown_as_paused_also_without_a_daemon(small: Small, run: Run) -> None:
    run("apply")
    assert run("show")[1] == "tenant/esx1: settled\n"
    run("pause", "tenant/esx1")
    assert run("show")[1] == "tenant/esx1: paused\n"


def test_a_paused_shard_is_not_written_and_a_resumed_one_is(small: Small, nve: Nve, run: Run) -> None:
    assert run("pause", "tenant/esx1")[:2] == (0, "tenant/esx1: paused\n")
    status, _, err = run("apply")
    assert (status, nve.vnis) == (1, set())
    assert "tenant/esx1: is paused: 1 changes not made" in err
    assert run("resume", "tenant/esx1")[0] == 0
    assert run("apply")[0] == 0
    assert nve.vnis == {5001}


def test_an_unknown_shard_is_refused_with_those_there_are(small: Small, run: Run) -> None:
    assert run("pause", "x\ny") == (1, "", "isthmus: there is no shard 'x\\ny' here; there are: tenant/esx1\n")


def test_words_on_shards_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "standing.json"
    Standing(path).say("a", Word.PAUSED)
    Standing(path).say("b", Word.RELEASED)
    assert (Standing(path).of("a"), Standing(path).of("b")) == (Word.PAUSED, Word.RELEASED)
    Standing(path).say("a", None)
    assert Standing(path).of("a") is None
    path.write_text("{")
    with pytest.raises(Refused, match="remove it to resume every shard"):
        Standing(path)


@pytest.fixture
def daemon(small: Small, config: Path, nve: Nve) -> Iterator[Daemon]:
    """A daemon without its signals: loop in this thread on demand, socket answering."""
    wired = commands.wire(commands.load(config), time.monotonic)
    made = Daemon(wired)
    server = Server(config.parent / "sock", made.answer)
    try:
        yield made
    finally:
        server.close()


def test_a_daemon_answers_what_the_command_would_find_out(small: Small, daemon: Daemon, nve: Nve, run: Run) -> None:
    daemon.loop.step()
    sources = "source intent: last word 0 s ago\nsource inventory: last word 75 s ago\n"
    small.inventory_source._silence = lambda: 75.0
    status, out, _ = run("show", "conditions")
    assert (status, out) == (0, "tenant/esx1: settled\n" + sources)
    nve.observe_fault = Retry("no\nanswer")
    daemon.loop.wake()
    daemon.loop.step()
    _, out, _ = run("show")
    conditions = ("unknown: ovs:esx1: no\\nanswer", "unmet: ovs:esx1: unknown: no\\nanswer")
    assert out == "tenant/esx1: working\n" + "".join(f"  {line} (for 0 s)\n" for line in conditions) + sources
    shown = json.loads(run("show", "--json")[1])
    assert shown["targets"] == [{"target": "ovs:esx1", "age": 0.0, "unknown": "no\nanswer"}]


def test_a_standby_refuses_to_apply_and_looks_anew_before_it_leads(small: Small, config: Path) -> None:
    wired = commands.wire(commands.load(config), time.monotonic)
    clock = Clock()
    service = Keepers(clock, holder="another", heard=clock.now)
    wired.lock = Lock(service, "this")
    daemon = Daemon(wired)
    leading = daemon.leading
    assert leading is not None
    leading.beat()
    with pytest.raises(Refused, match="'another' leads"):
        daemon.answer({"do": "apply"})
    happened: list[object] = []
    wired.forget = lambda: happened.append("forgot")  # type: ignore[method-assign]
    daemon.loop.look_at_everything = lambda: happened.append(leading.term())  # type: ignore[method-assign]
    service.holder = ""
    leading.beat()
    assert happened == ["forgot", None]
    assert leading.term() == 1


def test_a_daemon_whose_round_hangs_gives_systemd_no_sign_of_life(small: Small, config: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        told = Systemd({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        daemon = Daemon(commands.wire(commands.load(config), time.monotonic), told)
        (seat,) = daemon.loop.seats.values()
        seat.running_since = small.clock()
        daemon._sign_of_life()
        assert systemd.recv(1000).startswith(b"WATCHDOG=1")
        small.clock.now += 601
        daemon._sign_of_life()
        with pytest.raises(BlockingIOError):
            systemd.recv(1000)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_daemon_whose_loop_dies_leaves_and_says_so(
    small: Small, config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else it would go on telling systemd and Neutron that all is well."""
    really = threading.Thread.start

    def none_left(thread: threading.Thread) -> None:
        if thread.name.startswith("shard "):
            raise RuntimeError("can't start new thread")
        really(thread)

    monkeypatch.setattr(threading.Thread, "start", none_left)
    for what in ("signal.signal", "gc.freeze", "gc.set_threshold"):
        monkeypatch.setattr(f"isthmus.app.daemon.{what}", lambda *_: None)
    daemon = Daemon(commands.wire(commands.load(config), time.monotonic), Systemd({"WATCHDOG_USEC": "300000"}))
    ended: list[int] = []
    running = threading.Thread(target=lambda: ended.append(daemon.run()), daemon=True)
    running.start()
    running.join(5)
    daemon.stop()
    assert ended == [1]
    assert "the loop has ended by itself" in caplog.text


def test_pausing_a_daemon_stops_its_writing_at_once(small: Small, daemon: Daemon, nve: Nve, run: Run) -> None:
    assert run("pause", "tenant/esx1")[0] == 0
    daemon.loop.step()
    assert nve.batches == []
    assert "tenant/esx1: paused" in run("show")[1]
    assert run("resume", "tenant/esx1")[0] == 0
    daemon.loop.step()
    assert nve.vnis == {5001}


def test_the_socket_survives_nonsense(daemon: Daemon, config: Path) -> None:
    sock = config.parent / "sock"
    for request in ({}, {"do": "dance"}, {"do": ["x"]}, {"do": "pause"}, {"do": "pause", "shard": ["x"]}):
        with pytest.raises(Refused):
            ask(sock, request)
    assert ask(sock, {"do": "status"}) is not None
    assert sock.stat().st_mode & 0o077 == 0


def test_a_second_daemon_on_one_socket_is_refused_and_a_dead_ones_socket_is_taken(
    daemon: Daemon, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="another isthmus run answers here"):
        Server(tmp_path / "sock", daemon.answer)
    stale = tmp_path / "stale"
    first = Server(stale, daemon.answer)
    first._server.shutdown()
    first._server.server_close()  # dies without taking its socket away
    assert ask(stale, {"do": "status"}) is None
    second = Server(stale, daemon.answer)
    assert ask(stale, {"do": "status"}) is not None
    second.close()


def test_plan_and_show_say_who_refuses_to_be_seen(small: Small, nve: Nve, run: Run) -> None:
    nve.observe_fault = Refused("another isthmus keeps it")
    assert run("plan") == (1, "", "isthmus: another isthmus keeps it\n")
    assert "another isthmus keeps it" in "".join(run("show")[1:])
