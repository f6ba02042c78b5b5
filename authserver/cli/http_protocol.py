"""HTTP/1.1 as uvicorn speaks it, with limits on what a sender may take, and a short way for the direct endpoints.

A direct request goes from the parser to its endpoint and from there to the socket: no task, no scope, no framework.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from authserver.cli.asgi import BODY_BYTES, BODY_SECONDS, exceeds, refusal
from authserver.cli.repeats import Repeats, is_whole
from authserver.errors import BadRequest, BodyTooSlow, UnexpectedError
from authserver.protocol.render import Answer
from authserver.web.direct import Again, DirectEndpoint, DirectRequest

HEADER_SECONDS = 10.0
"""How long a sender may take for the head of a request, from its first byte or from the connection."""

HEADER_BYTES = 65_536
"""Most bytes of a request's head."""

KEEP_ALIVE_SECONDS = 75.0
"""How long a connection may be idle between two requests."""

DRAIN_SECONDS = 2.0
"""How long an idle connection is still listened to when the worker ends: who sends just then gets an answer."""

SWEEP_SECONDS = 0.5

_log = structlog.get_logger("authserver.server")


@dataclass(frozen=True, slots=True)
class Direct:
    """What a worker serves without the framework. `threads` are for what may wait."""

    endpoints: Mapping[bytes, DirectEndpoint]
    threads: Executor
    repeats: Repeats = field(default_factory=Repeats)


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        direct: Direct,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._direct = direct
        self._deadline: float | None = None  # of the loop's clock; None while a request is worked on
        self._head_bytes: int | None = 0  # None while no head is read
        self._endpoint: DirectEndpoint | None = None
        self._body = bytearray()
        self._exchange: _Exchange | None = None
        self._first: bytes | None = None  # what came first of a request; None when that was not all
        self._deaf = self._ends = False

    # What uvicorn's connection does, under limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + HEADER_SECONDS

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._deaf:
            return
        if self._head_bytes != 0:
            self._first = None
        elif self._is_said_again(data):
            return
        else:
            self._first, self._deadline = data, self.loop.time() + HEADER_SECONDS
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEADER_BYTES + BODY_BYTES:
                self._turn_away(_too_large())
                return
        super().data_received(data)

    def _is_said_again(self, data: bytes) -> bool:
        """Answer a request that is known to the byte, where the connection is at the beginning of one."""
        if self._exchange is not None or (self.cycle is not None and not self.cycle.response_complete):
            return False
        answer = self._direct.repeats.answer(data)
        if answer is None:
            return False
        self.answer(answer, head_only=False, keep_alive=True)
        return True

    def on_message_begin(self) -> None:
        """Begin a request; one that is sent before the answer to a direct one is not read (RFC 9112 section 9.3.2)."""
        if self._exchange is not None:
            self._deaf = self._ends = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Choose the way of the request."""
        if self._deaf:
            return
        received, self._head_bytes, self._deadline = self._head_bytes or 0, None, None
        if not 0 < received <= HEADER_BYTES and self._head_size() > HEADER_BYTES:
            self._turn_away(_too_large())
            return
        if [name for name, _ in self.headers].count(b"host") > 1:
            # RFC 9112 section 3.2: whose request it is would depend on who reads it.
            self._turn_away(BadRequest("There must be one Host header.", reason="several_hosts"))
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        self._endpoint = None if busy else self._direct.endpoints.get(self.url.partition(b"?")[0])
        if self._endpoint is None:
            super().on_headers_complete()
            return
        self._await_body()

    def _head_size(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._deaf:
            return
        if self._endpoint is None:
            super().on_body(body)
            return
        self._body += body
        if len(self._body) > BODY_BYTES:
            self._hear_no_more()

    def on_message_complete(self) -> None:
        """Let a complete request be answered."""
        if self._deaf:
            return
        if self._endpoint is None:
            self._head_bytes = 0
            super().on_message_complete()
            return
        self._begin(self._endpoint)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the sweep looks after idle connections
        self._idle()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._turn_away(BadRequest(msg, reason="http_malformed"))

    def shutdown(self) -> None:
        """End after the request under way, or after the one that is being sent just now."""
        self._ends = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self._exchange is None:
            self._deadline = min(self._deadline or float("inf"), self.loop.time() + DRAIN_SECONDS)

    def overdue(self, now: float) -> None:
        """Cut off a sender that takes too long; called by the sweep."""
        if self._deadline is None or now < self._deadline or self.transport.is_closing():
            return
        if self._endpoint is not None:
            self._turn_away(BodyTooSlow())
        elif self._head_bytes:
            self._turn_away(BodyTooSlow("The head of the request came too slowly.", reason="head_too_slow"))
        else:
            self.transport.close()

    # Direct requests

    def _await_body(self) -> None:
        self._body = bytearray()
        declared = next((value for name, value in self.headers if name == b"content-length"), b"0").decode("latin-1")
        if exceeds(declared):
            self._hear_no_more()  # the endpoint answers 413 by the declaration
            return
        self._deadline = self.loop.time() + BODY_SECONDS
        if self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hear_no_more(self) -> None:
        endpoint = self._endpoint
        self._deaf = self._ends = True
        if endpoint is not None:
            self._begin(endpoint)

    def _begin(self, endpoint: DirectEndpoint) -> None:
        self._deadline = None
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]
        method = self.parser.get_method().decode("ascii")
        peer = self.client[0] if self.client else None
        body, keep_alive = bytes(self._body), self.parser.should_keep_alive()
        alone = self._first if keep_alive and self._first and is_whole(self._first, body=body) else None
        self._exchange = _Exchange(self, method, keep_alive=keep_alive, alone=alone)
        endpoint.begin(DirectRequest(method, self.url.decode("latin-1"), headers, body, peer), self._exchange)

    def answer(self, answer: Answer, *, head_only: bool, keep_alive: bool) -> None:
        """Write a whole answer in one piece; called by the exchange."""
        self._exchange = self._endpoint = None
        if self.transport is None or self.transport.is_closing():
            return
        keep_alive = keep_alive and not self._ends
        head = self._head(answer, keep_alive=keep_alive)
        self.transport.write(head if head_only else head + answer.body)
        self.server_state.total_requests += 1
        if not keep_alive:
            self.transport.close()
            return
        self._idle()

    def _head(self, answer: Answer, *, keep_alive: bool) -> bytes:
        ours = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        lines = [f"{name}: {value}\r\n" for name, value in answer.headers.items()]
        lines.append(f"content-length: {len(answer.body)}\r\n")
        lines.append("\r\n" if keep_alive else "connection: close\r\n\r\n")
        return b"".join([STATUS_LINE[answer.status], *ours, "".join(lines).encode("latin-1")])

    def _idle(self) -> None:
        if self._ends:
            self.transport.close()
            return
        self._head_bytes, self._deadline = 0, self.loop.time() + KEEP_ALIVE_SECONDS

    def _turn_away(self, error: Any) -> None:
        """Answer what gets no further, and end the connection."""
        self._deaf = self._ends = True
        url = getattr(self, "url", b"") or b"/auth/"
        self.answer(refusal(error, url.decode("latin-1")), head_only=False, keep_alive=False)


class _Exchange:
    """One direct request on a connection; see web.direct."""

    __slots__ = ("_alone", "_connection", "_head_only", "_keep_alive", "_loop")

    def __init__(self, connection: Protocol, method: str, *, keep_alive: bool, alone: bytes | None) -> None:
        self._connection: Protocol | None = connection
        self._alone = alone  # the request to the byte, where it can come again like that
        self._loop = connection.loop
        self._head_only, self._keep_alive = method == "HEAD", keep_alive

    def reply(self, answer: Answer, again: Again | None = None) -> None:
        """Send the answer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if again is not None and self._alone is not None:
                connection._direct.repeats.keep(self._alone, again)
            connection.answer(answer, head_only=self._head_only, keep_alive=self._keep_alive)

    def in_thread(self, work: Callable[[], Answer]) -> None:
        """Run the work in a thread and send what it returns."""
        if self._connection is not None:
            threads = self._connection._direct.threads
            self._loop.run_in_executor(threads, work).add_done_callback(self._worked)

    def soon(self, callback: Callable[[], None]) -> None:
        """Run the callback in the loop's thread."""
        self._loop.call_soon_threadsafe(callback)

    def _worked(self, future: "asyncio.Future[Answer]") -> None:
        error = future.exception()
        if error is not None:
            _log.error("unexpected", exc_info=error)
            self.reply(refusal(UnexpectedError(detail=type(error).__name__), "/auth/"))
            return
        self.reply(future.result())


def _too_large() -> BadRequest:
    return BadRequest("The head of the request is too large.", reason="head_too_large")


async def sweep(server_state: ServerState) -> None:
    """Cut off overdue connections, for ever: one timer for all of them instead of several for each request."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for connection in list(server_state.connections):
            if isinstance(connection, Protocol):
                connection.overdue(now)
