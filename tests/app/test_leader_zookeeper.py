"""Two whole processes of design `contrail` on a real ZooKeeper: one writes, the other takes over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isthmus.adapters.zookeeper import CERTAIN, ZooKeeperLock
from isthmus.app.control import ask
from isthmus.app.leading import Leading, asked_until
from isthmus.model.faults import Retry
from tests.app.contrail_site import A, B, Site, contrail_site
from tests.app.leaf_site import until
from tests.app.zookeeper_server import Slow, ZooKeeper

pytestmark = [pytest.mark.sim, pytest.mark.timeout(300)]
LEASE = 6.0


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[ZooKeeper]:
    made = ZooKeeper(tmp_path)
    made.start()
    yield made
    made.stop()


def holds(lock: ZooKeeperLock) -> bool:
    try:
        return lock.hold().seconds is not None
    except Retry:
        return False


def holder_told_to(lock: ZooKeeperLock) -> str:
    try:
        return lock.hold().holder
    except Retry:
        return ""


def test_one_session_has_the_lock_and_the_next_has_it_when_that_one_ends(keeper: ZooKeeper) -> None:
    one, two = (ZooKeeperLock([keeper.address], "site", name, LEASE) for name in ("one", "two"))
    until(lambda: holds(one), 60)
    until(lambda: holder_told_to(two) == "one", 60)
    assert not holds(two)
    one.close()
    until(lambda: holds(two), 60)
    two.close()


def test_a_lease_is_no_longer_than_the_session_that_zookeeper_grants(tmp_path: Path) -> None:
    keeper = ZooKeeper(tmp_path, longest_session=4.0)
    keeper.start()
    lock = ZooKeeperLock([keeper.address], "site", "one", 15.0)
    until(lambda: holds(lock), 60)
    assert lock.hold().seconds == pytest.approx(4.0 * CERTAIN)
    lock.close()
    keeper.stop()


def test_who_only_asks_takes_nothing(keeper: ZooKeeper) -> None:
    one, two = (ZooKeeperLock([keeper.address], "site", name, LEASE) for name in ("one", "two"))
    assert asked_until(one.holder, 60) == ""
    assert asked_until(two.holder, 60) == ""
    until(lambda: holds(two), 60)
    assert one.holder() == "two"
    one.close()
    two.close()
    with pytest.raises(Retry):
        one.hold()


def test_a_zookeeper_that_is_slow_keeps_its_leader_until_an_answer_takes_too_long(keeper: ZooKeeper) -> None:
    way = Slow(keeper)
    leading = Leading(ZooKeeperLock([way.address], "site", "one", 2 * LEASE), lambda: None)
    leading.start()
    until(lambda: leading.term() is not None, 60)
    way.seconds = 0.1
    end = time.monotonic() + LEASE
    while time.monotonic() < end:
        assert leading.may_write()
        time.sleep(0.1)
    way.seconds = 2 * LEASE
    until(lambda: not leading.may_write(), 60)
    assert leading.conditions()
    way.seconds = 0.0
    until(lambda: leading.term() is not None, 60)
    leading.close()
    way.close()


class Pair:
    """Two processes of isthmus, as the operating system has them."""

    def __init__(self, site: Site, folder: Path, zookeeper: ZooKeeper, lease: float) -> None:
        base = site.processes[0].file.read_text()
        self.sockets, self.processes = [], list[subprocess.Popen[bytes]]()
        for name in ("one", "two"):
            file = folder / f"{name}.toml"
            text = base.replace('"isthmus.state"', f'"{name}.state"').replace('"isthmus.sock"', f'"{name}.sock"')
            file.write_text(
                f'{text}\n[leader]\nzookeeper = "{zookeeper.address}"\nlease = {lease}\nname = "{name}"\n'
                "[loop]\nresync = 5\n"
            )
            self.sockets.append(folder / f"{name}.sock")
            with (folder / f"{name}.log").open("wb") as log:
                command = [sys.executable, "-m", "isthmus.app.cli", "run", "--config", str(file)]
                self.processes.append(subprocess.Popen(command, stderr=log, env=dict(os.environ)))

    def status(self, number: int) -> dict[str, Any]:
        try:
            return dict(ask(self.sockets[number], {"do": "status"}) or {})
        except Exception:
            return {}

    def leads(self, number: int) -> bool:
        return bool(self.status(number).get("leader", {}).get("leads"))

    def file(self, number: int) -> Path:
        return self.sockets[number].with_suffix(".toml")

    def leader(self) -> int:
        until(lambda: self.leads(0) != self.leads(1), 60)
        return 0 if self.leads(0) else 1

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contrail_site(tmp_path) as made:
        made.stop()  # the world, without the process that made the first port group
        yield made


@pytest.fixture
def both(site: Site, tmp_path: Path, keeper: ZooKeeper, request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(site, tmp_path, keeper, getattr(request, "param", LEASE))
    yield made
    made.end()


def test_the_standby_takes_over_when_the_leader_is_killed(site: Site, both: Pair) -> None:
    first = both.leader()
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)
    standby = both.status(1 - first)
    assert {shard["state"] for shard in standby["shards"]} == {"standby"}
    assert standby["leader"]["holder"] == ("one", "two")[first]
    both.processes[first].kill()
    killed = time.monotonic()
    site.boot("b", B, "esx1.lab")
    until(lambda: site.is_wired("b", B, "esx1.lab"), 60)
    print(json.dumps({"takeover": round(time.monotonic() - killed, 1), "lease": LEASE}))
    assert both.leads(1 - first)
    assert site.is_wired("a", A, "esx1.lab")


@pytest.mark.parametrize("both", [40.0], indirect=True)
def test_a_leader_that_leaves_lets_the_standby_lead_at_once(site: Site, both: Pair) -> None:
    first = both.leader()
    both.processes[first].send_signal(signal.SIGTERM)
    until(lambda: both.leads(1 - first), 30)
    assert both.processes[first].wait(20) == 0


def test_commands_say_who_leads_and_write_nothing_beside_him(site: Site, both: Pair, tmp_path: Path) -> None:
    first = both.leader()
    name = ("one", "two")[first]
    aside = tmp_path / "aside.toml"
    aside.write_text(both.file(first).read_text().replace(f'"{name}.sock"', '"aside.sock"'))
    site.client.network("blue", "10.2.0.0")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        called = [sys.executable, "-m", "isthmus.app.cli", *command]
        return subprocess.run(called, capture_output=True, text=True, timeout=60, check=False)

    checked = run("check", "--config", str(aside))
    assert f"leader: '{name}' leads" in checked.stdout
    applied = run("apply", "--config", str(aside))
    assert applied.returncode == 1
    assert f"'{name}' leads" in applied.stderr
    beside = run("apply", "--config", str(both.file(1 - first)))
    assert beside.returncode == 1
    assert f"'{name}' leads" in beside.stderr
    shown = run("show", "--config", str(both.file(1 - first)))
    assert f"leader: {name}" in shown.stdout
    assert "leader: this process" in run("show", "--config", str(both.file(first))).stdout


@pytest.mark.parametrize("fault", ["stopped", "hung"])
def test_without_zookeeper_nothing_is_written_and_open_ports_stay_open(
    site: Site, both: Pair, keeper: ZooKeeper, fault: str
) -> None:
    both.leader()
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)
    (keeper.stop if fault == "stopped" else keeper.hang)()
    until(lambda: not both.leads(0) and not both.leads(1), 60)
    site.boot("b", B, "esx1.lab")
    time.sleep(LEASE)
    assert not site.is_wired("b", B, "esx1.lab")
    assert B not in site.there("virtual-machine")
    assert site.is_wired("a", A, "esx1.lab")
    until(lambda: all("leader lock" in json.dumps(both.status(n)["shards"]) for n in (0, 1)), 60)
    (keeper.start if fault == "stopped" else keeper.go_on)()
    until(lambda: site.is_wired("b", B, "esx1.lab"), 60)


def test_a_leader_that_was_stopped_for_longer_than_its_lease_finds_it_gone(site: Site, both: Pair) -> None:
    first = both.leader()
    both.processes[first].send_signal(signal.SIGSTOP)
    until(lambda: both.leads(1 - first), 60)
    site.boot("a", A, "esx1.lab")
    until(lambda: site.is_wired("a", A, "esx1.lab"), 60)
    both.processes[first].send_signal(signal.SIGCONT)
    until(lambda: both.status(first).get("leader", {}).get("holder") == ("one", "two")[1 - first], 60)
    assert not both.leads(first)
    assert both.leads(1 - first)
