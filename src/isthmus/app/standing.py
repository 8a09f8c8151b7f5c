"""What an operator told the daemon about its shards; remembered over restarts, since a pause must outlive a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Iterable, Mapping
from enum import Enum
from pathlib import Path

from isthmus.app.keeper import Charge
from isthmus.app.text import plain
from isthmus.model.faults import Refused


class Word(Enum):
    """An operator's word on a shard."""

    PAUSED = "paused"  # look and show, write nothing, until resumed
    RELEASED = "released"  # handed back as it is, open and working, our marks taken off; then not even looked at


class Standing:
    """The words in force, by shard, kept in one file (or in memory, without one)."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._words: dict[str, Word] = {}
        if path is not None and path.exists():
            try:
                self._words = {name: Word(word) for name, word in json.loads(path.read_text()).items()}
            except (OSError, ValueError, AttributeError) as fault:
                # Not knowing which shards are paused, write none of them.
                raise Refused(f"{path}: cannot be read: {fault}; remove it to resume every shard") from fault

    def of(self, shard: str) -> Word | None:
        """The word on a shard."""
        return self._words.get(shard)

    def of_others(self, shards: Container[str]) -> dict[str, Word]:
        """Words on shards that there are not: a deployment that was renamed runs without its word."""
        return {name: word for name, word in self._words.items() if name not in shards}

    def say(self, shard: str, word: Word | None) -> None:
        """Pause, release, or (None) resume a shard."""
        if word is None:
            self._words.pop(shard, None)
        else:
            self._words[shard] = word
        if self._path is not None:
            write_whole(self._path, json.dumps({name: word.value for name, word in self._words.items()}))


WORDS: Mapping[str, Word | None] = {"pause": Word.PAUSED, "resume": None, "release": Word.RELEASED}


def say_word(
    charges: Iterable[Charge], standing: Standing, shard: object, word: Word | None, *, everywhere: bool = False
) -> dict[str, str]:
    """Say an operator's word on a shard.  Raises Refused for a shard that is not here, or cannot be released yet.

    `everywhere` is the operator's word that other processes, which cannot be seen from here, have released theirs.
    """
    named = {charge.name: charge for charge in charges}
    if not isinstance(shard, str) or shard not in named:
        raise Refused(f"there is no shard '{plain(str(shard))}' here; there are: {', '.join(sorted(named))}")
    if word is Word.RELEASED:
        _may_be_released(named[shard], standing, everywhere=everywhere)
    if word is None:
        _may_be_resumed(named.values(), shard, standing)
    standing.say(shard, word)
    return {"shard": shard, "state": word.value if word else "resumed"}


def _may_be_released(charge: Charge, standing: Standing, *, everywhere: bool) -> None:
    kept = sorted(name for name in charge.released_after if standing.of(name) is not Word.RELEASED)
    if kept:
        raise Refused(f"release {', '.join(kept)} first: without our marks their NICs would be strangers to them")
    if charge.hosts_elsewhere and not everywhere:
        hosts = ", ".join(sorted(map(plain, charge.hosts_elsewhere)))
        raise Refused(f"{hosts} are kept by other processes: release their shards there, then add --everywhere")


def _may_be_resumed(charges: Iterable[Charge], shard: str, standing: Standing) -> None:
    for charge in charges:
        if shard in charge.released_after and standing.of(charge.name) is Word.RELEASED:
            raise Refused(f"resume {charge.name} first: without our marks the NICs of {shard} are strangers to it")


def write_whole(path: Path, text: str, replace: Callable[[Path, Path], None] = os.replace) -> None:
    """Put a file in place by a rename: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    replace(draft, path)
