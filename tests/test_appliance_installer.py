"""What the installer of an appliance says of a wrong command line, and the example it writes.

What it does is shown in tests/live/test_appliance_install.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from isthmus.app import settings

FOLDER = Path(__file__).parents[1] / "packaging/appliance"
GOOD = ["--underlay", "eth1", "--vtep", "192.0.2.11/24", "--trunk", "eth2"]
UUID = "42112233-4455-6677-8899-aabbccddeeff"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "--underlay NIC is missing"),
        (["--underlay", "eth1", "--trunk", "eth2"], "--vtep ADDRESS/LENGTH is missing"),
        (["--underlay", "eth1", "--vtep", "192.0.2.11/24"], "--trunk NIC is missing"),
        (["--underlay"], "--underlay needs a value"),
        ([*GOOD, "--trunk", "eth1"], "underlay and trunk are two NICs, not both eth1"),
        ([*GOOD, "--vtep", "192.0.2.11"], "--vtep 192.0.2.11: must be like 192.0.2.11/24"),
        ([*GOOD, "--vtep", "192.0.2.11/33"], "--vtep 192.0.2.11/33: must be like"),
        ([*GOOD, "--route", "192.0.2.0/24"], "--route 192.0.2.0/24: must be like"),
        ([*GOOD, "--mtu", "big"], "--mtu big: must be a number from 1280 to 9000"),
        ([*GOOD, "--mtu", "9001"], "--mtu 9001: must be a number from 1280 to 9000"),
        ([*GOOD, "--purge"], "--purge goes with --remove"),
        ([*GOOD, "--quickly"], "there is no option '--quickly'"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(words: list[str], why: str) -> None:
    done = subprocess.run([FOLDER / "install", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"install: {why}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_example_that_it_writes_is_read_without_a_complaint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (FOLDER / "isthmus.toml").read_text()
    for name, value in {"VTEP": "192.0.2.11", "TRUNK": "eth2", "UUIDS": UUID, "UUID": UUID}.items():
        text = text.replace(f"@{name}@", value)
    (tmp_path / "isthmus.toml").write_text(text)
    (tmp_path / "vcenter.password").write_text("x")
    monkeypatch.setattr(settings, "bios_uuids", lambda: frozenset({UUID}))
    deployment = settings.load(tmp_path / "isthmus.toml", {}).config.deployment["tenant"]
    assert [deployment.vtep_of(host) for host in deployment.served] == ["192.0.2.11"]
