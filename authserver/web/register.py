"""POST /auth/register (RFC 7591): client metadata as JSON in, a client id out. An initial access token opens it."""

from typing import Any

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import BadRequest, InvalidClientMetadata, TokenRequired, UnsupportedMediaType
from authserver.protocol import render, strict_json
from authserver.protocol.scopes import REGISTER
from authserver.services.authorization import Authorization
from authserver.services.dynamic_registration import DynamicRegistration
from authserver.web.callers import authorization_header, caller_of
from authserver.web.errors import respond
from authserver.web.incoming import of_framework
from authserver.web.policy_requests import own_request
from authserver.web.verify import REALM


def registration_blueprint(registration: DynamicRegistration, authorization: Authorization) -> Blueprint:
    """Return the client registration endpoint (RFC 7591 section 3)."""
    blueprint = Blueprint("register", __name__)

    @blueprint.post("/auth/register")
    def register() -> Response:
        incoming = of_framework(request)
        header = authorization_header(incoming)
        if header is None or header[0] != "bearer":
            raise TokenRequired(detail="registration without an initial token", headers={"WWW-Authenticate": REALM})
        caller = caller_of(incoming, authorization, now=clock.now())
        authorization.require_name(caller, own_request(incoming, "auth-register"), scope=REGISTER)
        registered = registration.register(_metadata(), registrar=caller.client, now=clock.now_microseconds())
        return respond(render.json_answer(registered, status=201))

    return blueprint


def _metadata() -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The Content-Type must be application/json.")
    if "access_token" in request.args:
        raise BadRequest("An access token belongs in the Authorization header.", reason="token_in_query")
    try:
        body = strict_json.loads(request.get_data(cache=False))
    except strict_json.MalformedJson as error:
        raise InvalidClientMetadata(detail=str(error)) from error
    if not isinstance(body, dict):
        raise InvalidClientMetadata(detail="the body is no JSON object")
    return body
