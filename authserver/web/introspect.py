"""POST /auth/introspect (RFC 7662, RFC 9701) and POST /auth/revoke (RFC 7009)."""

from typing import Any

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import InsufficientScope, InvalidClient, InvalidRequest, LoginRequired
from authserver.protocol import render, signed_introspection, strict_json
from authserver.protocol.policy import PolicyRequest
from authserver.protocol.scopes import INTROSPECT
from authserver.protocol.token_request import KNOWN_PARAMETERS, single_values
from authserver.services.authorization import Authorization
from authserver.services.token_introspection import TokenIntrospection
from authserver.web.callers import caller_of
from authserver.web.errors import respond
from authserver.web.forms import form_pairs

_PARAMETERS = KNOWN_PARAMETERS | {"token", "token_type_hint", "request"}


def introspection_blueprint(introspection: TokenIntrospection, authorization: Authorization) -> Blueprint:
    """Return the endpoints that speak about a token which somebody holds."""
    blueprint = Blueprint("introspection", __name__)

    @blueprint.post("/auth/introspect")
    def introspect() -> Response:
        now, form = clock.now(), single_values(form_pairs(request), known=_PARAMETERS)
        signed = _wants_jwt()
        if signed and "Authorization" not in request.headers and "client_assertion" not in form:
            # RFC 9701 section 5: a signed answer names its caller, so without one the request is a 400.
            raise InvalidClient(detail="a signed answer was asked for without credentials", reason="login_required")
        caller = caller_of(request, authorization, now=now, form=form)
        try:
            authorization.require_name(caller, _own("auth-introspect"), scope=INTROSPECT)
        except InsufficientScope as error:
            # RFC 7662 section 2.3: a bearer token with too little privilege is a 401.
            raise LoginRequired(detail=error.detail, reason=error.reason) from error
        described = _described_request(form)
        answer = introspection.introspect(_token(form), caller=caller.client, request=described, now=now)
        if not signed:
            return respond(render.json_answer(answer))
        jwt = introspection.signed(answer, caller=caller.client, now=now)
        return respond(render.text_answer(jwt, media_type=signed_introspection.MEDIA_TYPE))

    @blueprint.post("/auth/revoke")
    def revoke() -> Response:
        now, form = clock.now(), single_values(form_pairs(request), known=_PARAMETERS)
        caller = caller_of(request, authorization, now=now, form=form)
        # RFC 7009 section 2.1: a client revokes its own tokens; only an operator revokes another's.
        operator = authorization.is_operator(caller, _own("auth-revoke"))
        introspection.revoke(_token(form), owner=None if operator else caller.client, now=now)
        return respond(render.json_answer({}))

    return blueprint


def _wants_jwt() -> bool:
    """Say whether the Accept header prefers the signed answer to the plain one; a wildcard does not."""
    accepted = request.accept_mimetypes
    named = any(value.lower() == signed_introspection.MEDIA_TYPE for value, _ in accepted)
    return named and accepted[signed_introspection.MEDIA_TYPE] >= max(accepted[render.JSON], 0.001)


def _own(interaction: str) -> PolicyRequest:
    return PolicyRequest(method=request.method, path=request.path, interaction=interaction)


def _token(form: dict[str, str]) -> str:
    if not form.get("token"):
        raise InvalidRequest("The parameter token is missing.", reason="token_missing")
    return form["token"]


def _described_request(form: dict[str, str]) -> PolicyRequest | None:
    """Read the parameter `request`: the JSON description of what the caller is about to serve."""
    if "request" not in form:
        return None
    try:
        described = strict_json.loads(form["request"].encode("utf-8"))
        return _policy_request(described)
    except (strict_json.MalformedJson, TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidRequest("The parameter request is not a description of a request.") from error


def _policy_request(described: dict[str, Any]) -> PolicyRequest:
    names = {name: described.get(name) for name in ("interaction", "resource_type", "resource_id")}
    parameters = tuple((name, value) for name, value in described.get("parameters", []))
    texts = [described["method"], described["path"], *(text for pair in parameters for text in pair)]
    if not all(isinstance(text, str) for text in [*texts, *(x for x in names.values() if x is not None)]):
        raise ValueError("every part of the description is text")
    return PolicyRequest(
        method=described["method"],
        path=described["path"],
        parameters=parameters,
        interaction=names["interaction"] or "",
        resource_type=names["resource_type"],
        resource_id=names["resource_id"],
    )
