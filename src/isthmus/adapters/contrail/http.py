"""One far side that speaks JSON over HTTP: kept connections, a deadline for each answer, faults that name the place.

Law: nothing is sent twice.  A fault says whether the request was never sent (NotSent: every address was tried) or may
have been carried out (MaybeDone: read before you write it again).  No proxy, no redirect, no retry.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    EmptyPoolError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)
from urllib3.exceptions import TimeoutError as TookTooLong

from isthmus.adapters.contrail.quick import QuickPool, QuickTlsPool
from isthmus.model.faults import Refused, Unreachable

T = TypeVar("T")
PIECE = 65536  # bytes read at once
SHOWN = 120  # characters of a strange answer that a message shows


NEVER_SENT = (ConnectTimeoutError, EmptyPoolError, ClosedPoolError)  # NewConnectionError is one of the first


class NotSent(Unreachable):
    """There was no connection: nothing was asked, nothing was done."""


class MaybeDone(Unreachable):
    """The request was sent and no whole answer came: it may have been carried out, or may still be."""


COMMON = {"User-Agent": "isthmus", "Accept": "application/json"}
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})


class Answer(NamedTuple):
    """What came back.  `said` is None if the body is not JSON; `headers` are known by their names in any case."""

    status: int
    said: Any
    raw: bytes
    headers: Mapping[str, str] = NOTHING_MORE


def basic_auth(user: str, password: str) -> dict[str, str]:
    """The header of HTTP's basic authentication, in UTF-8 (RFC 7617)."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Http:
    """Threads may ask at once, `connections` of them without waiting for each other.

    `place` names the far side in messages ("esx1's vRouter agent"), `kind` what it should be ("a vRouter agent").  Of
    several addresses, the one that answered last is asked; another only if that one could not be connected to.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        place: str,
        kind: str,
        timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        connections: int = 4,
    ) -> None:
        self.place, self.kind, self.timeout = place, kind, timeout
        self.tls = tls
        given = (addresses,) if isinstance(addresses, str) else tuple(addresses)
        if not given:
            raise Refused(f"{place}: no address is given")
        self._ends = [_End(self, address, connections) for address in given]
        self._turn = 0
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """Where it was reached last, or is tried next."""
        return self._ends[self._turn].address

    def request(self, method: str, path: str, body: Any = None, fields: Mapping[str, str] = NOTHING_MORE) -> Answer:
        """Send once and give the answer, whatever its status.  Raises NotSent, MaybeDone, Unreachable or Refused (TLS).

        An answer that comes slowly is given up after twice `timeout` at the latest.
        """
        sent = None if body is None else json.dumps(body).encode()
        kind = {} if sent is None else {"Content-Type": "application/json"}
        whole = {**COMMON, **kind, **fields}
        return self._at_one_end(lambda end: end.request(method, path, sent, whole))

    def stream(self, path: str, *, silence: float, fields: Mapping[str, str] = NOTHING_MORE) -> Stream:
        """An answer that goes on, as lines.  `silence` is how many seconds may pass without a byte."""
        whole = {**COMMON, "Accept": "text/event-stream", **fields}
        return self._at_one_end(lambda end: end.stream(path, whole, silence))

    def stranger(self, method: str, path: str, answer: Answer) -> Unreachable:
        """What to raise for an answer that the far side cannot have given."""
        return self._ends[self._turn].stranger(f"{method} {path}: HTTP {answer.status} {_shown(answer.raw)}")

    def close(self) -> None:
        """Hang up.  Streams that are open stay so until they are closed."""
        for end in self._ends:
            end.close()

    def _at_one_end(self, ask: Callable[[_End], T]) -> T:
        faults: list[NotSent] = []
        for _ in self._ends:
            turn = self._turn
            try:
                return ask(self._ends[turn])
            except NotSent as fault:
                faults.append(fault)
                self._pass_over(turn)
            except Unreachable:
                self._pass_over(turn)
                raise
        raise NotSent("; ".join(map(str, faults))) from faults[0]

    def _pass_over(self, turn: int) -> None:
        """Another address is next, unless another thread has seen to that already."""
        with self._lock:
            if turn == self._turn:
                self._turn = (turn + 1) % len(self._ends)


class Stream:
    """The lines of an answer as they come, without their ends.  Closed by any thread, it ends for its reader."""

    def __init__(self, end: _End, pool: HTTPConnectionPool, response: BaseHTTPResponse, what: str) -> None:
        self.status = response.status
        self._end, self._pool, self._response, self._what = end, pool, response, what
        self._closed, self._reading = threading.Event(), threading.Lock()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        """Ends when the far side ended it, or we.  Raises Unreachable if it was cut off or fell silent."""
        held: list[bytes] = []
        while piece := self._piece():
            *whole, rest = piece.split(b"\n")
            for line in whole:
                yield self._text(b"".join((*held, line)))
                held.clear()
            held.append(rest)
        if (rest := b"".join(held)) and not self._closed.is_set():
            yield self._text(rest)

    def rest(self) -> Answer:
        """What one that was refused says, to its end."""
        with self:
            raw = "\n".join(self).encode()
        return Answer(self.status, _parsed(raw), raw, self._response.headers)

    def stranger(self, seen: str) -> Unreachable:
        """What to raise for something in it that the far side cannot have said."""
        return self._end.stranger(f"{self._what}: {_shown(seen.encode())}")

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        with contextlib.suppress(RuntimeError, ValueError, OSError):  # it is over already
            self._response.shutdown()
        with self._reading:
            self._response.close()
            self._pool.close()

    def _piece(self) -> bytes:
        with self._reading:
            if self._closed.is_set():
                return b""
            try:
                return self._response.read1(PIECE)
            except (HTTPError, OSError) as fault:
                if self._closed.is_set():
                    return b""
                raise self._end.unreachable(f"{self._what} broke off, {_why(fault)}") from fault

    def _text(self, line: bytes) -> str:
        try:
            return line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as fault:
            raise self._end.stranger(f"{self._what}: {_shown(line)}") from fault


class _End:
    """One address and the connections to it."""

    def __init__(self, owner: Http, address: str, connections: int) -> None:
        self.owner, self.address = owner, address
        self._parts = _parts(address, owner.place)
        self._timeout = owner.timeout
        self._kept = self._pool(connections, wait=True)

    def request(self, method: str, path: str, body: bytes | None, fields: Mapping[str, str]) -> Answer:
        what = f"{method} {path}"
        deadline = time.monotonic() + self._timeout
        with self._faults(what, self._timeout, reads=method == "GET"):
            response = self._sent(self._kept, method, path, body, fields, Timeout(total=self._timeout))
            pieces = []
            while piece := response.read1(PIECE):
                pieces.append(piece)
                if time.monotonic() > deadline:
                    response.close()
                    raise TookTooLong("it comes too slowly")
            response.release_conn()
            if not pieces and _is_endless(response):
                raise ProtocolError("no body", http.client.IncompleteRead(b""))
        raw = b"".join(pieces)
        return Answer(response.status, _parsed(raw), raw, response.headers)

    def stream(self, path: str, fields: Mapping[str, str], silence: float) -> Stream:
        what = f"GET {path}"
        pool = self._pool(1, wait=False)
        patience = Timeout(connect=self._timeout, read=silence)
        with self._faults(what, silence, reads=True):
            return Stream(self, pool, self._sent(pool, "GET", path, None, fields, patience), what)

    def close(self) -> None:
        self._kept.close()

    def unreachable(self, why: str) -> Unreachable:
        return Unreachable(self._silent(why))

    def stranger(self, seen: str) -> Unreachable:
        return Unreachable(
            f"{self.owner.place} at {self.address} answers like something else than {self.owner.kind}: "
            f"is the address right? ({seen})"
        )

    def _silent(self, why: str) -> str:
        return f"{self.owner.place} at {self.address} does not answer: {why}; check that it runs, and its address"

    def _pool(self, size: int, *, wait: bool) -> HTTPConnectionPool:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "http":
            return QuickPool(host, port, maxsize=size, block=wait, retries=False)
        tls = self.owner.tls or ssl.create_default_context()
        checks: Literal[False] | None = None if tls.check_hostname else False  # the library would check where we do not
        return QuickTlsPool(
            host, port, maxsize=size, block=wait, retries=False, ssl_context=tls, assert_hostname=checks
        )  # fmt: skip

    def _sent(
        self,
        pool: HTTPConnectionPool,
        method: str,
        path: str,
        body: bytes | None,
        fields: Mapping[str, str],
        patience: Timeout,
    ) -> BaseHTTPResponse:
        return pool.urlopen(
            method,
            self._parts.path.rstrip("/") + path,
            body,
            fields,
            redirect=False,
            timeout=patience,
            pool_timeout=math.ceil(self._timeout),
            preload_content=False,
        )

    @contextlib.contextmanager
    def _faults(self, what: str, patience: float, *, reads: bool) -> Iterator[None]:
        """What the library raises leaves as Unreachable, MaybeDone or Refused that name the place."""
        try:
            yield
        except NEVER_SENT as fault:
            raise self._not_sent(fault) from fault
        except (HTTPError, OSError) as fault:
            if _is_no_http(fault):
                raise self.stranger(f"{what}: {_why(fault)}") from fault
            why = f"within {patience:g} s" if isinstance(fault, TookTooLong) else f"({_why(fault)})"
            if reads:
                raise self.unreachable(f"{what} has no answer {why}") from fault
            raise MaybeDone(
                f"{self.owner.place} at {self.address}: {what} was sent and has no answer {why}; it may have been "
                "carried out: check that it runs, and its load"
            ) from fault

    def _not_sent(self, fault: HTTPError) -> Refused | NotSent:
        cause = fault.__cause__
        match cause:
            case ssl.SSLCertVerificationError():
                why = f"its certificate is not trusted ({cause.verify_message}); give the CA that signed it"
            case ssl.SSLError() if not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                why = f"does not speak TLS as we do ({cause.reason or cause}); check the address"
            case _:
                return NotSent(self._silent(_why(fault)))
        return Refused(f"{self.owner.place} at {self.address}: {why}")


def _parts(address: str, place: str) -> SplitResult:
    """Raises Refused for what is no address; what it says never shows a password."""
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or "@" in address or parts.query or parts.fragment:
        shown = address.rpartition("@")[2]
        raise Refused(
            f"{place}: {shown!r} is no address; write it as http://example.org:9091, without user or password"
        )
    return parts


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:  # also where it is not UTF-8
        return None


def _why(fault: BaseException) -> str:
    """A library's fault in a few words."""
    match fault:
        case EmptyPoolError():
            return "all connections to it are waiting for answers"
        case ClosedPoolError():
            return "we have hung up"
        case NameResolutionError():
            return f"its name is not known ({fault.__cause__})"
        case NewConnectionError():
            cause = fault.__cause__
            return (cause.strerror if isinstance(cause, OSError) else None) or str(cause or fault)
        case ConnectTimeoutError():
            return "no connection in time"
        case TookTooLong():
            return "it said nothing for too long"
        case ProtocolError() if len(fault.args) > 1 and isinstance(fault.args[1], BaseException):
            return _why(fault.args[1])
        case http.client.RemoteDisconnected() | ConnectionError():
            return "the connection was cut"
        case http.client.IncompleteRead():
            return "the connection was cut in the middle of an answer"
        case http.client.HTTPException():
            return f"not HTTP: {_shown(str(fault).encode())}"
        case _:
            return f"{type(fault).__name__}: {fault}"


def _is_no_http(fault: BaseException) -> bool:
    cause = fault.args[1] if isinstance(fault, ProtocolError) and len(fault.args) > 1 else fault
    cut = http.client.RemoteDisconnected | http.client.IncompleteRead
    return isinstance(cause, http.client.HTTPException) and not isinstance(cause, cut)


def _is_endless(response: BaseHTTPResponse) -> bool:
    """Whether only the end of the connection says where the body ends, so that a cut looks like an end."""
    framed = {"content-length", "transfer-encoding"} & {name.lower() for name in response.headers}
    return not framed and response.status not in (204, 304)


def _shown(raw: bytes) -> str:
    """The beginning of a strange answer, fit for a message."""
    text = "".join(c if c.isprintable() else " " for c in raw.decode(errors="replace"))
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
