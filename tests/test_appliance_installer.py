"""What the installer of an appliance says of a wrong command line, and the example it writes.

What it does is shown in tests/live/test_appliance_install.py.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from pathlib import Path
from types import MappingProxyType

import pytest

from isthmus.app import settings

FOLDER = Path(__file__).parents[1] / "packaging/appliance"
NICS = ["--underlay", "eth1", "--vtep", "192.0.2.11/24", "--trunk", "eth2"]
GOOD = [*NICS, "--package", "isthmus==1.0"]
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin"
UUID = "42112233-4455-6677-8899-aabbccddeeff"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "--underlay NIC is missing"),
        (["--underlay", "eth1", "--trunk", "eth2"], "--vtep ADDRESS/LENGTH is missing"),
        (["--underlay", "eth1", "--vtep", "192.0.2.11/24"], "--trunk NIC is missing"),
        (["--underlay"], "--underlay needs a value"),
        (NICS, "--package WHAT is missing: the wheel of isthmus, say; it has no default, since isthmus is not on PyPI"),
        ([*NICS, "--package", "isthmus-1.0.whl"], "--package isthmus-1.0.whl: there is no such file or folder here"),
        ([*NICS, "--package", "another==1.0"], "--package another==1.0: there is no such file or folder here"),
        ([*GOOD, "--trunk", "eth1"], "underlay and trunk are two NICs, not both eth1"),
        ([*GOOD, "--vtep", "192.0.2.11"], "--vtep 192.0.2.11: must be like 192.0.2.11/24"),
        ([*GOOD, "--vtep", "192.0.2.11/33"], "--vtep 192.0.2.11/33: must be like"),
        ([*GOOD, "--vtep", "999.0.2.11/24"], "--vtep 999.0.2.11/24: must be like"),
        ([*GOOD, "--route", "192.0.2.0/24"], "--route 192.0.2.0/24: must be like"),
        ([*GOOD, "--route", "192.0.2.0/99=192.0.2.1"], "--route 192.0.2.0/99=192.0.2.1: must be like"),
        ([*GOOD, "--route", "192.0.2.0/24=192.0.2.256"], "--route 192.0.2.0/24=192.0.2.256: must be like"),
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


@pytest.mark.parametrize(("source", "words"), [("FILE", ()), ("NEUTRON", ("--neutron",))])
def test_the_example_that_it_writes_is_read_without_a_complaint(
    source: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'bios_uuids() {{ echo {UUID}; }}\nhere={FOLDER}\ntemplate "$source"'
    (tmp_path / "isthmus.toml").write_text(said(tmp_path, script, *GOOD, *words))
    (tmp_path / "vcenter.password").write_text("x")
    (tmp_path / "neutron.url").write_text("rabbit://guest:guest@192.0.2.10:5672/")
    (tmp_path / "vcenter.password").chmod(0o600)
    (tmp_path / "neutron.url").chmod(0o600)
    monkeypatch.setattr(settings, "bios_uuids", lambda: frozenset({UUID}))
    config = settings.load(tmp_path / "isthmus.toml", {}).config
    deployment = config.deployment["tenant"]
    assert [deployment.vtep_of(host) for host in deployment.served] == ["192.0.2.11"]
    assert (config.intent.neutron is not None) == (source == "NEUTRON")


@pytest.mark.parametrize(
    ("package", "told"),
    [
        ("isthmus==1.0", "isthmus[neutron]==1.0"),
        ("isthmus[ovs] >=1,<2", "isthmus[neutron] >=1,<2"),
        ("isthmus @ https://packages.example.org/isthmus.whl", "isthmus[neutron]@ https://packages.example.org/isthmus.whl"),
        (str(FOLDER), f"{FOLDER}[neutron]"),
    ],
)  # fmt: skip
def test_pip_is_told_what_is_to_be_installed_with_the_libraries_of_its_design(
    package: str, told: str, tmp_path: Path
) -> None:
    words = [*NICS, "--neutron", "--package", package]
    assert said(tmp_path, "check_arguments\nwith_extra", *words) == told


def test_a_folder_by_its_name_alone_is_no_requirement_that_pip_would_ask_an_index_for(tmp_path: Path) -> None:
    (tmp_path / "isthmus").mkdir()
    words = [*NICS, "--package", "isthmus"]
    assert said(tmp_path, "check_arguments\nwith_extra", *words) == f"{tmp_path}/isthmus[ovs]"


def test_another_file_in_a_folder_is_another_isthmus(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "src").mkdir(parents=True)
    (package / "src/a.py").write_text("1\n")
    seen = [said(tmp_path, 'contents "$package"', "--package", str(package)) for _ in range(2)]
    (package / "src/a.py").rename(package / "src/b.py")
    seen.append(said(tmp_path, 'contents "$package"', "--package", str(package)))
    assert seen[0] == seen[1] != seen[2]


def test_an_environment_whose_python_an_upgrade_of_debian_has_taken_is_made_anew(tmp_path: Path) -> None:
    home = tmp_path / "home"
    venv.create(home, with_pip=True, symlinks=True)
    mend = f"home={home}\ndrop_stale_home"
    assert said(tmp_path, mend) == ""
    assert home.exists()
    (home / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}").rename(home / "lib/python3.0")
    assert "its Python is gone" in said(tmp_path, mend)
    assert not home.exists()
    assert said(tmp_path, mend) == ""


def said(folder: Path, script: str, *words: str, env: Mapping[str, str] = MappingProxyType({})) -> str:
    """What the functions of the installer say, without the installation."""
    functions, end, _ = (FOLDER / "install").read_text().rpartition('\nif [ -n "$remove" ]')
    assert end
    (folder / "functions").write_text(f"{functions}\n{script}\n")
    command = ["sh", str(folder / "functions"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env={**os.environ, **env})
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def ovsdb(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """A database of Open vSwitch without ovs-vswitchd; what points ovs-vsctl to it."""
    server, tool = shutil.which("ovsdb-server", path=SBIN), shutil.which("ovsdb-tool", path=SBIN)
    if server is None or tool is None or not SCHEMA.exists():
        pytest.skip("openvswitch-switch is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ovs", dir="/tmp"))  # the path of a socket must be short
    subprocess.run([tool, "create", folder / "conf.db", SCHEMA], check=True)
    quiet = [f"--unixctl={folder}/ctl", "--log-file=/dev/null", "-vconsole:off"]
    process = subprocess.Popen([server, folder / "conf.db", f"--remote=punix:{folder}/db.sock", *quiet])
    env = {"OVS_RUNDIR": str(folder)}
    try:
        deadline = time.monotonic() + 10
        while not (folder / "db.sock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        vsctl(env, "init")
        yield env
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def vsctl(env: Mapping[str, str], *words: str) -> str:
    command = ["ovs-vsctl", "--no-wait", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **env}).stdout


def test_purged_open_vswitch_has_nothing_of_isthmus_left_and_all_of_the_others_even_while_it_is_down(
    ovsdb: Mapping[str, str], tmp_path: Path
) -> None:
    mark = "external_ids:isthmus-owner=o"
    vsctl(ovsdb, "add-br", "br-vds", "--", "set", "bridge", "br-vds", mark)
    vsctl(ovsdb, "add-port", "br-vds", "isv-1", "--", "set", "interface", "isv-1", mark)
    vsctl(ovsdb, "add-br", "br-int", "--", "add-port", "br-int", "isi-1", "--", "set", "interface", "isi-1", mark)
    vsctl(ovsdb, "add-port", "br-int", "tap1", "--", "add-port", "br-int", "isi-2")
    started = time.monotonic()
    told = said(tmp_path, "remove_bridges", env=ovsdb)
    assert time.monotonic() - started < 20
    assert "is ovs-vswitchd down?" in told
    assert vsctl(ovsdb, "list-br").split() == ["br-int"]
    assert vsctl(ovsdb, "list-ports", "br-int").split() == ["isi-2", "tap1"]
    assert said(tmp_path, "remove_bridges", env=ovsdb) == ""


def test_an_open_vswitch_that_does_not_answer_is_waited_for_once_and_what_is_left_there_is_said(tmp_path: Path) -> None:
    if shutil.which("ovs-vsctl") is None:
        pytest.skip("openvswitch-switch is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ovs", dir="/tmp"))  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(str(folder / "db.sock"))
            deaf.listen()
            started = time.monotonic()
            told = said(tmp_path, "patience=2; remove_bridges", env={"OVS_RUNDIR": str(folder)})
        assert time.monotonic() - started < 3.5
        assert told == "-- Open vSwitch does not answer: what isthmus made there is left\n"
    finally:
        shutil.rmtree(folder)


def test_plugs_are_taken_out_when_open_vswitch_is_there_and_before_anybody_switches_with_them() -> None:
    unit = ConfigParser(interpolation=None)
    unit.read(FOLDER.parent / "systemd/isthmus-unplug.service")
    assert unit["Unit"]["After"].split() == ["openvswitch-switch.service"]
    assert set(unit["Unit"]["Before"].split()) == {"neutron-openvswitch-agent.service", "isthmus.service"}
    assert unit["Service"]["Type"] == "oneshot", "who comes after it waits for its end"
