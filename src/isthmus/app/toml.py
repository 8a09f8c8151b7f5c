"""A TOML file with the line of each key, which tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from isthmus.model.faults import Refused

KeyPath: TypeAlias = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?")
_VALUE = re.compile(rf"\s*({_DOTTED})\s*=")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """The values of a TOML file and where its keys stand."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def at(self, keys: KeyPath, what: str) -> str:
        """An error as an operator reads it: ``isthmus.toml:12: deployment.tenant.vids: ...``."""
        line = next((self.lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.lines), None)
        place = f"{self.path}:{line}" if line else str(self.path)
        return f"{place}: {dotted(keys)}: {what}" if keys else f"{place}: {what}"


def dotted(keys: KeyPath) -> str:
    """A key path as TOML writes it."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            shown = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
            text += f".{shown}" if text else shown
    return text


def read_toml(path: Path) -> TomlFile:
    """Read a file.  Raises Refused with the place of what is wrong."""
    try:
        text = path.read_bytes().decode()
        return TomlFile(path, tomllib.loads(text), dict(_lines(text)))
    except OSError as fault:
        raise Refused(f"{path}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as wrong:
        raise Refused(f"{path}: not a text file: byte {wrong.start} is not UTF-8") from wrong
    except tomllib.TOMLDecodeError as wrong:
        raise Refused(f"{path}: not TOML: {wrong}") from wrong
    except RecursionError as wrong:
        raise Refused(f"{path}: not TOML: nested too deeply") from wrong


def _lines(text: str) -> Iterator[tuple[KeyPath, int]]:
    # Good enough to point at a line: a text block that looks like a key could only mislead the pointer.
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TABLE.match(line):
            table = _keys(found[1])
            yield table, number
        elif found := _VALUE.match(line):
            yield (*table, *_keys(found[1])), number


def _keys(text: str) -> KeyPath:
    return tuple(key[1:-1] if key[0] in "\"'" else key for key in re.findall(_KEY, text))
