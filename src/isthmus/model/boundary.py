"""The boundaries that every far side stands behind, real or in memory.

A contract suite (tests/contracts) runs on both kinds, so that they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from isthmus.model.change import Change, Result
from isthmus.model.intent import Intent
from isthmus.model.inventory import Inventory
from isthmus.model.names import HostId
from isthmus.model.observed import Mirror, TargetId

Wake = Callable[[frozenset[HostId] | None], None]
"""Called by a watch: something changed on these hosts (None: anywhere).  Watches never act."""


class Target(Protocol):
    """A far side that is written."""

    @property
    def id(self) -> TargetId:
        """Which far side this is."""
        ...

    def observe(self) -> Mirror:
        """All it holds.  Raises Retry if it cannot be read whole.  Never older than a write that `apply` confirmed."""
        ...

    def apply(self, changes: Sequence[Change]) -> Sequence[Result]:
        """Make these changes, none of which depends on another of them; one Result each, in the same order."""
        ...


@runtime_checkable
class Telling(Target, Protocol):
    """A target so large that it is worth reading only what it told to have changed."""

    @property
    def tells(self) -> bool:
        """Whether `refresh` will do now.  False after a claim, and while it is not sure that it was told everything."""
        ...

    def refresh(self, *, every_port: bool = False) -> Mirror:
        """All it holds; what it did not tell to have changed may be as old as the last `observe`.

        Never older than a write that `apply` confirmed.  `every_port`: only what is no port may be.
        """
        ...


@runtime_checkable
class Worded(Protocol):
    """A target that can say a change as its operator would type it."""

    def words(self, change: Change) -> Sequence[str]:
        """The lines, from what was last observed; asks nobody."""
        ...


class IntentSource(Protocol):
    """Where wanted networks and ports come from."""

    def read(self) -> Intent:
        """The whole intent.  Raises Retry (unreachable) or Refused (nonsense, with every error and its place)."""
        ...

    def watch(self, wake: Wake) -> None:
        """Begin to call `wake` on changes, from a thread of the adapter's, until `close`."""
        ...

    def close(self) -> None:
        """Stop watching and let go of connections."""
        ...


class InventorySource(Protocol):
    """Where hosts, switches, NICs and announced moves come from."""

    def read(self) -> Inventory:
        """The whole inventory.  Raises Retry if it cannot be had whole.  Free of I/O when a live mirror is at hand."""
        ...

    def watch(self, wake: Wake) -> None:
        """Begin to call `wake` on changes, from a thread of the adapter's, until `close`."""
        ...

    def close(self) -> None:
        """Stop watching and let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds a leader lock; if it is we, for how many seconds from the moment at which it was asked."""

    holder: str
    seconds: float | None = None


class LeaderLock(Protocol):
    """A lock that one process of several holds, and that is free some time after that process falls silent."""

    def hold(self) -> Held:
        """Take it if it is free; if it is ours, keep it.  Raises Retry if nobody can tell."""
        ...

    def holder(self) -> str:
        """Who holds it now; empty: nobody.  It is not taken.  Raises Retry if nobody can tell."""
        ...

    def close(self) -> None:
        """Give it up at once."""
        ...
