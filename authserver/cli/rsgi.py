"""Stand between granian and the WSGI applications: read each body under a deadline, then give the request a thread.

A sender that is slow costs a coroutine and at most `BODY_BYTES` of memory, never one of the few threads (threat E12).
"""

import asyncio
import io
import secrets
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from granian.rsgi import HTTPProtocol, ProtocolClosed, ProtocolError, Scope  # type: ignore[attr-defined]

from authserver.errors import AuthServerError, BodyTooSlow
from authserver.protocol import render

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BODY_SECONDS = 5.0
"""How long a request may take to send its whole body."""

BODY_BYTES = 131_072
"""Most bytes of a body that are read; the applications' own limits are lower, so a longer one is answered by 413."""

_WHOLE_BYTES = 262_144  # an answer up to this size is sent as one piece

_log = structlog.get_logger("authserver.server")

Headers = list[tuple[str, str]]
Environ = dict[str, Any]


@dataclass
class _Answer:
    """What the application answered: complete, or with more to come from `rest`."""

    status: int = 500
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    rest: Iterator[bytes] | None = None


class Front:
    """An RSGI application over a WSGI one. `threads` requests are worked on at a time, the others wait."""

    def __init__(self, application: "WSGIApplication", *, threads: int, body_seconds: float = BODY_SECONDS) -> None:
        self._application, self._body_seconds = application, body_seconds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __call__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request."""
        headers = scope.headers.items()
        try:
            body = await self._body(headers, protocol)
        except TimeoutError:
            _refuse(BodyTooSlow(), scope.path, protocol)
            return
        except (ProtocolClosed, ProtocolError):
            return  # the caller has gone, or broke off in the middle: there is nobody to answer
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._answer, environ(scope, headers, body))
        await self._send(answer, protocol)

    async def _body(self, headers: Headers, protocol: HTTPProtocol) -> bytes:
        sent = dict(headers)
        declared = sent.get("content-length", "0")
        # What is declared as too long is not read: the application answers 413 by the declaration.
        if "transfer-encoding" not in sent and (declared == "0" or _exceeds(declared)):
            return b""
        return await asyncio.wait_for(_collected(protocol), self._body_seconds)

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

    async def _send(self, answer: _Answer, protocol: HTTPProtocol) -> None:
        if answer.rest is None:
            protocol.response_bytes(answer.status, answer.headers, answer.body)
            return
        loop = asyncio.get_running_loop()
        transport = protocol.response_stream(answer.status, answer.headers)
        piece: bytes | None = answer.body
        try:
            while piece is not None:
                await transport.send_bytes(piece)
                piece = await loop.run_in_executor(self._threads, next, answer.rest, None)
        except (ProtocolClosed, ProtocolError):
            await loop.run_in_executor(self._threads, _close, answer.rest)


def environ(scope: Scope, headers: Headers, body: bytes) -> Environ:
    """Return the WSGI environ (PEP 3333) of a request; nothing of the process's own environment is in it."""
    host, _, port = scope.server.rpartition(":")
    made: Environ = {
        # Methods are case-sensitive (RFC 9110 section 9.1), but the framework would read `post` as POST (threat G06).
        "REQUEST_METHOD": scope.method if scope.method.isupper() else "UNKNOWN",
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
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


def _exceeds(declared: str) -> bool:
    return declared.isdecimal() and int(declared) > BODY_BYTES


async def _collected(protocol: HTTPProtocol) -> bytes:
    body = bytearray()
    async for piece in protocol:
        body += piece
        if len(body) > BODY_BYTES:
            break
    return bytes(body)


def _closing(result: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a WSGI result, and close it at the end or when this iterator is closed."""
    try:
        yield from result
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()


def _close(pieces: Iterator[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _refuse(error: AuthServerError, path: str, protocol: HTTPProtocol) -> None:
    oauth = path.startswith(("/auth/", "/.well-known/"))
    answer = render.oauth_error(error) if oauth else render.operation_outcome(error)
    request_id = secrets.token_hex(8)
    _log.info("refused", request_id=request_id, status=answer.status, code=error.oauth_code, reason=error.reason)
    own = [("X-Request-Id", request_id), ("Connection", "close")]
    protocol.response_bytes(answer.status, [*answer.headers.items(), *own], answer.body)
