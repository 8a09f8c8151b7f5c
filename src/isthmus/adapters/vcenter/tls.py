"""Whom we believe to be the vCenter: a CA's word, a pinned certificate, or, by explicit choice, anybody.

Law: a pinned certificate is compared on every connection, before a byte of a request is sent.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from typing import Any

from isthmus.model.faults import Refused


class PinnedConnection(HTTPSConnection):
    """HTTPS that holds the certificate against the pinned thumbprint on every connection.

    It is made within its timeout; each answer is then awaited for as long as `patience` says at that moment.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        context: ssl.SSLContext,
        timeout: float,
        pin: str | None,
        place: str,
        patience: Callable[[], float],
        **rest: Any,
    ) -> None:
        super().__init__(host, port, context=context, timeout=timeout, **rest)
        self._trust, self._made_within = context, timeout
        self._pin, self._place, self._patience = normal_thumbprint(pin) if pin else None, place, patience

    def request(self, *what: Any, **rest: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self._patience())
        super().request(*what, **rest)

    def connect(self) -> None:
        self.timeout = min(self._made_within, self._patience())
        HTTPConnection.connect(self)
        # The handshake is a step of its own, so that who waits in it can be cut off.
        sock = self._trust.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = sock
        sock.do_handshake()
        if self._pin is None:
            return
        seen = hashlib.sha256(sock.getpeercert(True) or b"").hexdigest()
        if seen != self._pin:
            self.close()
            raise Refused(
                f"{self._place}: its certificate is not the pinned one (SHA-256 {seen}, pinned {self._pin}); "
                "if the certificate was replaced on purpose, pin the new thumbprint"
            )


def normal_thumbprint(text: str) -> str:
    """A SHA-256 thumbprint without colons, in lower case.  Raises Refused if it is none."""
    digits = text.replace(":", "").replace(" ", "").lower()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise Refused(f"thumbprint {text[:100]!r} is not a SHA-256 fingerprint (64 hexadecimal digits)")
    return digits


def trust(*, ca_file: str | None, thumbprint: str | None, insecure: bool) -> ssl.SSLContext:
    """How a certificate is judged: by a CA file, by a pinned thumbprint, by the system's CAs, or not at all."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as wrong:
        raise Refused(f"ca_file {ca_file}: cannot be read as PEM certificates ({wrong})") from wrong
    if insecure or thumbprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
