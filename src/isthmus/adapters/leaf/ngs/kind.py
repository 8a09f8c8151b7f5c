"""How a device type is spoken to and read, beside the words that networking-generic-switch has for it.

Law: an answer that is not understood whole is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.adapters.leaf.ngs.held import Held
from isthmus.model.faults import Retry


@dataclass(frozen=True, slots=True)
class Kind:
    """One device type."""

    reads: tuple[str, ...]
    """The commands that show all there is: the library has no call that reads it."""
    understood: Callable[[Sequence[str]], Held]
    """What becomes of their answers.  Raises Retry for what is no answer."""
    saves: tuple[str, ...]
    """What is to be said, beside the library's own, for all to be kept over a restart."""
    modes: tuple[str, str] | None = None
    """What a step begins and ends with, where a word means what the one before it makes it mean.

    Such a step is broken off where the switch first complains: what follows would be said of something else.
    """


def nonsense(said: str) -> Retry:
    """It is not what was asked for."""
    return Retry(f"the switch does not tell what it holds; it says {said.strip()[:200]!r}")
