"""The texts that are wanted out of a large XML answer, with expat and nothing else: the floor of any reading in Python.

Law: it knows element names only; whatever is made of the texts is not part of the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias
from xml.parsers.expat import ParserCreate

Wanted: TypeAlias = frozenset[tuple[str, str]]
Texts: TypeAlias = list[tuple[str, str]]
"""(element, its text) in the order of the answer; an attribute of type goes before, as (element, type)."""

PORT: Wanted = frozenset(
    {
        ("returnval", "key"), ("returnval", "portgroupKey"), ("returnval", "proxyHost"),
        ("returnval", "connectionCookie"), ("config", "configVersion"), ("connectee", "connectedEntity"),
        ("connectee", "nicKey"), ("vlan", "inherited"), ("vlan", "vlanId"), ("blocked", "inherited"),
        ("blocked", "value"),
    }
)  # fmt: skip
"""What a DV port is known by, what it wears, and what is connected to it."""

OBJECT: Wanted = frozenset(
    {
        (update, name) for update in ("objects", "objectSet") for name in ("obj", "kind")
    } | {
        (change, name) for change in ("propSet", "changeSet") for name in ("name", "val")
    } | {
        ("VirtualDevice", "key"), ("VirtualDevice", "macAddress"), ("connectable", "connected"),
        ("deviceInfo", "label"), ("port", "switchUuid"), ("port", "portgroupKey"), ("port", "portKey"),
        ("port", "connectionCookie"), ("returnval", "version"), ("returnval", "truncated"), ("returnval", "token"),
    }
)  # fmt: skip
"""What an object's properties are, with a VM's network adapters."""


def texts(chunks: Iterable[bytes], wanted: Wanted, record: str) -> list[Texts]:
    """A list of texts for each element called `record`."""
    parser = ParserCreate()
    parser.buffer_text = True
    found: list[Texts] = [[]]
    path: list[str] = ["", ""]
    said: list[str] = []
    listening = False

    def begin(name: str, _: dict[str, str]) -> None:
        nonlocal listening
        if name == record:
            found.append([])
        listening = (path[-1], name) in wanted
        path.append(name)

    def end(name: str) -> None:
        nonlocal listening
        path.pop()
        if listening:
            found[-1].append((name, "".join(said)))
            said.clear()
            listening = False

    def text(data: str) -> None:
        if listening:
            said.append(data)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, text
    parse: Callable[[bytes, bool], object] = parser.Parse
    for chunk in chunks:
        parse(chunk, False)
    parse(b"", True)
    return found
