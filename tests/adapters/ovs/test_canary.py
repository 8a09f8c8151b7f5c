"""A connection that only listens knows when its ovs-vswitchd has ended, and is not taken for dead itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.adapters.ovs.canary import Canary
from isthmus.adapters.tls import TlsFiles
from isthmus.model.faults import Refused
from tests.adapters.ovs.appliance import eventually
from tests.adapters.ovs.certificates import certificates

HELLO = bytes([4, 0, 0, 8, 0, 0, 0, 0])
ECHO_REQUEST = struct.pack("!BBHI", 4, 2, 12, 77) + b"ping"
ECHO_REPLY = struct.pack("!BBHI", 4, 3, 12, 77) + b"ping"
PORT_STATUS = struct.pack("!BBHI", 4, 12, 80, 0) + bytes(72)


class Switch:
    """The other end of the wire, in the hands of a test."""

    def __init__(self, tls: TlsFiles) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(tls.certificate, tls.key)
        self.context.load_verify_locations(tls.ca)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.wires: list[ssl.SSLSocket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def target(self) -> str:
        return f"ssl:127.0.0.1:{self.listening.getsockname()[1]}"

    def heard(self, length: int) -> bytes:
        wire = self.wires[-1]
        wire.settimeout(5)
        data = b""
        while len(data) < length:
            data += wire.recv(length - len(data))
        return data

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self.listening.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                self.wires.append(self.context.wrap_socket(wire, server_side=True))
                self.wires[-1].sendall(HELLO)

    def end(self) -> None:
        self.listening.close()
        for wire in self.wires:
            wire.close()


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    return certificates(tmp_path)


@pytest.fixture
def switch(tls: TlsFiles) -> Iterator[Switch]:
    made = Switch(tls)
    yield made
    made.end()


@pytest.fixture
def canary(switch: Switch, tls: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    monkeypatch.setattr("isthmus.adapters.ovs.canary._PATIENCE", 20.0)  # for a busy machine
    made = Canary(switch.target, tls)
    yield made
    made.close()


def test_it_is_the_same_life_until_the_connection_ends(switch: Switch, canary: Canary) -> None:
    first = canary.life()
    assert first is not None
    assert switch.heard(8) == HELLO
    switch.wires[-1].sendall(PORT_STATUS)
    assert [canary.life() for _ in range(3)] == [first] * 3
    switch.wires[-1].close()
    eventually(lambda: canary.life() not in (None, first))


def test_it_says_that_it_lives_when_asked_however_the_question_is_cut(switch: Switch, canary: Canary) -> None:
    first = canary.life()
    assert switch.heard(8) == HELLO
    answered = threading.Event()

    def hear() -> None:
        if switch.heard(12) == ECHO_REPLY:
            answered.set()

    hearing = threading.Thread(target=hear)
    hearing.start()
    for part in (PORT_STATUS + ECHO_REQUEST[:5], ECHO_REQUEST[5:10], ECHO_REQUEST[10:]):
        switch.wires[-1].sendall(part)
        assert canary.life() == first
    eventually(lambda: canary.life() == first and answered.is_set())
    hearing.join()


def test_where_nobody_answers_there_is_no_life(tls: TlsFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert Canary(f"ssl:127.0.0.1:{port}", tls).life() is None


def test_without_trust_on_both_ends_there_is_no_life(switch: Switch, tls: TlsFiles, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = certificates(tmp_path / "other")
    assert Canary(switch.target, other).life() is None
    assert Canary(switch.target, TlsFiles(other.key, other.certificate, tls.ca)).life() is None


def test_certificates_that_are_not_there_are_named() -> None:
    with pytest.raises(Refused, match=r"/nowhere/ca\.pem"):
        Canary("ssl:127.0.0.1:1", TlsFiles("/nowhere/key.pem", "/nowhere/certificate.pem", "/nowhere/ca.pem"))
