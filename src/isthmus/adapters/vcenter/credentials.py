"""The password of one vCenter's user, and whether vCenter refused it.

Law: a password that was refused is not sent again for half an hour; vCenter locks an account after a few in a row.
Who was let in before may be locked out by others, or be rotating it: then the first wait is some minutes.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from pyVmomi import vim

from isthmus.adapters.vcenter.faults import said
from isthmus.model.faults import Refused

SOON = 360.0  # seconds
AGAIN = 1800.0  # seconds; vSphere's default: 5 within 3 minutes lock an account for 5 minutes


@dataclass(frozen=True, slots=True)
class _Refusal:
    digest: bytes
    text: str
    until: float


class Credentials:
    """What all sessions of one login share.  `password` is asked each time, so it may be rotated."""

    def __init__(self, place: str, user: str, password: Callable[[], str], clock: Callable[[], float]) -> None:
        self._place, self._user, self._password, self._clock = place, user, password, clock
        self._key = secrets.token_bytes(32)  # of digests: no clear text is kept
        self._trying = threading.Lock()
        self._refusal: _Refusal | None = None
        self._let_in = False  # vCenter accepted a password of ours, and refused none since

    def check(self) -> None:
        """Raises Refused if the password is still the one that vCenter refused."""
        self._not_refused(self._password())

    def present(self, log_in: Callable[[str, str], object]) -> None:
        """Log in with user and password.  Raises Refused if vCenter refuses them, or did and nothing changed."""
        with self._trying:  # who waits here learns what the other was told
            password = self._not_refused(self._password())
            try:
                log_in(self._user, password)
            except vim.fault.InvalidLogin as fault:
                self._refusal = self._refused(password, said(fault))
                raise Refused(self._refusal.text) from fault
            self._refusal, self._let_in = None, True

    def _not_refused(self, password: str) -> str:
        refusal = self._refusal
        if refusal is not None and refusal.digest == self._digest(password) and self._clock() < refusal.until:
            raise Refused(refusal.text)
        return password

    def _refused(self, password: str, why: str) -> _Refusal:
        last, digest = self._refusal, self._digest(password)
        wait, self._let_in = SOON if self._let_in else AGAIN, False
        text = (
            f"{self._place}: {why} (refused since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC; tried at once when the "
            "password changes or isthmus restarts, else in some minutes if it was right before, and then each half an "
            "hour, so that the account is not locked)"
        )
        if last is not None and last.digest == digest:
            text = last.text
        # One process per host: they do not all come back at once.
        return _Refusal(digest, text, self._clock() + wait * random.uniform(1.0, 1.5))

    def _digest(self, password: str) -> bytes:
        return blake2b(password.encode(), key=self._key).digest()
