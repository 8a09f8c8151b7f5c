"""What the api-server answers instead of doing it: a status and a plain text."""

from __future__ import annotations


class Refused(Exception):
    """The status that the real server gives, right or wrong: some errors of a client are a 500 there."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What the real server trips over in a malformed request, which it then answers with 500."""
