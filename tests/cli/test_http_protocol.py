"""HTTP as the server speaks it, over real sockets, with endpoints that are played: threats E04, E11, E12, F09, G05."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from authserver.cli import http_protocol
from authserver.cli.asgi import BODY_BYTES, Front
from authserver.cli.http_protocol import HEADER_BYTES, Direct, Protocol, sweep
from authserver.cli.repeats import MAX_BYTES
from authserver.protocol.render import Answer, json_answer
from authserver.web.direct import DirectRequest, Exchange


@dataclass
class Echo:
    """A direct endpoint that answers with what it was sent; `later` answers from a thread or by a callback.

    While it is `repeating`, it answers the same request again without reading it.
    """

    later: str = ""
    repeating: bool = False
    repeated: int = 0
    seen: list[DirectRequest] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: DirectRequest) -> Answer:
        """Say what came."""
        return json_answer({"method": request.method, "target": request.target, "body": request.body.decode()})

    def begin(self, request: DirectRequest, exchange: Exchange) -> None:
        """Reply as told."""
        self.seen.append(request)
        if self.later == "thread":
            exchange.in_thread(lambda: self.answer(request))
        elif self.later == "held":
            exchange.in_thread(lambda: self.answer(request) if self.hold.wait(5) else Answer(500))
        elif self.later == "failing":
            exchange.in_thread(lambda: Answer(int("no number")))
        else:
            exchange.reply(self.answer(request), lambda: self._again(request))

    def _again(self, request: DirectRequest) -> Answer | None:
        self.repeated += self.repeating
        return self.answer(request) if self.repeating else None


def framework(environ: dict[str, Any], start: Any) -> list[bytes]:
    """The application behind the other paths."""
    time.sleep(0.2 if environ["PATH_INFO"] == "/slow" else 0)
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['PATH_INFO']} {environ['REQUEST_URI']} ".encode(), environ["wsgi.input"].read()]


@contextmanager
def speaking(endpoint: Echo) -> Iterator["tuple[int, ServerState, asyncio.AbstractEventLoop]"]:
    """Serve the endpoint at /auth/direct and the framework elsewhere, in a thread; yield the port."""
    loop, state, threads = asyncio.new_event_loop(), ServerState(), ThreadPoolExecutor(4)
    config = uvicorn.Config(
        Front(framework, threads=threads, body_seconds=0.3), log_config=None, log_level="error", lifespan="off"
    )  # type: ignore[arg-type]
    config.load()
    direct = Direct({b"/auth/direct": endpoint}, threads)
    listener = socket.create_server(("127.0.0.1", 0))

    async def serve() -> asyncio.Server:
        loop.create_task(sweep(state))
        return await loop.create_server(lambda: Protocol(config, state, {}, loop, direct=direct), sock=listener)

    server = loop.run_until_complete(serve())
    runner = threading.Thread(target=loop.run_forever)
    runner.start()
    try:
        yield listener.getsockname()[1], state, loop
    finally:
        endpoint.hold.set()
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_end(state), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        runner.join()
        loop.close()
        threads.shutdown()


async def _end(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.transport.abort()  # type: ignore[union-attr]
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def said(port: int, *pieces: bytes, pause: float = 0.0, until: bytes | None = None) -> bytes:
    """Send the pieces; return all that is answered until the server closes, or until these bytes came."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        answer = b""
        while until is None or until not in answer:
            try:
                more = connection.recv(65_536)
            except ConnectionResetError:
                break
            if not more:
                break
            answer += more
    return answer


def request(
    path: str = "/auth/direct", body: bytes = b"a=b", *headers: str, method: str = "POST", close: bool = True
) -> bytes:
    """Return a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, *(["Connection: close"] if close else []), "", ""]).encode() + body


def status(answer: bytes) -> int:
    """Return the status of an answer, 0 without one."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def content(answer: bytes) -> Any:
    """Return the JSON of an answer."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.fixture
def echo() -> Echo:
    """The direct endpoint."""
    return Echo()


@pytest.fixture
def port(echo: Echo) -> Iterator[int]:
    """The port of a server."""
    with speaking(echo) as (port, _, _):
        yield port


@pytest.mark.parametrize("later", ["", "thread"])
def test_a_direct_request_goes_to_its_endpoint(port: int, echo: Echo, later: str) -> None:
    echo.later = later

    answer = said(port, request("/auth/direct?x=%2F", b"a=b", "X-One: 1", "X-One: 2"))

    assert (status(answer), content(answer)) == (200, {"method": "POST", "target": "/auth/direct?x=%2F", "body": "a=b"})
    assert [pair for pair in echo.seen[0].headers if pair[0] == "x-one"] == [("x-one", "1"), ("x-one", "2")]
    assert echo.seen[0].peer == "127.0.0.1"


def test_every_other_path_goes_to_the_framework(port: int, echo: Echo) -> None:
    """G05: the framework is told the target as it was sent, escapes and all."""
    answer = said(port, request("/other%2Fpath?y=1"))

    assert b"/other/path /other%2Fpath?y=1 a=b" in answer
    assert echo.seen == []


def test_a_connection_serves_many_requests(port: int, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        answers = []
        for path in ("/auth/direct", "/other", "/auth/direct"):
            connection.sendall(request(path, close=False))
            answer = b""
            while not answer.endswith((b"}", b"0\r\n\r\n")):
                answer += connection.recv(65_536)
            answers.append(status(answer))

    assert answers == [200, 200, 200]


def test_a_body_may_come_in_pieces_and_in_chunks(port: int) -> None:
    whole = request(body=b"abcdef")
    head = b"POST /auth/direct HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunked = head + b"3\r\nabc\r\n0\r\n\r\n"

    assert content(said(port, whole[:20], whole[20:-3], whole[-3:], pause=0.01))["body"] == "abcdef"
    assert content(said(port, chunked))["body"] == "abc"


def test_expect_is_answered_before_the_body_is_awaited(port: int) -> None:
    head, body = (
        request(body=b"abc", close=True).replace(b"Host: h", b"Host: h\r\nExpect: 100-continue").split(b"\r\n\r\n")
    )

    answer = said(port, head + b"\r\n\r\n", body, pause=0.05)

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_head_gets_no_body_and_http_1_0_gets_the_end(port: int) -> None:
    head = said(port, request(method="HEAD", body=b""))
    old = said(port, b"POST /auth/direct HTTP/1.0\r\nContent-Length: 1\r\n\r\na")

    assert (status(head), head.endswith(b"\r\n\r\n")) == (200, True)
    assert (status(old), content(old)["body"], b"connection: close" in old) == (200, "a", True)


POST = b"POST /auth/direct HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        pytest.param("http_malformed", b"hello\r\n\r\n", id="no HTTP"),
        pytest.param("http_malformed", POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", id="two lengths"),
        pytest.param(
            "http_malformed",
            POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param("http_malformed", POST.lower().replace(b"http/", b"HTTP/") + b"\r\n", id="lower-case method"),
        pytest.param("http_malformed", POST + b"Content-Length : 1\r\n\r\na", id="a space before the colon"),
        pytest.param("several_hosts", POST + b"Host: i\r\nContent-Length: 1\r\n\r\na", id="two hosts"),
        pytest.param("head_too_large", POST + b"X: " + b"x" * HEADER_BYTES + b"\r\n\r\n", id="a huge head"),
    ],
)
def test_what_could_be_read_in_two_ways_is_400_and_ends_the_connection(
    port: int, echo: Echo, reason: str, sent: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """E12: request smuggling starts with two readings of one request."""
    answer = said(port, sent)

    assert (status(answer), b"connection: close" in answer, echo.seen) == (400, True, [])
    assert f"reason={reason}" in capsys.readouterr().out


def test_a_body_that_does_not_come_is_408(port: int, echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """E12: the endpoint is not bothered."""
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", 0.05)

    direct, other = said(port, request(body=b"ab")[:-1]), said(port, request("/auth/x", body=b"ab")[:-1])

    assert (status(direct), status(other), echo.seen) == (408, 408, [])


@pytest.mark.parametrize("sent", [b"", b"POST /auth/dir", b"POST /auth/direct HTTP/1.1\r\nHost"])
def test_a_head_that_does_not_come_ends_the_connection(
    echo: Echo, sent: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """E12: who says nothing is cut off without a word, who stops in the middle is told."""
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.05)

    with speaking(echo) as (port, _, _):
        answer = said(port, sent)

    assert status(answer) == (408 if sent else 0)
    assert ("reason=head_too_slow" in capsys.readouterr().out) == bool(sent)


def test_a_body_too_long_reaches_the_endpoint_cut(port: int, echo: Echo) -> None:
    """E12: declared too long, nothing of it; in chunks, a little over the limit. The endpoint refuses both."""
    said(port, request(body=b"")[:-4].replace(b"Content-Length: 0", b"Content-Length: 9999999") + b"\r\n\r\n")
    chunk = b"%x\r\n" % (BODY_BYTES // 2) + b"a" * (BODY_BYTES // 2) + b"\r\n"
    said(port, b"POST /auth/direct HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + 3 * chunk, until=b"}")

    lengths = [len(seen.body) for seen in echo.seen]
    assert lengths[0] == 0
    assert BODY_BYTES < lengths[1] <= 3 * BODY_BYTES // 2


def test_silent_senders_keep_nobody_waiting(port: int) -> None:
    """E12: 50 bodies that never come, on both ways, and 1,000 connections that say nothing."""
    started, silent = request(body=b"ab")[:-1], []
    try:
        for number in range(1_050):
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            silent.append(connection)
            if number < 50:
                connection.sendall(started if number % 2 else started.replace(b"/auth/direct", b"/auth/x"))

        begun = time.monotonic()
        answers = [status(said(port, request(path))) for path in ("/auth/direct", "/other")]

        assert (answers, time.monotonic() - begun < 2) == ([200, 200], True)
    finally:
        for connection in silent:
            connection.close()


def test_what_is_sent_before_the_answer_is_not_read(port: int, echo: Echo) -> None:
    """RFC 9112 section 9.3.2: the connection ends after the answer, so the client sends the rest again."""
    echo.later = "held"
    threading.Timer(0.1, echo.hold.set).start()

    answer = said(port, request(close=False) + request("/auth/direct", b"second", close=False))

    assert (answer.count(b"HTTP/1.1 200"), b"connection: close" in answer, len(echo.seen)) == (1, True, 1)


def test_the_same_request_is_answered_again_without_being_read(port: int, echo: Echo) -> None:
    """On any connection, between other requests; until the endpoint no longer says so."""
    echo.repeating = True
    same, other, elsewhere = (request(close=False), request(body=b"c=d", close=False), request("/x", close=False))

    first = one_by_one(port, same, other, same, elsewhere, same)
    second = one_by_one(port, same)
    echo.repeating = False
    third = one_by_one(port, same, same)

    bodies = [content(answer)["body"] for answer in (*first[:3], first[4], *second, *third)]
    assert bodies == ["a=b", "c=d", *["a=b"] * 5]
    assert (len(echo.seen), echo.repeated) == (4, 3)


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        ((request(close=False)[:-1], request(close=False)[-1:]), 1),
        ((request(close=False) + request(body=b"c=d", close=False),), 2),
        ((b"POST /auth/direct HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n",), 1),
        ((request("/auth/direct", b"a" * MAX_BYTES, close=False),), 1),
    ],
    ids=["in pieces", "with another", "in chunks", "long"],
)
def test_what_is_not_one_request_alone_is_read_each_time(
    port: int, echo: Echo, pieces: tuple[bytes, ...], answers: int
) -> None:
    echo.repeating = True

    for _ in range(2):
        whole = said(port, *pieces, request(), pause=0.05)
        assert whole.count(b"HTTP/1.1 200") == answers + 1

    assert (len(echo.seen), echo.repeated) == (2 * answers + 2, 0)


def test_a_repeated_request_waits_for_the_one_before_it(port: int, echo: Echo) -> None:
    """RFC 9112 section 9.3.2: answers come in the order of the requests."""
    echo.repeating = True
    one_by_one(port, request(close=False), request(close=False))

    answer = said(port, request("/slow", close=False), request(close=False), request(), pause=0.05)

    assert (echo.repeated, answer.index(b"/slow") < answer.index(b"/auth/direct")) == (1, True)
    assert answer.count(b"HTTP/1.1 200") == 3


def one_by_one(port: int, *requests: bytes) -> list[bytes]:
    """Send each request when the one before it is answered, on one connection; return the answers."""
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for one in requests:
            connection.sendall(one)
            answer = b""
            while not answer.endswith((b"}", b"0\r\n\r\n")):
                answer += connection.recv(65_536)
            found.append(answer)
    return found


def test_a_failing_endpoint_is_a_500_without_detail(port: int, echo: Echo) -> None:
    echo.later = "failing"

    answer = said(port, request())

    assert (status(answer), content(answer)["error"]) == (500, "server_error")
    assert b"no number" not in answer


def test_an_ending_server_answers_what_it_has_and_then_closes(echo: Echo) -> None:
    """No request is dropped: the one under way is answered, and one that comes on an idle connection is, too."""
    echo.later = "held"
    with speaking(echo) as (port, state, loop):
        busy, idle = (socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(2))
        busy.sendall(request(close=False))
        _until(lambda: len(echo.seen) == 1 and len(state.connections) == 2)
        loop.call_soon_threadsafe(lambda: [connection.shutdown() for connection in list(state.connections)])
        time.sleep(0.05)
        echo.hold.set()
        idle.sendall(request(close=False))
        answers = [busy.makefile("rb").read(), idle.makefile("rb").read()]
        busy.close()
        idle.close()

    assert [(status(answer), b"connection: close" in answer) for answer in answers] == [(200, True), (200, True)]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()
