"""Large answers read as they arrive: pyVmomi's request over pyVmomi's connections, without an object per element.

Law: nothing of an answer is believed before it has ended well and is known to be the answer to what was asked.
"""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Generic, Protocol, TypeVar
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from pyVmomi.SoapAdapter import SoapResponseDeserializer

T = TypeVar("T")
VIM = "{urn:vim25}"
CHUNK = 1 << 16


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
        """Call the method of this object as pyVmomi would.  Faults leave as they came."""
        stub: Any = managed._stub  # its cookie, connections and their trust and timeouts are used, none of our own
        request = stub.SerializeRequest(managed, self.info, arguments)
        connection = stub.GetConnection()
        try:
            connection.request("POST", stub.path, request, _headers(stub))
            answer = connection.getresponse()
            stub.cookie = answer.getheader("Set-Cookie") or stub.cookie
            found, fault = self._answered(answer, stub)
        except BaseException:
            connection.close()
            stub.DropConnections()  # what broke this one has most likely broken the idle ones
            raise
        stub.ReturnConnection(connection)
        if fault is not None:
            raise fault
        return found

    def _answered(self, answer: HTTPResponse, stub: Any) -> tuple[list[T], Exception | None]:
        """The values of a whole answer, or the fault that it is."""
        source = _plain(answer)
        try:
            match answer.status:
                case 200:
                    return values(source, self), None
                case 500:  # SOAP 1.1: a fault, which pyVmomi knows by its class
                    fault = SoapResponseDeserializer(stub).Deserialize(source, self.info.result)
                    answer.read()
                    if isinstance(fault, Exception):
                        return [], fault
        except (EOFError, zlib.error) as cut:
            raise HTTPException(f"answer cut off or spoilt: {cut}") from cut
        raise HTTPException(f"{answer.status} {answer.reason}")


def values(source: Source, streamed: Streamed[T]) -> list[T]:
    """What the method returned.  Raises HTTPException if the answer is not whole or not one of this method."""
    asked = f"{VIM}{streamed.info.wsdlName}Response"
    pull: XMLPullParser[Any] = XMLPullParser(["start"])
    response: Element | None = None
    found: list[T] = []
    try:
        while chunk := source.read(CHUNK):
            pull.feed(chunk)
            events: Any = pull.read_events()
            if response is None:
                response = next((element for _, element in events if element.tag == asked), None)
            deque(events, maxlen=0)  # each would keep its element alive; an error among them rises
            if response is not None:
                found += _taken(response, len(response) - 1, streamed)  # the last one may still be growing
        pull.close()
    except ParseError as cut:
        raise HTTPException(f"answer cut off or no XML: {cut}") from cut
    if response is None:
        raise HTTPException(f"answer is none to {streamed.info.wsdlName}")
    return found + _taken(response, len(response), streamed)


def _taken(response: Element, count: int, streamed: Streamed[T]) -> list[T]:
    """Read the first `count` children and forget them."""
    done = response[: max(0, count)]
    del response[: max(0, count)]
    return [streamed.read(value) for value in done if value.tag == f"{VIM}returnval"]


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
