"""What every answer has, errors included: a request id, no caching, one rendering of each error by its path."""

import secrets
from collections.abc import Callable

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound

from authserver.errors import (
    AuthServerError,
    BadRequest,
    ContentTooLarge,
    MethodNotAllowed,
    NotFound,
    UnexpectedError,
)
from authserver.protocol import canonical_path, render
from authserver.protocol.render import Answer

REQUEST_ID = "X-Request-Id"
_log = structlog.get_logger("authserver.web")


def respond(answer: Answer) -> Response:
    """Return a Flask response for a complete answer."""
    return Response(answer.body, status=answer.status, headers=answer.headers)


def install(app: Flask, *, https: bool) -> None:
    """Give the application its request ids, headers and error rendering. `https`: say HSTS."""
    app.before_request(_begin)
    app.after_request(_finisher(https))
    app.register_error_handler(AuthServerError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _unexpected)


def new_request_id() -> str:
    """Return the id of a request that begins now, and let every log line of this thread carry it."""
    request_id = secrets.token_hex(8)
    carry(request_id)
    return request_id


def carry(request_id: str) -> None:
    """Let every log line of this thread carry this request id from now on."""
    structlog.contextvars.bind_contextvars(request_id=request_id)


def own_headers(*, https: bool) -> dict[str, str]:
    """Return the headers that every answer has, but for its request id."""
    headers = dict(render.NO_PAGE)
    return headers | {"Strict-Transport-Security": "max-age=31536000"} if https else headers


def refusal(error: AuthServerError, path: str) -> Answer:
    """Log the private side of the error under the request id; return the public side in the format of the path."""
    write = _log.error if error.status >= 500 else _log.info
    write("refused", status=error.status, code=error.oauth_code, reason=error.reason, detail=error.detail)
    # The one path below /auth that takes a resource tells of its faults as the registry does, each with its place.
    oauth = path.startswith(("/auth/", "/.well-known/")) and path != "/auth/test-policy"
    return render.oauth_error(error) if oauth else render.operation_outcome(error)


def unforeseen(error: Exception) -> UnexpectedError:
    """Log what nobody foresaw, with its trace; return what the caller is told of it."""
    _log.exception("unexpected", exc_info=error)
    return UnexpectedError(detail=type(error).__name__)


def _begin() -> None:
    structlog.contextvars.clear_contextvars()
    g.request_id = new_request_id()
    canonical_path.check(request.path, raw_target=request.environ.get("REQUEST_URI") or request.environ.get("RAW_URI"))
    if any(name in request.headers for name in canonical_path.METHOD_OVERRIDES):
        raise BadRequest("Method override headers are not accepted.", reason="method_override")


def _finisher(https: bool) -> Callable[[Response], Response]:
    own = own_headers(https=https)

    def finish(response: Response) -> Response:
        headers = response.headers
        headers[REQUEST_ID] = g.request_id
        headers.update(own)
        if "Cache-Control" not in headers:
            headers.update(render.NO_STORE)
        return response

    return finish


def _refuse(error: AuthServerError) -> Response:
    g.refusal = error
    return respond(refusal(error, request.path))


def _refuse_http(error: HTTPException) -> Response:
    if isinstance(error, WerkzeugNotFound):
        return _refuse(NotFound(detail="no such path"))
    if isinstance(error, WerkzeugMethodNotAllowed):
        return _refuse(MethodNotAllowed(", ".join(sorted(error.valid_methods or ()))))
    if isinstance(error, RequestEntityTooLarge):
        return _refuse(ContentTooLarge())
    return _refuse(BadRequest(detail=str(error)[:200]))


def _unexpected(error: Exception) -> Response:
    return _refuse(unforeseen(error))
