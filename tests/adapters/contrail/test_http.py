"""One request is sent at most once, each fault says whether it was, and nothing waits for a delayed acknowledgement."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isthmus.adapters.contrail import quick
from isthmus.adapters.contrail.http import Http, MaybeDone, NotSent, basic_auth
from isthmus.model.faults import Refused, Retry, Unreachable
from tests.adapters.contrail.far_side import FarSide, Hangup, certificate, ok

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@pytest.fixture
def far() -> Iterator[FarSide]:
    with FarSide() as far:
        yield far


def http(*at: FarSide | str, **more: Any) -> Http:
    addresses = [one if isinstance(one, str) else one.address for one in at]
    return Http(addresses, **{"place": "esx1's vRouter agent", "kind": "a vRouter agent", "timeout": 20.0} | more)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def hang(_: bytes) -> Iterable[bytes]:
    time.sleep(60)
    return []


def hang_up(_: bytes) -> Iterable[bytes]:
    raise Hangup


def test_a_request_is_json_and_so_is_its_answer(far: FarSide) -> None:
    far.reply = lambda _: [ok(b'{"virtual-networks": [1]}', "201 Created")]
    assert http(far).request("POST", "/ref-update", {"a": "é"})[:3] == (
        201, {"virtual-networks": [1]}, b'{"virtual-networks": [1]}',
    )  # fmt: skip
    head, _, body = far.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /ref-update HTTP/1.1")
    assert b"\r\nContent-Type: application/json" in head
    assert body == b'{"a": "\\u00e9"}'


def test_a_write_without_a_body_says_that_it_is_empty(far: FarSide) -> None:
    http(far).request("POST", "/syncports")
    assert b"\r\nContent-Length: 0\r\n" in far.requests[0]


@pytest.mark.parametrize("raw", [b"", b"<html>", b'{"id": "0', b"\xff\xfe"])
def test_what_is_not_json_is_given_as_it_is(far: FarSide, raw: bytes) -> None:
    far.reply = lambda _: [ok(raw, "404 Not Found")]
    assert http(far).request("GET", "/x")[:3] == (404, None, raw)


def test_an_address_may_have_a_path(far: FarSide) -> None:
    http(far.address + "/contrail/").request("GET", "/projects")
    assert far.requests[0].startswith(b"GET /contrail/projects HTTP/1.1")


def test_a_connection_is_kept(far: FarSide) -> None:
    client = http(far)
    for _ in range(5):
        client.request("GET", "/x")
    assert (len(far.requests), far.connections) == (5, 1)


def test_a_connection_that_was_closed_meanwhile_is_made_anew(far: FarSide) -> None:
    def once(_: bytes) -> Iterator[bytes]:
        yield ok()
        raise Hangup

    far.reply = once
    client = http(far)
    client.request("GET", "/x")
    kept = client._ends[0]._kept.pool
    assert kept is not None
    deadline = time.monotonic() + 20
    while kept.queue[-1].is_connected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.request("POST", "/x").status == 200
    assert far.connections == 2


def test_threads_share_a_few_connections_and_wait_for_one(far: FarSide) -> None:
    together = threading.Barrier(2, timeout=20)

    def reply(_: bytes) -> Iterable[bytes]:
        together.wait()
        return [ok()]

    far.reply = reply
    client = http(far, connections=2)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.request("GET", "/x").status, range(8)))
    assert (answers, far.connections) == ([200] * 8, 2)


def test_when_all_connections_are_busy_for_too_long_nothing_was_sent(far: FarSide) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def reply(_: bytes) -> Iterable[bytes]:
        arrived.set()
        go_on.wait(20)
        return [ok()]

    far.reply = reply
    client = http(far, connections=1)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.request, "GET", "/slow")
        assert arrived.wait(20)
        client._ends[0]._timeout = 0.1
        with pytest.raises(NotSent, match="all connections to it are waiting for answers"):
            client.request("POST", "/x")
        go_on.set()
        assert first.result().status == 200
    assert len(far.requests) == 1


# --- acknowledged at once


def test_each_answer_over_a_kept_connection_is_acknowledged_at_once(
    far: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its header is read and again before its body: else a body in a segment of its own comes 40 ms later."""
    seen: list[int] = []
    quicken = quick.quicken

    def counted(sock: socket.socket) -> None:
        quicken(sock)
        seen.append(sock.fileno())

    monkeypatch.setattr(quick, "quicken", counted)
    far.reply = lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{}"]
    client = http(far)
    for _ in range(3):
        client.request("GET", "/x")
    assert far.connections == 1
    assert len(seen) == 6
    assert len(set(seen)) == 1


def test_quick_acknowledgement_is_asked_of_the_socket_around_the_header() -> None:
    asked: list[tuple[object, ...]] = []

    class Told(socket.socket):
        def setsockopt(self, *what: Any) -> None:
            asked.append(what)
            super().setsockopt(*what)

    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        sock = Told(fileno=near.detach())
        there, _ = server.accept()
        with sock, there:
            there.sendall(ok())
            answer = quick.QuickConnection.response_class(sock)
            answer.begin()
            assert asked == [(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * 2
            assert answer.read() == b"{}"
    assert quick.QuickTlsConnection.response_class is quick.QuickConnection.response_class


# --- faults


def test_nobody_there_means_that_nothing_was_sent(nobody: str) -> None:
    with pytest.raises(NotSent) as fault:
        http(nobody).request("POST", "/port", {})
    assert str(fault.value) == (
        f"esx1's vRouter agent at {nobody} does not answer: Connection refused; check that it runs, and its address"
    )


def test_a_name_that_is_not_known_means_that_nothing_was_sent() -> None:
    with pytest.raises(NotSent, match="its name is not known"):
        http("http://esx1.invalid:9091").request("GET", "/x")


def test_a_write_without_an_answer_in_time_may_have_been_done(far: FarSide) -> None:
    far.reply = hang
    with pytest.raises(MaybeDone) as fault:
        http(far, timeout=0.2).request("POST", "/port", {})
    assert str(fault.value) == (
        f"esx1's vRouter agent at {far.address}: POST /port was sent and has no answer within 0.2 s; "
        "it may have been carried out: check that it runs, and its load"
    )
    assert len(far.requests) <= 1


def test_a_read_without_an_answer_in_time_was_no_write(far: FarSide) -> None:
    far.reply = hang
    with pytest.raises(Unreachable, match=r"does not answer: GET /x has no answer within 0.2 s") as fault:
        http(far, timeout=0.2).request("GET", "/x")
    assert not isinstance(fault.value, MaybeDone | NotSent)


CUT_ANSWERS: dict[str, Sequence[bytes]] = {
    "no answer": [],
    "a field too few": [b"HTTP/1.1 200 OK\r\nServer: x\r\n"],
    "half a header": [b"HTTP/1.1 200 OK\r\nContent-Le"],
    "half a body": [b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"a": '],
    "half a chunk": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{"],
    "a chunk too few": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"],
}


@pytest.mark.parametrize("segments", CUT_ANSWERS.values(), ids=CUT_ANSWERS)
def test_a_write_whose_answer_is_cut_off_may_have_been_done(far: FarSide, segments: Sequence[bytes]) -> None:
    def reply(_: bytes) -> Iterator[bytes]:
        yield from segments
        raise Hangup

    far.reply = reply
    client = http(far)
    with pytest.raises(MaybeDone, match=r"DELETE /port/1 was sent and has no answer \(the connection was cut"):
        client.request("DELETE", "/port/1")
    with pytest.raises(Unreachable) as fault:
        client.request("GET", "/port/1")
    assert not isinstance(fault.value, MaybeDone | NotSent)
    assert len(far.requests) == 2


def test_an_answer_that_drips_is_given_up(far: FarSide) -> None:
    def drip(_: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
        while True:
            time.sleep(0.05)
            yield b" "

    far.reply = drip
    with pytest.raises(MaybeDone, match=r"no answer within 0.5 s"):
        http(far, timeout=0.5).request("PUT", "/x")


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x16", b"x" * 70000 + b"\r\n"])
def test_what_does_not_speak_http_is_something_else(far: FarSide, said: bytes) -> None:
    def reply(_: bytes) -> Iterator[bytes]:
        yield said
        raise Hangup

    far.reply = reply
    with pytest.raises(Unreachable, match="answers like something else than a vRouter agent"):
        http(far).request("POST", "/port", {})


def test_a_strange_answer_is_shown_in_one_short_line(far: FarSide) -> None:
    far.reply = lambda _: [ok(b"<html>\r\n\x1b[2J" + b"x" * 900)]
    client = http(far)
    said = str(client.stranger("GET", "/x", client.request("GET", "/x")))
    assert said.startswith(f"esx1's vRouter agent at {far.address} answers like something else than a vRouter agent")
    assert "GET /x: HTTP 200 '<html>" in said
    assert said.isprintable()
    assert len(said) < 300


def test_every_fault_is_one_to_try_again() -> None:
    assert issubclass(NotSent, Unreachable)
    assert issubclass(MaybeDone, Unreachable)
    assert issubclass(Unreachable, Retry)


def test_nothing_is_tried_again_and_no_redirect_is_followed(far: FarSide) -> None:
    for status in ("503 Service Unavailable", "429 Too Many Requests", "500 OK", "301 Moved", "307 Temporary Redirect"):
        far.requests.clear()
        far.reply = lambda _, status=status: [ok(b"", status, "Retry-After: 0", f"Location: {far.address}/elsewhere")]
        assert http(far).request("GET", "/x").status == int(status[:3])
        assert len(far.requests) == 1


def test_no_proxy_of_the_environment_is_used(far: FarSide, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, nobody)
    monkeypatch.delenv("no_proxy", raising=False)
    assert http(far).request("GET", "/x").status == 200


# --- several addresses


def test_another_address_is_asked_if_one_cannot_be_connected_to_and_then_kept(far: FarSide, nobody: str) -> None:
    client = http(nobody, far)
    assert client.address == nobody
    for _ in range(2):
        assert client.request("POST", "/x", {}).status == 200
    assert client.address == far.address
    assert len(far.requests) == 2


def test_if_none_can_be_connected_to_all_are_named(nobody: str) -> None:
    other = nobody.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(NotSent, match=rf"{re.escape(nobody)} .*; .*{re.escape(other)} "):
        http(nobody, other).request("GET", "/x")


@pytest.mark.parametrize("reply", [hang, hang_up, lambda _: [b"SSH-2.0-OpenSSH_9.2\r\n"]])
def test_what_was_sent_to_one_is_not_sent_to_another_but_the_next_request_is(reply: Any) -> None:
    with FarSide(reply) as first, FarSide() as second:
        client = http(first, second, timeout=0.5)
        with pytest.raises(Unreachable):
            client.request("POST", "/x", {})
        assert not second.requests
        assert client.request("POST", "/x", {}).status == 200
        assert len(second.requests) == 1
        assert len(first.requests) <= 1


@pytest.mark.parametrize(
    "address", ["", "esx1:9091", "ftp://esx1", "http://", "http://esx1:port", "http://esx1:99999", "http://esx1/?a=b"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="is no address; write it as http://"):
        http(address)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(Refused) as fault:
        http("http://admin:secret@esx1:9091")
    assert "secret" not in str(fault.value)
    with pytest.raises(Refused, match="no address is given"):
        http()


# --- who we are


def test_each_request_has_fields_of_its_own(far: FarSide) -> None:
    client = http(far)
    client.request("GET", "/x", None, {"X-Auth-Token": "one"})
    client.request("POST", "/x", {}, {"X-Auth-Token": "two"})
    for request, token in zip(far.requests, ("one", "two"), strict=True):
        assert f"X-Auth-Token: {token}\r\n".encode() in request


def test_basic_authentication() -> None:
    (field,) = basic_auth("admin", "pä:ss").items()
    assert field[0] == "Authorization"
    assert base64.b64decode(field[1].removeprefix("Basic ")).decode() == "admin:pä:ss"


# --- TLS


def test_a_certificate_of_the_given_ca_is_trusted_and_no_other(tmp_path: Path) -> None:
    context, ca = certificate(tmp_path)
    with FarSide(tls=context) as far:
        client = http(far, tls=ssl.create_default_context(cafile=ca))
        for _ in range(2):
            assert client.request("GET", "/x").status == 200
        assert far.connections == 1
        with pytest.raises(Refused, match=r"its certificate is not trusted \(self.signed certificate\); give the CA"):
            http(far).request("POST", "/x")
        named = http(far.address.replace("127.0.0.1", "localhost"), tls=ssl.create_default_context(cafile=ca))
        with pytest.raises(Refused, match=r"not trusted .*localhost"):
            named.request("POST", "/x")
        assert len(far.requests) == 2


def test_a_context_that_checks_no_name_is_obeyed(tmp_path: Path) -> None:
    context, ca = certificate(tmp_path)
    trust = ssl.create_default_context(cafile=ca)
    trust.check_hostname = False
    with FarSide(tls=context) as far:
        assert http(far.address.replace("127.0.0.1", "localhost"), tls=trust).request("GET", "/x").status == 200


def test_a_server_without_tls_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), daemon=True).start()
        client = http(f"https://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(Refused, match="does not speak TLS as we do"):
            client.request("GET", "/x")


def test_a_handshake_without_end_has_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotSent, match="timed out"):
        http(f"https://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2).request("POST", "/x")


def test_a_server_that_hangs_up_in_the_handshake_has_got_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        with pytest.raises(NotSent, match="does not answer"):
            http(f"https://127.0.0.1:{server.getsockname()[1]}").request("POST", "/x")


def test_tls_that_breaks_after_a_write_was_sent_leaves_it_maybe_done(tmp_path: Path) -> None:
    context, ca = certificate(tmp_path)
    with FarSide(hang_up, tls=context) as far, pytest.raises(MaybeDone):
        http(far, tls=ssl.create_default_context(cafile=ca)).request("POST", "/x")


# --- streams


def chunked(*pieces: bytes) -> list[bytes]:
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [SSE + b"Transfer-Encoding: chunked\r\n\r\n", *framed, b"0\r\n\r\n"]


LINES = [b"event: init\r\nda", b"ta: {}\n\n:", b" keep-alive\n\nevent: \xc3", b"\xa9\n"]
READ = ["event: init", "data: {}", "", ": keep-alive", "", "event: é"]


def test_a_stream_gives_its_lines_whole_wherever_the_segments_end(far: FarSide) -> None:
    far.reply = lambda _: chunked(*LINES)
    with http(far).stream("/watch?resource_type=virtual_network", silence=20) as lines:
        assert lines.status == 200
        assert list(lines) == READ
    assert far.requests[0].startswith(b"GET /watch?resource_type=virtual_network HTTP/1.1")
    assert b"Accept: text/event-stream" in far.requests[0]


def test_a_stream_that_ends_with_its_connection_is_whole(far: FarSide) -> None:
    def reply(_: bytes) -> Iterator[bytes]:
        yield from [SSE + b"\r\n", *LINES, b"rest"]
        raise Hangup

    far.reply = reply
    with http(far).stream("/watch", silence=20) as lines:
        assert list(lines) == [*READ, "rest"]


def test_a_line_comes_when_it_is_sent_and_not_when_a_buffer_is_full(far: FarSide) -> None:
    heard = threading.Event()

    def reply(_: bytes) -> Iterator[bytes]:
        for head in (SSE + b"\r\n",):
            yield head + b"one\n"
        assert heard.wait(20)
        yield b"two\n"
        raise Hangup

    far.reply = reply
    with http(far).stream("/watch", silence=20) as lines:
        each = iter(lines)
        assert next(each) == "one"
        heard.set()
        assert list(each) == ["two"]


def test_a_long_line_is_one_line(far: FarSide) -> None:
    far.reply = lambda _: chunked(*[b"x" * 50_000] * 40, b"\n")
    with http(far).stream("/watch", silence=20) as lines:
        assert list(lines) == ["x" * 2_000_000]


def test_a_stream_that_falls_silent_is_unreachable(far: FarSide) -> None:
    def reply(_: bytes) -> Iterator[bytes]:
        yield SSE + b"Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n"
        time.sleep(60)

    far.reply = reply
    with http(far).stream("/watch", silence=1.0) as lines:
        each = iter(lines)
        assert next(each) == "a"
        with pytest.raises(Unreachable, match="GET /watch broke off, it said nothing for too long"):
            next(each)


def test_a_stream_that_is_cut_off_is_no_end(far: FarSide) -> None:
    def reply(_: bytes) -> Iterator[bytes]:
        yield SSE + b"Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n"
        raise Hangup

    far.reply = reply
    with http(far).stream("/watch", silence=20) as lines:
        each = iter(lines)
        assert next(each) == "a"
        with pytest.raises(Unreachable, match="GET /watch broke off, the connection was cut"):
            next(each)


def test_a_stream_that_is_refused_has_a_status(far: FarSide) -> None:
    far.reply = lambda _: [ok(b"Not here", "404 Not Found")]
    with http(far).stream("/watch", silence=20) as lines:
        assert lines.status == 404
        assert list(lines) == ["Not here"]


def test_a_stream_of_something_else_is_no_text(far: FarSide) -> None:
    far.reply = lambda _: chunked(b"\xff\xfe\n")
    with http(far).stream("/watch", silence=20) as lines, pytest.raises(Unreachable, match="something else"):
        list(lines)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_stream_closed_by_another_thread_ends_for_its_reader(tmp_path: Path, secure: bool) -> None:
    def reply(_: bytes) -> Iterator[bytes]:
        yield SSE + b"Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n"
        time.sleep(60)

    context, ca = certificate(tmp_path) if secure else (None, None)
    with FarSide(reply, context) as far:
        client = http(far, tls=ssl.create_default_context(cafile=ca) if ca else None)
        lines = client.stream("/watch", silence=50)
        begun = threading.Event()

        def read() -> list[str]:
            found = []
            for line in lines:
                found.append(line)
                begun.set()
            return found

        with ThreadPoolExecutor(1) as threads:
            reader = threads.submit(read)
            assert begun.wait(20)
            time.sleep(0.1)  # it waits for the next line now
            lines.close()
            assert reader.result(20) == ["a"]
        lines.close()
        assert list(lines) == []


def test_streams_take_no_connection_from_requests(far: FarSide) -> None:
    far.reply = lambda request: chunked(b"a\n") if b"/watch" in request else [ok()]
    client = http(far, connections=1)
    with client.stream("/watch", silence=20), client.stream("/watch", silence=20):
        assert client.request("GET", "/x").status == 200


def test_no_connection_is_left_open_after_a_close(far: FarSide) -> None:
    client = http(far)
    client.request("GET", "/x")
    client.close()
    with pytest.raises(NotSent, match="hung up"):
        client.request("GET", "/x")
