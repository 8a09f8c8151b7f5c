"""The program against a vCenter that turns on it: nothing secret is said, nothing is believed without a certificate."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.vcenter import Simulator
from tests.app.test_with_vcenter import CANARY, TOPOLOGY, Site, until

pytestmark = pytest.mark.sim
WRONG = "wr0ng-canary"
EVERY_COMMAND = (
    ("check",),
    ("plan",),
    ("apply",),
    ("show",),
    ("show", "hosts"),
    ("show", "ports"),
    ("explain", "nobody"),
    ("pause", "tenant/port-groups"),
    ("resume", "tenant/port-groups"),
    ("release", "tenant/esx1.lab"),
    ("version",),
)


@pytest.fixture
def vcenter() -> Iterator[Simulator]:
    with Simulator(TOPOLOGY, password=CANARY) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, vcenter: Simulator) -> Site:
    return Site(tmp_path, vcenter)


@contextmanager
def running(site: Site) -> Iterator[Path]:
    """The daemon, at its most talkative; gives its log."""
    config = site.write()
    config.write_text(config.read_text() + '[log]\nlevel = "debug"\n')
    log = site.folder / "log"
    with log.open("a") as output:
        daemon = subprocess.Popen([*site.command("run")[:3], "run", "--config", str(kept(config))], stderr=output)
    try:
        yield log
    finally:
        daemon.terminate()
        daemon.wait(10)


def kept(config: Path) -> Path:
    """A copy that the next command does not write anew."""
    return Path(shutil.copy(config, config.with_name("daemon.toml")))


def test_no_password_and_no_session_is_in_any_output_log_or_file(site: Site, vcenter: Simulator) -> None:
    said = []
    sessions: set[str] = set()

    def everything(*form: str) -> None:
        for words in EVERY_COMMAND:
            done = subprocess.run(site.command(*words, *form), capture_output=True, text=True, timeout=60, check=False)
            said.append(done.stdout + done.stderr)
        sessions.update(line.key for line in vcenter.sessions.list())

    with running(site) as log:
        assert until(20, lambda: "create port group" in log.read_text())
        everything("--json")
        (site.folder / "password").write_text(WRONG)
        vcenter.sessions.end()
        site.intent.write_text("networks: [{name: red, vni: 5001}, {name: blue, vni: 5002}]")
        assert until(20, lambda: "password is wrong" in log.read_text()), log.read_text()[-2000:]
        everything()
    (site.folder / "password").write_text(WRONG)
    everything()  # without a daemon
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.name != "password"]
    said += [path.read_text(errors="replace") for path in files]
    assert len(sessions) >= 2  # those of the daemon
    assert {path.name for path in files} >= {"log", "status.json"}
    for secret in (CANARY, WRONG, *sessions):
        assert not [text for text in said if secret in text]


def test_a_vcenter_with_another_certificate_is_not_believed_until_it_is_pinned_anew(
    site: Site, vcenter: Simulator
) -> None:
    del site.vcenter["ca_file"]
    site.vcenter["thumbprint"] = vcenter.thumbprint
    with running(site) as log:
        assert until(20, lambda: "create port group 'red'" in log.read_text())
        vcenter.start_anew(new_certificate=True)
        site.intent.write_text("networks: [{name: red, vni: 5001}, {name: blue, vni: 5002}]")
        assert until(30, lambda: "not the pinned one" in log.read_text()), log.read_text()[-2000:]
        assert "pin the new thumbprint" in log.read_text()
        done = site.run("plan")
        assert done.returncode == 1
        assert "pin the new thumbprint" in done.stderr
        assert "create port group 'blue'" not in log.read_text()
    site.vcenter["thumbprint"] = vcenter.thumbprint
    with running(site) as log:
        assert until(20, lambda: "create port group 'blue'" in log.read_text())
