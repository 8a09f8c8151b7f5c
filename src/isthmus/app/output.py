"""What a command prints: plain lines or one JSON document to stdout, progress to stderr, nothing unescaped."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from isthmus.app.text import line, plain

PATIENCE = 1.0
"""Seconds after which a command says what it is waiting for."""


def say(text: str = "") -> None:
    """One line to stdout."""
    print(line(text))


def complain(text: str) -> None:
    """An error or warning to stderr, each of its lines with the program's name."""
    for part in text.split("\n") or [""]:
        print(f"isthmus: {line(part)}", file=sys.stderr)


def say_json(data: Any) -> None:
    """One JSON document to stdout, in ASCII: a name cannot do anything to a terminal."""
    print(json.dumps(data, indent=2, sort_keys=True))


@contextmanager
def patience(what: str) -> Iterator[None]:
    """Say `what` is being done if it takes longer than a moment."""
    timer = threading.Timer(PATIENCE, complain, [f"{what} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def table(rows: Iterable[Sequence[Any]], heads: Sequence[str]) -> None:
    """Aligned columns, wide enough for what they hold."""
    cells = [[head.upper() for head in heads], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{plain(str(key), 40)}={_cell(item)}" for key, item in sorted(value.items())) or "-"
        case list() | tuple():
            return ", ".join(_cell(item) for item in value) or "-"
        case float():
            return f"{value:.1f}"
    return plain(str(value), 60)


class OneLine(logging.Formatter):
    """A log record as one printable line; only a bug's traceback has more."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, escaped."""
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        text = line(f"{record.levelname.lower()}: {record.getMessage()}")
        return "\n".join([text, *map(line, trace.split("\n"))]) if trace else text


def log_to_stderr(level: str) -> None:
    """Log from `level` on; the time is the journal's to add."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
