"""The two expected faults, one of them in two strengths.

Anything else that rises is a bug, caught in exactly one place (app/loop.py).
"""

from __future__ import annotations


class Retry(Exception):
    """The far side could not do it now: back off and try again.  Raised with what failed and the ids concerned."""


class Unreachable(Retry):
    """The far side as a whole does not answer, or takes nothing now: to try anything else there would be in vain."""


class Refused(Exception):
    """It cannot be done until the input changes: exhausted, conflicting, foreign.  Shown, not retried."""
