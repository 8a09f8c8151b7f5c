"""How we and an Open vSwitch, or a switch that speaks as one, come to trust each other by TLS.

Law: both ends hold certificates of one CA.  They carry no host names, so the CA alone says whom to trust.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from isthmus.model.faults import Refused


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files that make a connection trusted on both ends."""

    key: str
    certificate: str
    ca: str


def trust(tls: TlsFiles, *, serves: bool = False) -> ssl.SSLContext:
    """Who has a certificate of the CA, as we have; `serves` where the other end dials.  Raises Refused without it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(tls.ca)
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise Refused(f"{tls.ca}, {tls.certificate} or {tls.key} cannot be used: {why}") from fault
    return context
