"""GET /auth/verify: forward-auth for nginx, Traefik, Caddy and Envoy. A proxy gets 200, 401 or 403, never a riddle."""

import re
from dataclasses import replace

from flask import Blueprint, Response, g, request

from authserver import clock
from authserver.errors import AuthServerError, BadRequest, InsufficientScope, InvalidToken, TokenRequired
from authserver.protocol import forwarded_request, render
from authserver.protocol.forwarded_request import ForwardedRequest
from authserver.services.forward_auth import ForwardAuth
from authserver.web.callers import presented_token
from authserver.web.errors import respond
from authserver.web.incoming import of_framework

REALM = 'Bearer realm="authserver"'
_PREFIX = "/auth/verify"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_PASSED = (200, 401, 403)
_JOINED = re.compile(r",\s*/")


def verify_blueprint(forward_auth: ForwardAuth) -> Blueprint:
    """Return the endpoint. The request that is judged stands in X-Forwarded-Method and X-Forwarded-Uri (nginx,
    Traefik, Caddy), or behind the endpoint's own path (Envoy's ext_authz with a path prefix)."""
    blueprint = Blueprint("verify", __name__)

    @blueprint.get(_PREFIX)
    def by_headers() -> Response:
        return _answer(forward_auth, _from_headers())

    # No redirect to the spelling with a slash: its address would be made of the caller's own Host header (E13).
    @blueprint.route(f"{_PREFIX}/", methods=_METHODS, defaults={"rest": ""}, strict_slashes=False)
    @blueprint.route(f"{_PREFIX}/<path:rest>", methods=_METHODS)
    def by_path(rest: str) -> Response:
        query = request.query_string.decode("latin-1")
        return _answer(forward_auth, forwarded_request.parse(request.method, f"/{rest}?{query}"))

    @blueprint.after_request
    def deny(response: Response) -> Response:
        # To nginx any other status is a fault of ours and becomes a 500; a bad request is a refusal like others.
        if response.status_code < 500 and response.status_code not in _PASSED:
            response.status_code = 403
        return response

    return blueprint


def _from_headers() -> ForwardedRequest:
    methods, targets = (request.headers.getlist(f"X-Forwarded-{name}") for name in ("Method", "Uri"))
    # Servers join repeated headers with a comma, so a target that a proxy added to the caller's own begins behind one.
    if len(methods) != 1 or len(targets) != 1 or _JOINED.search(targets[0]):
        raise BadRequest(
            "The proxy must send X-Forwarded-Method and X-Forwarded-Uri, once each.", reason="forwarded_request"
        )
    return forwarded_request.parse(methods[0], targets[0])


def _whole(described: ForwardedRequest) -> ForwardedRequest:
    """Add what the proxy passes on of the client's request beside method and target."""
    incoming = of_framework(request)
    return replace(described, headers=incoming.headers(), remote_addr=incoming.source)


def _answer(forward_auth: ForwardAuth, described: ForwardedRequest) -> Response:
    token = presented_token(of_framework(request))
    if token is None:
        raise TokenRequired(detail="forward-auth without a bearer token", headers={"WWW-Authenticate": REALM})
    try:
        verified = forward_auth.verify(token, _whole(described), now=clock.now(), request_id=g.request_id)
    except (InvalidToken, InsufficientScope) as error:
        raise _in_our_realm(error) from error
    response = respond(render.json_answer({}))
    response.headers.update(
        {
            "X-Auth-Client": verified.client_id,
            "X-Auth-Scope": verified.scope,
            "X-Auth-Tenant": verified.tenant,
            "X-Auth-Jti": verified.jti,
        }
    )
    return response


def _in_our_realm(error: AuthServerError) -> AuthServerError:
    error.headers["WWW-Authenticate"] = error.headers["WWW-Authenticate"].replace('realm="fhir"', 'realm="authserver"')
    return error
