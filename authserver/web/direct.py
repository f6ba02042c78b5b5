"""How the endpoints are served whose speed is what this product is for: without the framework.

An endpoint is one object with two doors: `answer()` may wait, for any WSGI server; `begin()` never does, for a server
with an event loop. Both say the same: no rule lives twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from authserver.protocol.render import Answer


@dataclass(frozen=True, slots=True)
class DirectRequest:
    """A complete HTTP request.

    `target` is the path with its query as sent, undecoded. `headers` are in the order sent, repeated ones too, names
    in lower case, values decoded as latin-1. `peer` is the address at the other end of the connection.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    peer: str | None


Again = Callable[[], Answer | None]
"""Returns the answer to the very same request, whoever sent it, without waiting; None when it has to be asked anew."""


class Exchange(Protocol):
    """What a server with an event loop offers for one request."""

    def reply(self, answer: Answer, again: Again | None = None) -> None:
        """Send the answer; once, from the loop's thread. `again` may be asked when the same request comes again."""

    def in_thread(self, work: Callable[[], Answer]) -> None:
        """Run what may wait in one of the server's threads, and reply with what it returns."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Run the callback in the loop's thread; may be called from any thread."""


class DirectEndpoint(Protocol):
    """One path's answers, all methods of it."""

    def begin(self, request: DirectRequest, exchange: Exchange) -> None:
        """See to it that the exchange is replied to, without waiting for anything; raises nothing."""

    def answer(self, request: DirectRequest) -> Answer:
        """Return the answer, after whatever waiting it takes; raises nothing."""
