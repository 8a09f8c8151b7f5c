"""Whether what a host's physical NIC hears is what the configuration says that it is connected to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.model.inventory import Neighbour


@dataclass(frozen=True, slots=True)
class Cabled:
    """Where a host is connected, by the configuration: the leaf's names, and those of its ports."""

    leaf: str
    systems: frozenset[str]
    ports: frozenset[str]


def agrees(cabled: Cabled, heard: Neighbour) -> bool:
    """Whether they may be the same.  A pair of switches has two names, and each of its ports one at both."""
    return _one_of(cabled.systems, heard.systems) and _one_of(cabled.ports, heard.ports)


def _one_of(names: Iterable[str], said: Iterable[str]) -> bool:
    known = {name.casefold() for name in names}
    return any(form in known for one in said for form in _forms(one.casefold()))


def _forms(said: str) -> tuple[str, ...]:
    """A switch tells its name with its domain, or with its serial number in parentheses, as CDP does."""
    bare = said.partition("(")[0]
    return said, bare, bare.partition(".")[0]
