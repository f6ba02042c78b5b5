"""POST /auth/assertion/$diagnose and GET /auth/receipt/ID: explanations for the sender of a request and for operators.

What is private is decided by the services; here is only who is calling.
"""

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import InvalidRequest
from authserver.protocol import render
from authserver.protocol.token_request import JWT_BEARER, KNOWN_PARAMETERS, single_values
from authserver.services.authorization import Authorization
from authserver.services.diagnosis import Diagnosis
from authserver.services.receipts import Receipts
from authserver.web.callers import caller_of
from authserver.web.errors import respond
from authserver.web.forms import form_pairs
from authserver.web.incoming import of_framework
from authserver.web.policy_requests import own_request
from authserver.web.sources import source


def diagnosis_blueprint(diagnosis: Diagnosis, receipts: Receipts, authorization: Authorization) -> Blueprint:
    """Return the endpoints that explain."""
    blueprint = Blueprint("diagnosis", __name__)

    @blueprint.post("/auth/assertion/$diagnose")
    def diagnose() -> Response:
        now, form = clock.now(), single_values(form_pairs(of_framework(request)), known=KNOWN_PARAMETERS)
        operator = "Authorization" in request.headers and _is_operator("auth-diagnose", now)
        scope, assertion = form.get("scope"), form.get("client_assertion")
        if assertion:
            _require_type(form)
            told = diagnosis.of_assertion(assertion, scope=scope, source=source(request), operator=operator, now=now)
        elif operator and form.get("client_id"):
            told = diagnosis.of_client(form["client_id"], scope=scope, now=now)
        else:
            raise InvalidRequest("The parameter client_assertion is missing.", reason="assertion_missing")
        return respond(render.json_answer(told))

    @blueprint.get("/auth/receipt/<receipt_id>")
    def receipt(receipt_id: str) -> Response:
        now = clock.now()
        incoming = of_framework(request)
        caller = caller_of(incoming, authorization, now=now)
        authorization.require_operator(caller, own_request(incoming, "auth-receipt"))
        return respond(render.json_answer(receipts.resolve(receipt_id, now=now)))

    def _is_operator(interaction: str, now: int) -> bool:
        incoming = of_framework(request)
        caller = caller_of(incoming, authorization, now=now)
        return authorization.is_operator(caller, own_request(incoming, interaction))

    return blueprint


def _require_type(form: dict[str, str]) -> None:
    if form.get("client_assertion_type", JWT_BEARER) != JWT_BEARER:
        raise InvalidRequest("The client_assertion_type is unknown.", reason="assertion_type")
