"""The program against a vCenter that throttles or answers nonsense, and networks with names of ill will."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from isthmus.adapters.vcenter import marks
from lab.vcenter import Delay, Fault, Simulator, Unavailable
from tests.adapters.vcenter.operator import Operator, PortGroup
from tests.app.test_adversity import running
from tests.app.test_with_vcenter import CANARY, TOPOLOGY, Site, until

pytestmark = pytest.mark.sim
UNEXPECTED = Fault("InvalidRequest")
"""What no call of ours should ever be answered with: a bug, here or there."""
HOSTILE = {
    "newline": "red\ncreate port group 'blue'",
    "escape": "a%2f..%2f/b\\c%0a",
    "html": "<script>alert('1')</script>&amp;",
    "right-to-left": "\u202ekcalb\u202c\u200b",
    "shell": "$(reboot) `reboot`; ' \" \\",
    "long": "n" * 10_000,
    "longer": "n" * 10_001,
    "blank": " \u2028 ",
}


@pytest.fixture
def vcenter() -> Iterator[Simulator]:
    with Simulator(TOPOLOGY, password=CANARY) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, vcenter: Simulator) -> Site:
    return Site(tmp_path, vcenter)


@pytest.fixture
def operator(vcenter: Simulator) -> Iterator[Operator]:
    made = Operator(vcenter)
    yield made
    made.close()


def want(site: Site, **networks: str) -> None:
    """Networks by id, in this order; the file is whole at every moment."""
    entries = [{"id": id, "name": name, "vni": 5001 + number} for number, (id, name) in enumerate(networks.items())]
    draft = site.intent.with_suffix(".draft")
    draft.write_text(json.dumps({"networks": entries}))
    draft.replace(site.intent)


def ours(operator: Operator) -> Mapping[str, tuple[str, str]]:
    """Key and name of each network's port group, by the network's id."""
    configs = [group.config for group in operator.all(PortGroup)]
    found = {
        mark.network: (config.key, config.name) for config in configs if (mark := marks.decoded(config.description))
    }
    assert len(found) == sum(marks.decoded(config.description) is not None for config in configs)
    return found


@pytest.mark.live_long
def test_a_vcenter_that_refuses_everything_is_asked_ever_more_seldom_and_served_soon_after(
    site: Site, vcenter: Simulator
) -> None:
    count = vcenter.faults.add(Delay(0), probability=1e-9)

    def calls() -> int:
        return next(rule.matched for rule in vcenter.faults.list() if rule.id == count)

    with running(site) as log:
        assert until(20, lambda: "create port group 'red'" in log.read_text())
        time.sleep(1)
        before = calls()
        with vcenter.faults.during(Unavailable()):
            for number in range(16):  # there is always something new to do
                want(site, red="red", **{f"net{number}": f"net {number}"})
                time.sleep(0.5)
        asked = calls() - before
        with vcenter.faults.during(Unavailable(retry_after=1), probability=0.3):
            want(site, red="red", blue="blue")
            assert until(60, lambda: "create port group 'blue'" in log.read_text()), log.read_text()[-2000:]
        assert until(30, lambda: "tenant/port-groups: settled" in site.run("show").stdout)
        assert "Traceback" not in log.read_text()
    print(f"{asked} calls in 8 s")
    assert 1 <= asked <= 10


@pytest.mark.live_long
def test_a_password_that_was_wrong_for_ten_seconds_costs_no_account_and_seconds_afterwards_all_is_made(
    site: Site, vcenter: Simulator
) -> None:
    password = site.folder / "password"
    vcenter.sessions.limits(lock_after=2, lock_seconds=300)
    with running(site) as log:
        assert until(20, lambda: "create port group 'red'" in log.read_text())
        password.write_text("wrong")
        vcenter.sessions.end()
        log_ins = vcenter.faults.add(Delay(1), method="Login")
        want(site, red="red", blue="blue")
        assert until(20, lambda: "password is wrong" in site.run("show").stdout)
        time.sleep(10)
        assert vcenter.faults.struck(log_ins) == 1
        password.write_text(CANARY)
        assert until(30, lambda: "create port group 'blue'" in log.read_text()), log.read_text()[-2000:]
        assert until(20, lambda: "tenant/port-groups: settled" in site.run("show").stdout)


def test_a_daemon_that_starts_while_vcenter_is_away_stays_and_serves_within_seconds_when_it_is_back(
    site: Site, vcenter: Simulator
) -> None:
    with ExitStack() as away:
        away.enter_context(vcenter.faults.during(Unavailable()))
        with running(site) as log:
            assert until(20, lambda: "503" in site.run("show").stdout), log.read_text()[-2000:]
            time.sleep(3)
            away.close()
            assert until(30, lambda: "create port group 'red'" in log.read_text()), log.read_text()[-2000:]
            assert "Traceback" not in log.read_text()


def test_an_answer_that_nobody_expected_stops_nothing_and_tells_no_secret(site: Site, vcenter: Simulator) -> None:
    methods = ("Login", "RetrieveServiceContent", "CreatePropertyCollector", "WaitForUpdatesEx", "FetchDVPorts")
    said: list[str] = []
    with running(site) as log:
        assert until(20, lambda: "create port group 'red'" in log.read_text())
        sessions = {line.key for line in vcenter.sessions.list()}
        for method in methods:
            with vcenter.faults.during(UNEXPECTED, method=method) as rule:
                vcenter.sessions.end()
                site.intent.touch()
                said += outputs(site.command("plan"))
                assert until(20, lambda rule=rule: vcenter.faults.struck(rule) > 0), method
        assert "Traceback" in log.read_text(), "none of this was a crash, so nothing was tried"
        sessions |= {line.key for line in vcenter.sessions.list()}
        want(site, red="red", blue="blue")
        assert until(60, lambda: "create port group 'blue'" in log.read_text()), log.read_text()[-2000:]
        sessions |= {line.key for line in vcenter.sessions.list()}
    said += [
        path.read_text(errors="replace")
        for path in site.folder.rglob("*")
        if path.is_file() and path.name != "password"
    ]
    assert len(sessions) >= 2
    for secret in (CANARY, *sessions):
        assert not [text for text in said if secret in text]


def outputs(command: list[str]) -> list[str]:
    """What a command says, whatever becomes of it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1, 2)
    return [done.stdout, done.stderr]


def test_no_name_of_a_network_breaks_a_line_or_is_taken_for_an_identity(site: Site, operator: Operator) -> None:
    want(site, **HOSTILE)
    assert site.run("check", "--json").returncode == 1  # there is no Open vSwitch here, and that is all
    applied = site.run("apply")
    shown = [site.run(*words).stdout for words in (("show",), ("show", "networks"), ("plan",))]
    for line in (applied.stdout + applied.stderr + "".join(shown)).splitlines():
        assert line.isprintable(), line[:200]
    assert not [line for line in applied.stdout.splitlines() if line.startswith("create port group 'blue'")]
    first = ours(operator)
    assert first.keys() == HOSTILE.keys()
    assert all(len(name) <= 80 for _, name in first.values())
    assert len({name for _, name in first.values()}) == len(HOSTILE)
    rows = json.loads(site.run("show", "networks", "--json").stdout)["rows"]
    assert {row["id"]: row["name"] for row in rows} == HOSTILE
    # The names change hands: every port group stays the one of its network.
    names = list(HOSTILE.values())
    want(site, **dict(zip(HOSTILE, names[1:] + names[:1], strict=True)))
    site.run("apply")
    assert {id: key for id, (key, _) in ours(operator).items()} == {id: key for id, (key, _) in first.items()}
