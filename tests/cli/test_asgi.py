"""The part between the server and the applications, with callers that are played: threats E04, E12, F09, G06."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from authserver.cli.asgi import BODY_BYTES, LARGE_BODIES, Front, LargeBodies, environ

JSON = [("Content-Type", "application/json")]


@dataclass
class Caller:
    """A caller that sends `pieces`, then falls silent, closes, or is done; keeps what it is answered."""

    pieces: list[bytes] = field(default_factory=list)
    then: str = "done"
    leaves_after: int = 10**9
    read: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    parts: int = 0

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the body, or that the caller has gone."""
        if self.read < len(self.pieces):
            self.read += 1
            more = self.read < len(self.pieces) or self.then != "done"
            return {"type": "http.request", "body": self.pieces[self.read - 1], "more_body": more}
        if self.then == "silence":
            await asyncio.sleep(2)  # much longer than the deadline of the test
        while self.then != "close" and self.parts < self.leaves_after:
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take the head or a part of the answer; who has gone takes nothing, and nobody is told."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().title(): value.decode() for name, value in message["headers"]}
            return
        await asyncio.sleep(0.002)
        self.parts += 1
        if self.parts <= self.leaves_after:
            self.body += message["body"]


def scope(*headers: tuple[str, str], method: str = "POST", path: str = "/auth/token") -> Any:
    """Return what the server tells of a request."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"a=b",
        "http_version": "1.1",
        "server": ("127.0.0.1", 8080),
        "client": ("192.0.2.1", 5000),
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


def ask(application: Any, caller: Caller, *headers: tuple[str, str], seconds: float = 5.0, **request: str) -> Caller:
    """Send one request through a Front; return the caller with its answer."""
    with ThreadPoolExecutor(2) as threads:
        large = LargeBodies("/fhir", 3 * BODY_BYTES)
        front = Front(application, threads=threads, body_seconds=seconds, large_bodies=large)
        asyncio.run(front(scope(*headers, **request), caller.receive, caller.send))  # type: ignore[arg-type]
    return caller


def echo(environ: dict[str, Any], start: Any) -> list[bytes]:
    """Answer with the body that was sent, and its declared length."""
    start("200 OK", [*JSON, ("X-Length", environ.get("CONTENT_LENGTH", ""))])
    return [environ["wsgi.input"].read()]


def test_a_request_is_answered_with_what_the_application_says() -> None:
    caller = ask(echo, Caller([b"ab", b"cd"]), ("content-length", "4"))

    assert (caller.status, caller.headers["X-Length"], caller.body) == (200, "4", b"abcd")


def test_a_body_in_chunks_has_the_length_that_it_has() -> None:
    caller = ask(echo, Caller([b"ab", b"cd"]), ("transfer-encoding", "chunked"))

    assert (caller.headers["X-Length"], caller.body) == ("4", b"abcd")


@pytest.mark.parametrize(
    ("path", "kind"), [("/auth/token", "application/json"), ("/Client/x", "application/fhir+json; charset=utf-8")]
)
def test_a_body_that_does_not_come_is_408(path: str, kind: str) -> None:
    """E12: the application is not bothered, and the connection ends."""
    asked: list[Any] = []

    caller = ask(
        lambda *request: asked.append(request),
        Caller([b"a"], then="silence"),
        ("content-length", "9"),
        seconds=0.05,
        path=path,
    )

    assert (caller.status, caller.headers["Connection"], caller.headers["Content-Type"]) == (408, "close", kind)
    assert len(caller.headers["X-Request-Id"]) == 16
    assert asked == []


def test_a_body_declared_too_long_is_not_read() -> None:
    """E12: the application refuses it by its declaration."""
    caller = ask(echo, Caller([b"a"] * 5), ("content-length", str(BODY_BYTES + 1)))

    assert (caller.read, caller.headers["X-Length"], caller.body) == (0, str(BODY_BYTES + 1), b"")


def test_a_body_in_chunks_is_read_to_the_limit() -> None:
    """E12: one byte more than the limit is enough to refuse it."""
    caller = ask(echo, Caller([b"a" * BODY_BYTES, b"b", b"c"]), ("transfer-encoding", "chunked"))

    assert (caller.read, caller.headers["X-Length"]) == (2, str(BODY_BYTES + 1))


@pytest.mark.parametrize("header", [("content-length", str(2 * BODY_BYTES)), ("transfer-encoding", "chunked")])
@pytest.mark.parametrize(
    ("path", "whole"), [("/fhir", True), ("/fhir/Patient", True), ("/fhirs", False), ("/x", False)]
)
def test_large_bodies_are_read_below_the_prefix_alone(header: tuple[str, str], path: str, whole: bool) -> None:
    """E12, and FHIR resources of more than a form's size."""
    caller = ask(echo, Caller([b"a" * BODY_BYTES, b"b" * (BODY_BYTES - 1), b"c"]), header, path=path)

    assert (len(caller.body) == 2 * BODY_BYTES) is whole
    assert caller.headers["X-Length"] == str(2 * BODY_BYTES) or not whole


def test_a_body_above_the_large_limit_is_not_read() -> None:
    """E12."""
    declared = str(3 * BODY_BYTES + 1)
    refused = ask(echo, Caller([b"a"] * 5), ("content-length", declared), path="/fhir")
    chunks = [b"a" * BODY_BYTES] * 6
    cut = ask(echo, Caller(chunks), ("transfer-encoding", "chunked"), path="/fhir")

    assert (refused.read, refused.headers["X-Length"], refused.body) == (0, declared, b"")
    assert cut.headers["X-Length"] == str(4 * BODY_BYTES)


def test_only_a_few_large_bodies_are_read_at_once() -> None:
    """E12: the others wait for their turn, and are told when it does not come."""
    large = ("content-length", str(2 * BODY_BYTES))
    callers = [Caller([b"a"], then="silence") for _ in range(LARGE_BODIES)]
    last = Caller([b"a" * 2 * BODY_BYTES])

    async def all_at_once(front: Front) -> None:
        held = [asyncio.ensure_future(front(scope(large, path="/fhir"), c.receive, c.send)) for c in callers]  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        await front(scope(large, path="/fhir"), last.receive, last.send)  # type: ignore[arg-type]
        for task in held:
            task.cancel()

    with ThreadPoolExecutor(2) as threads:
        large_bodies = LargeBodies("/fhir", 3 * BODY_BYTES)
        asyncio.run(all_at_once(Front(echo, threads=threads, body_seconds=0.05, large_bodies=large_bodies)))

    assert (last.status, last.read, [caller.read for caller in callers]) == (408, 0, [1] * LARGE_BODIES)


def test_a_caller_that_has_gone_is_not_answered() -> None:
    caller = ask(echo, Caller([b"a"], then="close"), ("content-length", "9"))

    assert (caller.status, caller.body) == (0, b"")


def long_answer(closed: list[bool]) -> Any:
    """Return an application whose answer comes in many pieces, and which notes that it was closed."""

    def pieces() -> Iterator[bytes]:
        try:
            for _ in range(10):
                yield b"x" * 100_000
        finally:
            closed.append(True)

    def application(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        start("200 OK", JSON)
        return pieces()

    return application


def test_a_long_answer_is_sent_in_parts_and_closed() -> None:
    closed: list[bool] = []

    caller = ask(long_answer(closed), Caller())

    assert (len(caller.body), caller.parts, closed) == (1_000_000, 9, [True])


def test_a_long_answer_ends_when_the_caller_has_gone() -> None:
    closed: list[bool] = []

    caller = ask(long_answer(closed), Caller(leaves_after=2))

    assert (caller.parts < 6, closed) == (True, [True])


def test_the_environ_has_the_request_and_nothing_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """F08: no variable of this process reaches a request."""
    monkeypatch.setenv("AUTHSERVER_ROOT_SECRET", "canary")
    request = scope(("host", "x"), ("content-type", "text/plain"), ("accept", "a"), path="/é")

    made = environ(request, [("host", "x"), ("content-type", "text/plain"), ("accept", "a")], b"12")

    assert "canary" not in str(made)
    assert {name: made[name] for name in ("HTTP_HOST", "CONTENT_TYPE", "HTTP_ACCEPT", "CONTENT_LENGTH")} == {
        "HTTP_HOST": "x",
        "CONTENT_TYPE": "text/plain",
        "HTTP_ACCEPT": "a",
        "CONTENT_LENGTH": "2",
    }
    assert (made["PATH_INFO"].encode("latin-1").decode(), made["REMOTE_ADDR"]) == ("/é", "192.0.2.1")


def test_a_repeated_header_is_one_malformed_value() -> None:
    """F09: which of two credentials counts is never a question."""
    headers = [("authorization", "Bearer a"), ("authorization", "Basic b")]

    assert environ(scope(), headers, b"")["HTTP_AUTHORIZATION"] == "Bearer a,Basic b"


def test_a_name_with_an_underscore_is_left_out() -> None:
    """E04."""
    made = environ(scope(), [("x_forwarded_for", "evil"), ("x-forwarded-for", "good")], b"")

    assert made["HTTP_X_FORWARDED_FOR"] == "good"


@pytest.mark.parametrize(("method", "read"), [("POST", "POST"), ("post", "UNKNOWN"), ("Get", "UNKNOWN")])
def test_methods_are_case_sensitive(method: str, read: str) -> None:
    """G06."""
    assert environ(scope(method=method), [], b"")["REQUEST_METHOD"] == read
