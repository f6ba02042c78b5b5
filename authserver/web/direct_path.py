"""A path served without the framework: what its answers have in common with all others, and which thread makes them.

A view is tried at once, with what the process knows without asking. Whatever that cannot finish, refusals included,
is done again from the start where waiting is allowed, so each refusal has one place and takes its time (threat E07).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from authserver import clock
from authserver.errors import AuthServerError, BadRequest, ContentTooLarge, MethodNotAllowed
from authserver.protocol import canonical_path, render
from authserver.protocol.public_addresses import Address
from authserver.protocol.render import Answer
from authserver.services.audit_trail import AuditTrail
from authserver.services.metering import Meter
from authserver.services.receipts import Receipts
from authserver.web import errors
from authserver.web.direct import DirectEndpoint, DirectRequest, Exchange
from authserver.web.incoming import Incoming, of_direct

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OVERRIDES = frozenset(name.lower() for name in canonical_path.METHOD_OVERRIDES)

Finish = Callable[[], Answer]
"""Returns an answer that waited for something; raises AuthServerError."""


class View(Protocol):
    """What is said at one path, to POST alone."""

    def answer(self, request: Incoming, *, now: int) -> Answer:
        """Return the answer, after whatever waiting it takes; raises AuthServerError."""

    def begin(self, request: Incoming, *, now: int, later: "Later") -> Answer | None:
        """Return the answer without waiting; None when `later` will be told what to do.

        Raises NotAtHand or AuthServerError for whatever answer() is to do.
        """


Still = Callable[[int], Answer | None]
"""Returns what was answered if it still holds at this moment (epoch seconds), or None; raises as View.begin() does."""


class Later(Protocol):
    """How a view goes on when what it waits for has come, or the same request once more."""

    still: Still | None
    """What the view sets where its answer depends on nothing but the bytes of the request."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Run the callback in the loop's thread; may be called from any thread."""

    def finish(self, finish: Finish) -> None:
        """Send the answer that this makes; in the loop's thread."""

    def finish_in_thread(self, finish: Finish) -> None:
        """Send the answer that this makes where waiting is allowed; in the loop's thread."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the answers of all direct paths have in common. `max_body` in bytes."""

    receipts: Receipts
    meter: Meter
    proxies: frozenset[Address]
    https: bool
    max_body: int
    audit: AuditTrail


class DirectPath:
    """A DirectEndpoint over one view."""

    def __init__(self, path: str, view: View, surroundings: Surroundings) -> None:
        self._path, self._view, self._use = path, view, surroundings
        self._own_headers = errors.own_headers(https=surroundings.https)

    def begin(self, request: DirectRequest, exchange: Exchange) -> None:
        """See to it that the exchange is replied to, without waiting for anything; raises nothing."""
        visit = _Visit(errors.new_request_id(), clock.ticks())
        later = _Later(self, request, exchange, visit)
        try:
            answer = self._view.begin(self._incoming(request, visit), now=clock.now(), later=later)
        except Exception:  # noqa: BLE001 -- refused, not at hand or unforeseen: the thread finds it again and says it
            self._use.meter.cache("at_hand", hit=False)
            exchange.in_thread(partial(self.made, partial(self._ask, request, visit), visit))
            return
        self._use.meter.cache("at_hand", hit=True)
        if answer is not None:
            exchange.reply(self._finished(answer, visit), partial(self._again, later.still) if later.still else None)

    def _again(self, still: Still) -> Answer | None:
        started = clock.ticks()
        try:
            answer = still(clock.now())
        except Exception:  # noqa: BLE001 -- the request is read and asked anew, and refused there
            return None
        if answer is None:
            return None
        self._use.meter.cache("at_hand", hit=True)
        return self._finished(answer, _Visit(errors.new_request_id(), started))

    def answer(self, request: DirectRequest) -> Answer:
        """Return the answer, after whatever waiting it takes; raises nothing."""
        visit = _Visit(errors.new_request_id(), clock.ticks())
        return self.made(partial(self._ask, request, visit), visit)

    def _ask(self, request: DirectRequest, visit: "_Visit") -> Answer:
        return self.recorded(lambda: self._view.answer(self._incoming(request, visit), now=clock.now()), request)

    def recorded(self, finish: Finish, request: DirectRequest) -> Answer:
        """Finish where waiting is allowed: what is refused is recorded before its answer goes out."""
        try:
            return finish()
        except AuthServerError as error:
            source = of_direct(request, proxies=self._use.proxies, read_body=bytes, request_id="").source
            self._use.audit.refused(error, path=self._path, now=clock.now(), source=source)
            raise

    def _incoming(self, request: DirectRequest, visit: "_Visit") -> Incoming:
        incoming = of_direct(
            request,
            proxies=self._use.proxies,
            read_body=lambda: self._body(request, incoming.header("content-length") or ""),
            request_id=visit.request_id,
        )
        if request.target != self._path:  # which is canonical
            canonical_path.check(incoming.path, raw_target=request.target)
        if incoming.has_any(_OVERRIDES):
            raise BadRequest("Method override headers are not accepted.", reason="method_override")
        if incoming.method != "POST":
            raise MethodNotAllowed("POST")
        return incoming

    def _body(self, request: DirectRequest, declared: str) -> bytes:
        # A server does not read what is declared as too long; then the declaration is all there is of it.
        if len(request.body) > self._use.max_body or (declared.isdecimal() and int(declared) > self._use.max_body):
            raise ContentTooLarge
        return request.body

    def made(self, finish: Finish, visit: "_Visit") -> Answer:
        """Return the answer that this makes, a refusal if it raises."""
        errors.carry(visit.request_id)
        try:
            return self._finished(finish(), visit)
        except AuthServerError as error:
            return self._refused(error, visit)
        except Exception as error:  # noqa: BLE001 -- the last door: logged with its trace, told as a bare 500
            return self._refused(errors.unforeseen(error), visit)

    def _refused(self, error: AuthServerError, visit: "_Visit") -> Answer:
        answer = errors.refusal(error, self._path)
        self._use.receipts.note(error, request_id=visit.request_id, path=self._path, now=clock.now())
        return self._finished(answer, visit, reason=error.reason)

    def _finished(self, answer: Answer, visit: "_Visit", *, reason: str | None = None) -> Answer:
        headers = {**answer.headers, errors.REQUEST_ID: visit.request_id, **self._own_headers}
        seconds = clock.ticks() - visit.started
        self._use.meter.request(self._path, "POST", answer.status, reason, seconds)
        return Answer(answer.status, headers, answer.body)


@dataclass(frozen=True, slots=True)
class _Visit:
    """One request under way; `started` in seconds of the performance counter."""

    request_id: str
    started: float


class _Later:
    """Later for one request; see the port."""

    __slots__ = ("_exchange", "_path", "_request", "_visit", "soon", "still")

    def __init__(self, path: DirectPath, request: DirectRequest, exchange: Exchange, visit: _Visit) -> None:
        self._path, self._request, self._exchange, self._visit = path, request, exchange, visit
        self.soon = exchange.soon
        self.still: Still | None = None

    def finish(self, finish: Finish) -> None:
        self._exchange.reply(self._path.made(finish, self._visit))

    def finish_in_thread(self, finish: Finish) -> None:
        recorded = partial(self._path.recorded, finish, self._request)
        self._exchange.in_thread(partial(self._path.made, recorded, self._visit))


class DirectPaths:
    """WSGI: what is served without the framework there too, and the framework's application for the rest."""

    def __init__(self, application: "WSGIApplication", endpoints: Mapping[str, DirectEndpoint]) -> None:
        self._application, self._endpoints = application, endpoints

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        endpoint = self._endpoints.get(cast("str", environ.get("PATH_INFO", "")))
        if endpoint is None:
            return self._application(environ, start_response)
        answer = endpoint.answer(_request(environ))
        headers = [*answer.headers.items(), ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {render.phrase(answer.status)}", headers)
        return [answer.body]


def _request(environ: "WSGIEnvironment") -> DirectRequest:
    path, query = environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", "")
    target = environ.get("REQUEST_URI") or environ.get("RAW_URI") or path + (f"?{query}" if query else "")
    headers = [
        (name.removeprefix("HTTP_").replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    ]
    return DirectRequest(environ["REQUEST_METHOD"], target, headers, _body(environ), environ.get("REMOTE_ADDR"))


def _body(environ: "WSGIEnvironment") -> bytes:
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get("wsgi.input_terminated"):
        return cast("bytes", environ["wsgi.input"].read(_MOST + 1))
    return cast("bytes", environ["wsgi.input"].read(min(int(length), _MOST + 1))) if length.isdecimal() else b""


_MOST = 131_072
