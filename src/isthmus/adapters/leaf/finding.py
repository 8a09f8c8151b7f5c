"""What an operator should know of a leaf, whatever it is spoken to with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeafFinding:
    """One thing that an operator should know; a problem is in the way of what is configured."""

    what: str
    remedy: str = ""
    is_problem: bool = False
