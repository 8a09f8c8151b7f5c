"""The intent file as a source: read whole or refused with every error, and watched for replacement.

The file is known by its inode, size and times, so that one put in place by a rename is seen like one edited.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TypeAlias

from isthmus.adapters.file.document import parse
from isthmus.adapters.file.meaning import intent_of
from isthmus.model.boundary import Wake
from isthmus.model.faults import Refused, Retry
from isthmus.model.intent import Intent

Signature: TypeAlias = tuple[int, int, int, int, int]


class FileIntent:
    """An IntentSource over one YAML file.  Reading an unchanged file costs a stat."""

    def __init__(self, path: Path, poll_seconds: float = 0.5) -> None:
        self._path = path
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._signature: Signature | None = None
        self._answer: Intent | Refused | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def read(self) -> Intent:
        """The whole intent.  Raises Refused with every error and its line; Retry if it changed under our eyes."""
        with self._lock:
            before = self._stat()
            if self._answer is None or before != self._signature:
                answer = self._parsed()
                if self._stat() != before:
                    raise Retry(f"{self._path}: changed while it was read")
                self._answer, self._signature = answer, before
            if isinstance(self._answer, Refused):
                raise Refused(*self._answer.args)
            return self._answer

    def watch(self, wake: Wake) -> None:
        """Poll the file's signature in a thread; wake everybody when it changes."""
        if self._watcher is None:
            # What was read last is where watching begins: a change before the thread runs is a change, too.
            seen = self._signature or _signature(self._path)
            self._watcher = threading.Thread(target=self._poll, args=(wake, seen), name="intent-file", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(timeout=2 * self._poll_seconds + 1)

    def _poll(self, wake: Wake, last: Signature | None) -> None:
        while not self._stopping.wait(self._poll_seconds):
            now = _signature(self._path)
            if now != last:
                last = now
                wake(None)

    def _stat(self) -> Signature:
        try:
            return _of(os.stat(self._path))
        except OSError as fault:
            raise Refused(f"{self._path}: cannot be read: {fault.strerror}") from fault

    def _parsed(self) -> Intent | Refused:
        try:
            content = self._path.read_bytes()
        except OSError as fault:
            return Refused(f"{self._path}: cannot be read: {fault.strerror}")
        intent, flaws = intent_of(parse(content))
        if intent is None:
            return Refused("\n".join(flaw.at(str(self._path)) for flaw in flaws))
        return intent


def _signature(path: Path) -> Signature | None:
    try:
        return _of(os.stat(path))
    except OSError:
        return None


def _of(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
