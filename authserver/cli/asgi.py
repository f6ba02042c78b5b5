"""A WSGI application behind an event loop: read each body under a deadline, then give the request a thread.

A sender that is slow costs a coroutine and at most `BODY_BYTES` of memory, never one of the few threads (threat E12).
Bodies that may be larger, those of FHIR resources, are read a few at a time.
"""

import asyncio
import io
import secrets
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from authserver.errors import AuthServerError, BodyTooSlow
from authserver.protocol import render

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope

BODY_SECONDS = 5.0
"""How long a request may take to send its whole body."""

BODY_BYTES = 131_072
"""Most bytes of a body that are read; the applications' own limits are lower, so a longer one is answered by 413."""

LARGE_SECONDS = 30.0
"""How long a large body may take, once it is its turn."""

LARGE_BODIES = 8
"""How many large bodies a process reads at once: this times the limit is what senders can make it hold."""

_WHOLE_BYTES = 262_144  # an answer up to this size is sent as one piece

_log = structlog.get_logger("authserver.server")

Headers = list[tuple[str, str]]
Environ = dict[str, Any]


class _Gone(Exception):
    """The caller broke off in the middle: there is nobody to answer."""


@dataclass
class _Answer:
    """What the application answered: complete, or with more to come from `rest`."""

    status: int = 500
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    rest: Iterator[bytes] | None = None


@dataclass(frozen=True, slots=True)
class LargeBodies:
    """Paths at and below `prefix` may have bodies of up to `limit` bytes."""

    prefix: str
    limit: int

    def limit_of(self, path: str) -> int:
        """Return how many bytes of the body are read for a path."""
        below = path == self.prefix or path.startswith(f"{self.prefix}/")
        return max(self.limit, BODY_BYTES) if below else BODY_BYTES


class Front:
    """An ASGI application over a WSGI one. Requests are worked on in `threads`; when all are busy, the others wait."""

    def __init__(
        self,
        application: "WSGIApplication",
        *,
        threads: Executor,
        body_seconds: float = BODY_SECONDS,
        large_bodies: LargeBodies | None = None,
    ) -> None:
        self._application, self._threads, self._body_seconds = application, threads, body_seconds
        self._large_bodies, self._turns = large_bodies, asyncio.Semaphore(LARGE_BODIES)

    async def __call__(self, scope: "HTTPScope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        """Answer one request."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        try:
            body = await self._body(scope["path"], headers, receive)
        except TimeoutError:
            await _refuse(BodyTooSlow(), scope["path"], send)
            return
        except _Gone:
            return
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._answer, environ(scope, headers, body))
        await self._send(answer, receive, send)

    async def _body(self, path: str, headers: Headers, receive: "ASGIReceiveCallable") -> bytes:
        limit = self._large_bodies.limit_of(path) if self._large_bodies is not None else BODY_BYTES
        sent = dict(headers)
        declared = sent.get("content-length", "0")
        # What is declared as too long is not read: the application answers 413 by the declaration.
        if "transfer-encoding" not in sent and (declared == "0" or exceeds(declared, limit)):
            return b""
        if limit > BODY_BYTES and ("transfer-encoding" in sent or exceeds(declared)):
            return await self._large_body(limit, receive)
        return await asyncio.wait_for(_collected(receive, BODY_BYTES), self._body_seconds)

    async def _large_body(self, limit: int, receive: "ASGIReceiveCallable") -> bytes:
        """Read a body that is large or may become so, when one of the few turns is free."""
        await asyncio.wait_for(self._turns.acquire(), self._body_seconds)
        try:
            return await asyncio.wait_for(_collected(receive, limit), LARGE_SECONDS)
        finally:
            self._turns.release()

    def _answer(self, environ: Environ) -> _Answer:
        answer = _Answer()

        def start(status: str, headers: Headers, _: object = None) -> Any:
            answer.status, answer.headers = int(status.partition(" ")[0]), headers
            return None

        pieces = _closing(self._application(environ, start))
        for piece in pieces:
            answer.body += piece
            if len(answer.body) > _WHOLE_BYTES:
                answer.rest = pieces
                break
        return answer

    async def _send(self, answer: _Answer, receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        await send(_start(answer.status, answer.headers))
        if answer.rest is None:
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
            return
        loop = asyncio.get_running_loop()
        piece: bytes | None = answer.body
        gone = asyncio.ensure_future(_gone(receive))  # whoever sends to a caller that has gone is not told
        try:
            while piece is not None and not gone.done():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await loop.run_in_executor(self._threads, next, answer.rest, None)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            await loop.run_in_executor(self._threads, _close, answer.rest)


def environ(scope: "HTTPScope", headers: Headers, body: bytes) -> Environ:
    """Return the WSGI environ (PEP 3333) of a request; nothing of the process's own environment is in it."""
    host, port = scope.get("server") or ("", None)
    query = scope["query_string"].decode("latin-1")
    raw_path = (scope.get("raw_path") or b"").decode("latin-1")
    made: Environ = {
        # Methods are case-sensitive (RFC 9110 section 9.1), but the framework would read `post` as POST (threat G06).
        "REQUEST_METHOD": scope["method"] if scope["method"].isupper() else "UNKNOWN",
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": f"{raw_path}?{query}" if query else raw_path,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    made.update(_variables(headers))
    if body:
        made["CONTENT_LENGTH"] = str(len(body))
    return made


def exceeds(declared: str, limit: int = BODY_BYTES) -> bool:
    """Say whether a Content-Length is more than is read of a body."""
    return declared.isdecimal() and int(declared) > limit


def _variables(headers: Headers) -> dict[str, str]:
    """Return the headers as CGI variables.

    A repeated header is joined by commas (RFC 9110 section 5.3), so that two credentials are one malformed one. A name
    with an underscore is left out: it would pass for another header.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if "_" in name or name == "transfer-encoding":
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


async def _collected(receive: "ASGIReceiveCallable", limit: int) -> bytes:
    body, more = bytearray(), True
    while more and len(body) <= limit:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        body += message["body"]
        more = message["more_body"]
    return bytes(body)


async def _gone(receive: "ASGIReceiveCallable") -> None:
    """Return when the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _closing(result: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a WSGI result, and close it at the end or when this iterator is closed."""
    try:
        yield from result
    finally:
        _close(result)


def _close(pieces: Iterable[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _start(status: int, headers: Headers) -> Any:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": encoded}


async def _refuse(error: AuthServerError, path: str, send: "ASGISendCallable") -> None:
    answer = refusal(error, path)
    length = ("Content-Length", str(len(answer.body)))
    await send(_start(answer.status, [*answer.headers.items(), length, ("Connection", "close")]))
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def refusal(error: AuthServerError, path: str) -> render.Answer:
    """Return the answer to a request that no application ever saw, logged under a request id of its own."""
    oauth = path.startswith(("/auth/", "/.well-known/"))
    answer = render.oauth_error(error) if oauth else render.operation_outcome(error)
    request_id = secrets.token_hex(8)
    _log.info("refused", request_id=request_id, status=answer.status, code=error.oauth_code, reason=error.reason)
    return render.Answer(answer.status, {**answer.headers, "X-Request-Id": request_id}, answer.body)
