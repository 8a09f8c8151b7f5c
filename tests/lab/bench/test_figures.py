"""The table and the file of figures: each figure in both, and a missed one shown as missed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bench.dvports import exponent
from lab.bench.extract import PORT, texts
from lab.bench.figures import Figure, show
from lab.bench.inventories import Size
from lab.bench.meter import Meter

MET = Figure("calls", 6, "", 6, "a raw client: 2")
MISSED = Figure("wall", 1.6, "x", 1.5, "a raw client: 1 s")
TOLD = Figure("idle", 100, "%", None, "a minute")


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[dict[str, object]]]:
    file = tmp_path / "build" / "bench.json"
    show([MET, MISSED, TOLD], file)
    return capsys.readouterr().out.splitlines(), json.loads(file.read_text())


def test_each_figure_has_a_line_and_only_a_missed_one_says_so(
    shown: tuple[list[str], list[dict[str, object]]],
) -> None:
    _, *lines, end = shown[0]
    assert [line.split()[0] for line in lines] == ["calls", "wall", "idle"]
    assert [line.endswith("MISSED") for line in lines] == [False, True, False]
    assert all(figure.against in line for figure, line in zip((MET, MISSED, TOLD), lines, strict=True))
    assert "3 figures, 1 of them missed" in end


def test_the_file_says_what_the_table_says(shown: tuple[list[str], list[dict[str, object]]]) -> None:
    assert [entry["met"] for entry in shown[1]] == [True, False, True]
    assert all(entry.keys() == {"name", "value", "unit", "target", "met", "against"} for entry in shown[1])
    assert [entry["target"] for entry in shown[1]] == [6, 1.5, None]


def test_a_run_that_breaks_off_leaves_what_it_measured_and_nothing_of_the_run_before(tmp_path: Path) -> None:
    file = tmp_path / "build" / "bench.json"

    def broken() -> Iterator[Figure]:
        yield MET
        raise RuntimeError("the simulator died")

    show([MISSED, TOLD], file)
    with pytest.raises(RuntimeError):
        show(broken(), file)
    assert [entry["name"] for entry in json.loads(file.read_text())] == ["calls"]
    with pytest.raises(ValueError, match="JSON"):
        show([Figure("lost", float("nan"), "", None, "")], file)


def test_twice_the_work_for_twice_the_size_is_an_exponent_of_one() -> None:
    assert exponent([1000, 5000, 20_000], [1.0, 5.0, 20.0]) == pytest.approx(1.0)
    assert exponent([1000, 5000, 20_000], [1.0, 25.0, 400.0]) == pytest.approx(2.0)


def test_members_of_a_network_are_on_as_many_hosts_as_there_are() -> None:
    for size in (Size(1000, 4), Size(5000, 16), Size(20_000, 64)):
        hosts: dict[str, set[int]] = {}
        for port in range(size.ports):
            hosts.setdefault(size.network(port), set()).add(size.host(port))
        assert {len(found) for found in hosts.values()} == {min(10, size.hosts)}


def test_a_wait_that_may_last_is_a_long_poll_and_any_other_request_a_call() -> None:
    meter = Meter()
    for method, arguments in (
        ("FetchDVPorts", ""),
        ("ReconfigureDVPort_Task", ""),
        ("WaitForUpdatesEx", "<options><maxWaitSeconds>60</maxWaitSeconds></options>"),
        ("WaitForUpdatesEx", "<options><maxWaitSeconds>0</maxWaitSeconds></options>"),
    ):
        meter.asked(f'<e:Body>\n<{method} xmlns="urn:vim25">{arguments}</{method}></e:Body>'.encode())
    told = meter.told()
    assert (sum(told["calls"].values()), told["long_polls"], told["vcenter_writes"]) == (3, 1, 1)


def test_the_floor_reads_what_a_port_wears_and_nothing_of_its_other_policies() -> None:
    answer = b"""<r><returnval><key>7</key><config><configVersion>3</configVersion><setting>
        <blocked><inherited>false</inherited><value>false</value></blocked>
        <vlan><inherited>false</inherited><vlanId>12</vlanId></vlan>
        <lacpPolicy><enable><inherited>true</inherited></enable></lacpPolicy>
        </setting></config></returnval></r>"""
    [_, port] = texts([answer[:90], answer[90:]], PORT, "returnval")
    assert port == [
        ("key", "7"), ("configVersion", "3"), ("inherited", "false"), ("value", "false"), ("inherited", "false"),
        ("vlanId", "12"),
    ]  # fmt: skip
