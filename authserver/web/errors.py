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


def _begin() -> None:
    g.request_id = secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    canonical_path.check(request.path, raw_target=request.environ.get("REQUEST_URI") or request.environ.get("RAW_URI"))
    if any(name in request.headers for name in canonical_path.METHOD_OVERRIDES):
        raise BadRequest("Method override headers are not accepted.", reason="method_override")


def _finisher(https: bool) -> Callable[[Response], Response]:
    def finish(response: Response) -> Response:
        headers = response.headers
        headers[REQUEST_ID] = g.request_id
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        if https:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        if "Cache-Control" not in headers:
            headers.update(render.NO_STORE)
        return response

    return finish


def _refuse(error: AuthServerError) -> Response:
    """Log the private side of the error under the request id; answer with the public side."""
    g.refusal = error
    write = _log.error if error.status >= 500 else _log.info
    write("refused", status=error.status, code=error.oauth_code, reason=error.reason, detail=error.detail)
    oauth = request.path.startswith(("/auth/", "/.well-known/"))
    return respond(render.oauth_error(error) if oauth else render.operation_outcome(error))


def _refuse_http(error: HTTPException) -> Response:
    if isinstance(error, WerkzeugNotFound):
        return _refuse(NotFound(detail="no such path"))
    if isinstance(error, WerkzeugMethodNotAllowed):
        return _refuse(MethodNotAllowed(", ".join(sorted(error.valid_methods or ()))))
    if isinstance(error, RequestEntityTooLarge):
        return _refuse(ContentTooLarge())
    return _refuse(BadRequest(detail=str(error)[:200]))


def _unexpected(error: Exception) -> Response:
    _log.exception("unexpected", exc_info=error)
    return _refuse(UnexpectedError(detail=type(error).__name__))
