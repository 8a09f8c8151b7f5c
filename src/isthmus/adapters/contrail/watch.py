"""What an api-server's /watch says: each kind of object whole, then every change of one (OpenSDN fbb63bcd, measured).

Server-sent events: ``init`` with a list, then ``create``, ``update`` and ``delete`` with an object each, ``:`` now and
then, and ``stop`` when the server cannot go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from isthmus.adapters.contrail.api import Fields, is_whole
from isthmus.adapters.contrail.http import Stream
from isthmus.model.faults import Unreachable


class Told(NamedTuple):
    """One event.  `gone` says that its objects are no more; of `init`, they are all there are."""

    kind: str
    objects: list[Fields]
    is_all: bool = False
    gone: bool = False


def told(stream: Stream, kinds: Collection[str], heard: Callable[[], None]) -> Iterator[Told]:
    """Event by event; `heard` is told of every line, if it says no more than that the server lives.

    Raises Unreachable when it breaks off, ends, or says what no api-server says.
    """
    for event, text in _events(stream, heard):
        if event == "stop":
            raise Unreachable(f"the api-server cannot go on telling of changes: {text[:200]}")
        try:
            yield _told(event, json.loads(text), kinds)
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise stream.stranger(f"{event}: {text}") from fault
    raise Unreachable("the api-server ended its telling of changes")


def _events(stream: Stream, heard: Callable[[], None]) -> Iterator[tuple[str, str]]:
    event, data = "", list[str]()
    for line in stream:
        heard()
        name, _, value = line.partition(":")
        if not line:
            if data:
                yield event, "\n".join(data)
            event, data = "", []
        elif name == "event":
            event = value.strip()
        elif name == "data":
            data.append(value.removeprefix(" "))


def _told(event: str, said: Any, kinds: Collection[str]) -> Told:
    """Raises ValueError, TypeError, KeyError or AttributeError for what is none."""
    ((name, inside),) = said.items()
    name = name.replace("_", "-")
    if event == "init":
        kind = name.removesuffix("s")
        return Told(_known(kind, kinds), [_object(item[kind]) for item in inside], is_all=True)
    kind = _known(name, kinds)
    if event == "delete":
        return Told(kind, [{"uuid": str(inside["uuid"])}], gone=True)
    if event in ("create", "update"):
        return Told(kind, [_object(inside)])
    raise ValueError(event)


def _known(kind: str, kinds: Collection[str]) -> str:
    if kind not in kinds:
        raise KeyError(kind)
    return kind


def _object(item: Any) -> Fields:
    if not is_whole(item):
        raise TypeError("no object")
    return dict(item)
