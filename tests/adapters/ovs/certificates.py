"""Keys and certificates for two ends that trust each other, made anew for each test."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.adapters.tls import TlsFiles


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
