"""YAML text as plain values that remember their lines.  Law: what YAML would guess, we do not: scalars stay text.

YAML 1.1 reads 10:20:30:40:50:51 as a number in base 60 and `no` as false; a MAC or a network's name must survive
that, so every scalar but null is handed on as written and the schema decides what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

Path: TypeAlias = tuple[str | int, ...]
"""Where in a document: keys and list indexes, from the top."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
MAX_BYTES = 64 * 2**20
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong in a document, and where."""

    line: int | None
    where: str
    what: str

    def at(self, name: str) -> str:
        """The flaw as an operator reads it: ``intent.yaml:14: networks[2].vni: ...``."""
        place = name if self.line is None else f"{name}:{self.line}"
        return f"{place}: {self.where}: {self.what}" if self.where else f"{place}: {self.what}"


@dataclass(slots=True)
class Document:
    """The values of a document, the line of each, and what was already wrong with its form."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def flaw(self, path: Path, what: str) -> Flaw:
        """A flaw at `path`."""
        return Flaw(self.line(path), dotted(path), what)


def dotted(path: Path) -> str:
    """A path as people write it: ``networks[2].vni``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def parse(content: bytes) -> Document:
    """Read YAML.  Never raises for what a file may hold: the flaws say what is wrong."""
    document = Document()
    try:
        _Reader(document, yaml.parse(_decoded(content), Loader=_Loader)).read()
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = mark.line + 1 if mark else None
        document.flaws.append(Flaw(line, "", f"not YAML: {wrong.problem or wrong.context}"))
    except _TooDeep as wrong:
        document.flaws.append(Flaw(wrong.line, "", "nested too deeply"))
    except (yaml.YAMLError, ValueError) as wrong:
        document.flaws.append(Flaw(None, "", f"not a text file in YAML: {_first_line(wrong)}"))
    return document


def _decoded(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has {len(content)} bytes, more than {MAX_BYTES}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise ValueError(f"byte {wrong.start} is not UTF-8") from wrong


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0]


class _TooDeep(Exception):
    """The document nests deeper than any intent does."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Reader:
    """Turns the parser's events into values, noting lines.

    Neither aliases nor deep nesting are allowed, so the work is linear in the file whatever it holds.
    """

    def __init__(self, document: Document, events: Iterator[yaml.Event]) -> None:
        self._document = document
        self._events = events

    def read(self) -> None:
        """Read the one document there is."""
        documents = 0
        for event in self._events:
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        self._document.flaws.append(
                            Flaw(_line(event), "", "a second document begins; there may be one")
                        )
                        return
                    self._document.value = self._value(next(self._events), ())

    def _value(self, event: yaml.Event, path: Path) -> Any:
        self._document.lines[path] = _line(event)
        if len(path) > MAX_DEPTH:
            raise _TooDeep(_line(event))
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(path)
            case yaml.SequenceStartEvent():
                return self._sequence(path)
            case yaml.ScalarEvent(tag=None, style=None | "", value=text) if text in _NULLS:
                return None
            case yaml.ScalarEvent(tag=None | "!"):
                return event.value
            case yaml.AliasEvent():
                self._flaw(path, "an alias (*name); write the value out")
            case yaml.ScalarEvent():
                self._flaw(path, f"a tag ({event.tag}) is not allowed")
        return None

    def _flaw(self, path: Path, what: str) -> None:
        self._document.flaws.append(self._document.flaw(path, what))

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._value(event, (*path, "?"))
                self._value(next(self._events), (*path, "?"))
                self._document.flaws.append(Flaw(line, dotted(path), "a key must be a name"))
                continue
            here = (*path, event.value)
            first = self._document.lines.get(here)
            value = self._value(next(self._events), here)
            self._document.lines[here] = first or line
            if first is None:
                values[event.value] = value
            else:
                self._document.flaws.append(Flaw(line, dotted(here), f"given twice (first on line {first})"))
        return values


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0
