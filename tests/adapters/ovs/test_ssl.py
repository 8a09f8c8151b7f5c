"""An appliance reached over the network: OVSDB and OpenFlow by ssl:, each end trusting the other's CA."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.adapters.ovs.target import OvsTarget
from isthmus.adapters.ovs.watch import Watch
from isthmus.model.change import BuildNve, Learn
from isthmus.model.faults import Retry
from isthmus.model.flow import Bridge, Flow, FlowPort, Goto, Match
from lab.netns import namespace
from tests.adapters.ovs.appliance import HOST, TestAppliance, appliance, apply, done, eventually, held
from tests.adapters.ovs.certificates import certificates

pytestmark = pytest.mark.live

FLOW = Flow(Bridge.TUN, 0, 90, Match(in_port=FlowPort.PATCH), (Goto(2),))


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[TestAppliance, OvsSettings]]:
    tls = certificates(tmp_path)
    with appliance() as made:
        rundir = made.ovs.rundir
        made.end(next(process for process in made.processes.alive() if "ovsdb-server" in process.what))
        (rundir / "db.sock").unlink()
        command: list[str | Path] = [
            *namespace.inside(made.ovs.namespace), "ovsdb-server", rundir / "conf.db",
            f"--remote=punix:{rundir}/db.sock", "--remote=pssl:6640:127.0.0.1", f"--unixctl={rundir}/ovsdb-server.ctl",
            f"--private-key={tls.key}", f"--certificate={tls.certificate}", f"--ca-cert={tls.ca}",
        ]  # fmt: skip
        made.processes.start("ovsdb-server with ssl", command, rundir / "ovs.log", {"OVS_RUNDIR": str(rundir)})
        eventually(lambda: (rundir / "db.sock").exists())
        made.ovs.vsctl("set-ssl", tls.key, tls.certificate, tls.ca)
        targets = {Bridge.INT: "ssl:127.0.0.1:6653", Bridge.TUN: "ssl:127.0.0.1:6654"}
        yield made, replace(made.settings(), ovsdb="ssl:127.0.0.1:6640", openflow=targets, tls=tls)


def test_a_remote_appliance_is_built_taught_and_watched(remote: tuple[TestAppliance, OvsSettings]) -> None:
    made, settings = remote

    def scenario() -> None:
        target, woken = OvsTarget(HOST, settings), threading.Event()
        done(target, BuildNve())
        eventually(lambda: not apply(target, Learn((FLOW,)))[0].detail)
        assert held(target) == {FLOW}
        watch = Watch(settings, woken.set, interval=0.1)
        watch.start()
        assert not woken.wait(0.5), "nothing happened"
        made.restart_vswitchd()
        assert woken.wait(5)
        eventually(lambda: readable(target))
        assert held(target) == set()
        watch.close()
        target.close()

    namespace.within(made.ovs.namespace, scenario)  # threads and processes begun there stay there


def readable(target: OvsTarget) -> bool:
    try:
        return target.observe().ready
    except Retry:
        return False
