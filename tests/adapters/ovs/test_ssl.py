"""An appliance reached over the network: OVSDB and OpenFlow by ssl:, each end trusting the other's CA."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.adapters.ovs.settings import OvsSettings, TlsFiles
from isthmus.adapters.ovs.target import OvsTarget
from isthmus.adapters.ovs.watch import Watch
from isthmus.model.change import BuildNve, Learn
from isthmus.model.faults import Refused, Retry
from isthmus.model.flow import Bridge, Flow, FlowPort, Goto, Match
from lab.netns import namespace
from tests.adapters.ovs.appliance import HOST, TestAppliance, appliance, apply, done, eventually, held

pytestmark = pytest.mark.live

FLOW = Flow(Bridge.TUN, 0, 90, Match(in_port=FlowPort.PATCH), (Goto(2),))


def certificates(folder: Path) -> TlsFiles:
    """A key with a certificate that is its own CA: enough for two ends that hold the same files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "appliance")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(*(str(folder / f"{name}.pem") for name in ("key", "certificate", "ca")))
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    Path(files.certificate).write_bytes(pem)
    Path(files.ca).write_bytes(pem)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    Path(files.key).write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return files


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[TestAppliance, OvsSettings]]:
    tls = certificates(tmp_path)
    with appliance() as made:
        rundir = made.ovs.rundir
        made.end(next(process for process in made.processes.alive() if "ovsdb-server" in process.what))
        (rundir / "db.sock").unlink()
        command = [
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
        for bridge in Bridge:  # ovs-vswitchd asks after so many ms of silence, and hangs up after as many more
            made.ovs.vsctl("set", "controller", bridge.value, "inactivity_probe=1000")
        assert not woken.wait(4), "it was told each time that somebody is there"
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


def test_certificates_that_are_not_there_are_named(remote: tuple[TestAppliance, OvsSettings]) -> None:
    _, settings = remote
    lost = replace(settings, tls=TlsFiles("/nowhere/key.pem", "/nowhere/certificate.pem", "/nowhere/ca.pem"))
    with pytest.raises(Refused, match=r"/nowhere/ca\.pem"):
        OvsTarget(HOST, lost).watch(lambda hosts: None)
