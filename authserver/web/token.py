"""POST /auth/token: form pairs in, JSON that nobody stores out. No rule lives here."""

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import InvalidClient, InvalidClientCredentials
from authserver.protocol import render, token_request
from authserver.services.token_issuance import TokenIssuance
from authserver.web.errors import respond
from authserver.web.forms import form_pairs
from authserver.web.sources import source


def token_blueprint(issuance: TokenIssuance) -> Blueprint:
    """Return the token endpoint (RFC 6749 section 3.2)."""
    blueprint = Blueprint("token", __name__)

    @blueprint.post("/auth/token")
    def token() -> Response:
        pairs = form_pairs(request)
        _refuse_header(pairs)
        asked = token_request.sent_from(token_request.parse(pairs), source(request))
        issued = issuance.issue(asked, now=clock.now())
        return respond(render.json_answer(issued))

    return blueprint


def _refuse_header(pairs: list[tuple[str, str]]) -> None:
    """Refuse the Authorization header: this endpoint authenticates by assertion alone."""
    if "Authorization" not in request.headers:
        return
    if any(name == "client_assertion" for name, _ in pairs):
        # RFC 7521 section 4.2.1: two mechanisms at once are invalid_client.
        raise InvalidClient(detail="Authorization header beside an assertion", reason="other_mechanism")
    raise InvalidClientCredentials(detail="Authorization header, no assertion", reason="assertion_missing")
