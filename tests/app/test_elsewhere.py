"""An appliance that another process serves, and that dies with it: `show hosts` of any process says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isthmus.app.daemon import Daemon
from isthmus.app.settings import load
from isthmus.app.wiring import wire
from isthmus.model.faults import Retry

VCENTER = """
[vcenter.vc1]
url = "https://vc1.example/sdk"
user = "isthmus"
password_env = "SECRET"
"""
NEUTRON = '[intent.neutron]\nurl_env = "BUS"\n'
FILE = '[intent]\nfile = "intent.yaml"\n'
DEPLOYMENT = """
[deployment.cloud]
design = "ovsvapp"
dvs = "tenants"
vids = "101-199"
serve = ["esx1"]
[deployment.cloud.appliance]
trunk = "eth1"
[deployment.cloud.host.esx1]
vtep = "192.0.2.1"
ovsdb = "unix:/run/1/db.sock"
[deployment.cloud.host.esx2]
vtep = "192.0.2.2"
ovsdb = "unix:/run/2/db.sock"
[deployment.cloud.host.esx3]
vtep = "192.0.2.3"
ovsdb = "unix:/run/3/db.sock"
"""


class Neutron:
    """Answers what it is given, or nothing."""

    def __init__(self, *rows: dict[str, Any], fault: Exception | None = None) -> None:
        self.rows: Any = list(rows)
        self.fault = fault
        self.asked = 0

    def call(self, topic: str, method: str, *, seconds: float) -> Any:
        assert (method, seconds < 10) == ("heard", True), "whoever asks the daemon waits ten seconds"
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return self.rows


def shown(folder: Path, text: str, neutron: Neutron | None = None) -> dict[str, str]:
    """What `show hosts` says of the appliance of each host that is served elsewhere."""
    (folder / "isthmus.toml").write_text(VCENTER + text)
    wiring = wire(load(folder / "isthmus.toml", {"SECRET": "x", "BUS": "fake:///"}), lambda: 0.0)
    if wiring.neutron is not None:
        wiring.neutron.intent._bus = neutron  # type: ignore[assignment]
    rows = Daemon(wiring).answer({"do": "show", "what": "hosts"})["rows"]
    assert {row["connected"] for row in rows} <= {None}, "of such a host nothing else is known here"
    return {row["host"]: row["nve"].removeprefix("served elsewhere: ") for row in rows}


def row(vtep: str, at: str, *, alive: bool) -> dict[str, Any]:
    return {"vtep": vtep, "alive": alive, "at": at}


def test_an_appliance_that_is_served_elsewhere_is_shown_dead_or_alive(tmp_path: Path) -> None:
    neutron = Neutron(
        row("192.0.2.2", "2026-11-20 10:00:00", alive=False),  # the host had another name once
        row("192.0.2.3", "2026-11-21 11:00:00", alive=False),
        row("192.0.2.2", "2026-11-21 12:00:00", alive=True),
        row("192.0.2.21", "2026-11-21 12:00:00", alive=True),
    )
    assert shown(tmp_path, NEUTRON + DEPLOYMENT, neutron) == {
        "esx2": "alive",
        "esx3": "dead since 2026-11-21 11:00:00 UTC",
    }


def test_where_neutrons_own_agent_reports_the_appliance_nothing_is_said_of_isthmus_there(tmp_path: Path) -> None:
    stock = DEPLOYMENT.replace('design = "ovsvapp"', 'design = "ovsvapp-port"')
    for host in ("esx1", "esx2", "esx3"):
        stock += f'[deployment.cloud.compute."compute-{host}"]\nhost = "{host}"\n'
    rows = row("192.0.2.2", "2026-11-21 12:00:00", alive=True), row("192.0.2.3", "2026-11-21 11:00:00", alive=False)
    unknown = "of isthmus there nothing is known"
    assert shown(tmp_path, NEUTRON + stock, Neutron(*rows)) == {
        "esx2": f"its Neutron agent is alive; {unknown}",
        "esx3": f"its Neutron agent is dead since 2026-11-21 11:00:00 UTC; {unknown}",
    }


def test_one_that_was_never_reported_is_neither(tmp_path: Path) -> None:
    neutron = Neutron(row("192.0.2.2", "2026-11-21 12:00:00", alive=True))
    assert shown(tmp_path, NEUTRON + DEPLOYMENT, neutron)["esx3"] == "nobody has reported its VTEP to Neutron"


@pytest.mark.parametrize("nonsense", [None, 7, "no", [7], [{}], [{"vtep": None, "alive": True, "at": ""}]], ids=str)
def test_while_neutron_does_not_answer_nobody_is_said_to_live_or_to_be_dead(tmp_path: Path, nonsense: Any) -> None:
    away = shown(tmp_path, NEUTRON + DEPLOYMENT, Neutron(fault=Retry("Neutron did not answer")))
    assert away == dict.fromkeys(("esx2", "esx3"), "unknown: Neutron did not answer")
    other = Neutron()
    other.rows = nonsense
    said = shown(tmp_path, NEUTRON + DEPLOYMENT, other)
    assert {why.partition("(")[0] for why in said.values()} == {
        "unknown: Neutron's isthmus drivers answered something else than expected "
    }


def test_without_neutron_nothing_is_known_of_them(tmp_path: Path) -> None:
    (tmp_path / "intent.yaml").write_text("networks: []")
    assert shown(tmp_path, FILE + DEPLOYMENT) == dict.fromkeys(("esx2", "esx3"), "unknown without Neutron")


def test_a_process_that_serves_all_hosts_asks_nobody(tmp_path: Path) -> None:
    neutron = Neutron()
    assert shown(tmp_path, NEUTRON + DEPLOYMENT.replace('serve = ["esx1"]', ""), neutron) == {}
    assert neutron.asked == 0
