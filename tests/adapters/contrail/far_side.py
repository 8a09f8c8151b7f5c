"""An HTTP server that sends exactly the bytes a test gives it, segment by segment."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Reply = Callable[[bytes], Iterable[bytes]]


def ok(body: bytes = b"{}", status: str = "200 OK", *fields: str) -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class FarSide:
    """`reply` gives the segments of the answer to a request; when it raises Hangup, the connection is closed."""

    def __init__(self, reply: Reply = lambda _: [ok()], tls: ssl.SSLContext | None = None) -> None:
        self.reply, self.tls = reply, tls
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> FarSide:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        # Each thread closes its own: what it still read from a number that was closed would be another's.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listening.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(line)
            self.connections += 1
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            if self.tls is not None:
                line = self.tls.wrap_socket(line, server_side=True)
                self._open.append(line)
            while request := _request(line):
                self.requests.append(request)
                for segment in self.reply(request):
                    line.sendall(segment)
        except (OSError, Hangup):
            pass
        line.close()


class Hangup(Exception):
    """The far side closes the connection."""


def _request(line: socket.socket) -> bytes:
    held = b""
    while b"\r\n\r\n" not in held:
        piece = line.recv(65536)
        if not piece:
            return b""
        held += piece
    head, _, body = held.partition(b"\r\n\r\n")
    wanted = next((int(f.split(b":")[1]) for f in head.split(b"\r\n") if f.lower().startswith(b"content-length")), 0)
    while len(body) < wanted:
        body += line.recv(65536)
    return head + b"\r\n\r\n" + body


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server at 127.0.0.1, and the file of the CA that signed it (itself)."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "far side")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, ca = folder / "server.pem", folder / "ca.pem"
    pem = made.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form) + pem)
    ca.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, str(ca)
