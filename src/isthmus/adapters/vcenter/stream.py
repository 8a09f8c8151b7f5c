"""Large answers read as they arrive: pyVmomi's request over pyVmomi's connections, without an object per element.

Law: nothing of an answer is believed before it has ended well and is known to be the answer to what was asked.
"""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Generic, Protocol, TypeVar
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from pyVmomi import vmodl
from pyVmomi.SoapAdapter import SoapResponseDeserializer

T = TypeVar("T")
R = TypeVar("R")
VIM = "{urn:vim25}"
CHUNK = 1 << 16
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Malformed(HTTPException):
    """An answer that is cut off, no XML, or none to what was asked."""


class Source(Protocol):
    """What bytes are read from; b"" is the end."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Streamed(Generic[T]):
    """A method of the vSphere API that returns a list, and what to make of each of its values."""

    info: Any  # pyVmomi's own description of the method
    read: Callable[[Element], T]

    def ask(self, managed: Any, *arguments: Any) -> list[T]:
        """Call the method of this object.  Faults leave as they came."""
        return called(managed, self.info, arguments, lambda source, _: values(source, self))


def called(managed: Any, info: Any, arguments: Sequence[Any], read: Callable[[Source, Any], R]) -> R:
    """Call a method as pyVmomi would, but with a reader of our own, which is given the answer and the stub."""
    stub: Any = managed._stub  # its cookie, connections and their trust and timeouts are used, none of our own
    request = stub.SerializeRequest(managed, info, arguments)
    connection = stub.GetConnection()
    try:
        connection.request("POST", stub.path, request, _headers(stub))
        answer = connection.getresponse()
        stub.cookie = answer.getheader("Set-Cookie") or stub.cookie
        found = _read(answer, info, stub, read)
    except BaseException as error:
        if isinstance(error, vmodl.MethodFault):  # a whole answer
            stub.ReturnConnection(connection)
        else:
            connection.close()
            stub.DropConnections()  # what broke this one has most likely broken the idle ones
        raise
    stub.ReturnConnection(connection)
    return found


def _read(answer: HTTPResponse, info: Any, stub: Any, read: Callable[[Source, Any], R]) -> R:
    source = _plain(answer)
    try:
        match answer.status:
            case 200:
                return read(source, stub)
            case 500:  # SOAP 1.1: a fault, which pyVmomi knows by its class
                fault = SoapResponseDeserializer(stub).Deserialize(source, info.result)
                answer.read()
                if isinstance(fault, Exception):
                    raise fault
    except (EOFError, zlib.error) as cut:
        raise HTTPException(f"answer cut off or spoilt: {cut}") from cut
    raise HTTPException(f"{answer.status} {answer.reason}")


def values(source: Source, streamed: Streamed[T]) -> list[T]:
    """What the method returned.  Raises HTTPException if the answer is not whole or not one of this method."""
    found: list[T] = []
    for response, whole in growing(source, streamed.info.wsdlName):
        done = ripe(response, whole)
        returned = [value for value in done if value.tag.endswith("returnval")]
        if any(value.tag != f"{VIM}returnval" for value in returned):  # to pass it over would make a shorter list
            raise HTTPException(f"answer to {streamed.info.wsdlName} is in a foreign namespace")
        found += map(streamed.read, returned)
    return found


def growing(source: Source, method: str) -> Iterator[tuple[Element, bool]]:
    """The answer to a method each time more of it has come, and at last whole.  Raises Malformed.

    Its reader takes away what is `ripe`, so that there is never much of it.
    """
    pull: XMLPullParser[Any] = XMLPullParser(["start"])
    response: Element | None = None
    try:
        while chunk := source.read(CHUNK):
            pull.feed(chunk)
            events: Any = pull.read_events()
            if response is None:
                response = next((element for _, element in events if element.tag == f"{VIM}{method}Response"), None)
            deque(events, maxlen=0)  # each would keep its element alive; an error among them rises
            if response is not None:
                yield response, False
        pull.close()
    except ParseError as cut:
        raise Malformed(f"answer cut off or no XML: {cut}") from cut
    if response is None:
        raise Malformed(f"answer is none to {method}")
    yield response, True


def ripe(parent: Element, whole: bool) -> list[Element]:
    """The children that have come to their end, which are forgotten here; the last one may still be growing."""
    count = len(parent) if whole else max(0, len(parent) - 1)
    done = parent[:count]
    del parent[:count]
    return done


def _plain(answer: HTTPResponse) -> Source:
    match answer.getheader("Content-Encoding", "identity").lower():
        case "gzip":
            return gzip.GzipFile(fileobj=answer)
        case "identity":
            return answer
        case other:
            raise HTTPException(f"answer in unknown encoding {other!r}")


def _headers(stub: Any) -> dict[str, str]:
    return {
        "Cookie": stub.cookie,
        "SOAPAction": stub.versionId,
        "Content-Type": "text/xml; charset=utf-8",
        "Accept-Encoding": "gzip",
    }


def inside(element: Element | None, name: str) -> Element | None:
    """The first child of this name."""
    return element.find(VIM + name) if element is not None else None


def said(element: Element | None, name: str) -> str:
    """The text of the first child of this name."""
    return (element.findtext(VIM + name) or "") if element is not None else ""


def flag(element: Element | None, name: str) -> bool:
    """A child that is true or false; vSphere API: false if left out."""
    return BOOLEANS[(said(element, name) or "false").lower()]


def type_of(element: Element) -> str:
    """Which of several types an element is of; "" if it is of the only one."""
    return local(element.get("{http://www.w3.org/2001/XMLSchema-instance}type"))


def local(name: str | None) -> str:
    """A name without its namespace."""
    return (name or "").rpartition(":")[2]
