"""The server on its port: segments, TLS, many at a time."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.contrail.api_server import ApiServer
from lab.contrail.client import Client


def test_header_and_body_leave_one_after_the_other_and_the_body_waits_for_an_acknowledgement(server: ApiServer) -> None:
    """Nagle at the server and a delayed acknowledgement at the client: some 40 ms for each request that was kept."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        first: list[bytes] = []
        for _ in range(12):
            line.sendall(b"GET /virtual-machines HTTP/1.1\r\nHost: lab\r\n\r\n")
            first.append(line.recv(65536))
            said = first[-1]
            while b"virtual-machines" not in said:
                said += line.recv(65536)
    assert any(said.endswith(b"\r\n\r\n") for said in first)


def test_many_at_a_time_get_an_address_each(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda at: client.address(f"ip{at}"), range(40)))
    assert {status for status, _ in answers} == {200}
    listed = client.get("/instance-ips?fields=instance_ip_address")["instance-ips"]
    assert len({each["instance_ip_address"] for each in listed}) == 40


def test_it_speaks_tls_and_its_links_say_so(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ApiServer(tls=context) as server:
        trusting = ssl.create_default_context(cafile=str(certificate))
        with urlopen(f"{server.url}/", context=trusting, timeout=20) as answer:
            assert f'"href": "https://127.0.0.1:{server.port}"'.encode() in answer.read()
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            urlopen(f"{server.url}/", timeout=20)


def self_signed(directory: Path) -> Path:
    """A file with key and certificate for the loopback's address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem)
    path = directory / "server.pem"
    path.write_bytes(text)
    return path
