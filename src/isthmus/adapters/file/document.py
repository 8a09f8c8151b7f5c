"""YAML text as plain values that remember their lines.  Law: what YAML would guess, we do not: scalars stay text.

YAML 1.1 reads 10:20:30:40:50:51 as a number in base 60 and `no` as false; a MAC or a network's name must survive
that, so every scalar but null is handed on as written and the schema decides what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

Path: TypeAlias = tuple[str | int, ...]
"""Where in a document: keys and list indexes, from the top."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp", "value"))
_NULL = "tag:yaml.org,2002:null"
MAX_BYTES = 64 * 2**20


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
        root = yaml.compose(_decoded(content), Loader=_Loader)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = mark.line + 1 if mark else None
        document.flaws.append(Flaw(line, "", f"not YAML: {wrong.problem or wrong.context}"))
        return document
    except (yaml.YAMLError, ValueError) as wrong:
        document.flaws.append(Flaw(None, "", f"not a text file in YAML: {_first_line(wrong)}"))
        return document
    except RecursionError:
        document.flaws.append(Flaw(None, "", "nested too deeply"))
        return document
    if root is not None:
        document.value = _Reader(document).value(root, ())
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


class _Reader:
    """Turns YAML nodes into values, noting lines; an alias is refused, so the work is linear in the file."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._document.lines[path] = node.start_mark.line + 1
        if id(node) in self._seen:
            self._document.flaws.append(self._document.flaw(path, "an alias (*name); write the value out"))
            return None
        self._seen.add(id(node))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode(tag=tag) if tag == _NULL:
                return None
            case yaml.ScalarNode(tag=tag) if tag in _SCALARS:
                return node.value
            case _:
                self._document.flaws.append(self._document.flaw(path, f"a value of kind {node.tag} is not allowed"))
                return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, item in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.tag not in _SCALARS:
                shown = name.value if isinstance(name, yaml.ScalarNode) else "a list or mapping"
                self._document.flaws.append(Flaw(line, dotted(path), f"a key must be a name, not {shown!r}"))
                continue
            key = name.value
            if key in values:
                first = self._document.lines[(*path, key)]
                what = f"given twice (first on line {first})"
                self._document.flaws.append(Flaw(line, dotted((*path, key)), what))
                continue
            values[key] = self.value(item, (*path, key))
            self._document.lines[(*path, key)] = line
        return values
