"""What an operator told the daemon about its shards; remembered over restarts, since a pause must outlive a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from isthmus.model.faults import Refused


class Word(Enum):
    """An operator's word on a shard."""

    PAUSED = "paused"  # look and show, write nothing, until resumed
    RELEASED = "released"  # handed back as it is, open and working; not even looked at until resumed


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

    def say(self, shard: str, word: Word | None) -> None:
        """Pause, release, or (None) resume a shard."""
        if word is None:
            self._words.pop(shard, None)
        else:
            self._words[shard] = word
        if self._path is not None:
            write_whole(self._path, json.dumps({name: word.value for name, word in self._words.items()}))


def write_whole(path: Path, text: str, replace: Callable[[Path, Path], None] = os.replace) -> None:
    """Put a file in place by a rename: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    replace(draft, path)
