"""POST /access/v1/evaluation: the Access Evaluation API of OpenID AuthZEN 1.0, and where it is found."""

from flask import Blueprint, Response, g, request

from authserver import clock
from authserver.protocol import render
from authserver.protocol.render import Answer
from authserver.protocol.scopes import INTROSPECT
from authserver.services.access_evaluation import AccessEvaluation
from authserver.services.authorization import Authorization
from authserver.web.callers import caller_of
from authserver.web.errors import respond
from authserver.web.incoming import of_framework
from authserver.web.policy_requests import own_request
from authserver.web.resource_requests import json_body
from authserver.web.well_known import METADATA_MAX_AGE

PATH = "/access/v1/evaluation"


def access_evaluation_blueprint(
    evaluation: AccessEvaluation, authorization: Authorization, *, issuer: str
) -> Blueprint:
    """Return the endpoint, for callers that may introspect, and the metadata (section 9) that names it."""
    blueprint = Blueprint("access_evaluation", __name__)

    @blueprint.post(PATH)
    def evaluate() -> Response:
        incoming = of_framework(request)
        caller = caller_of(incoming, authorization, now=clock.now())
        authorization.require_name(caller, own_request(incoming, "access-evaluation"), scope=INTROSPECT)
        decision = evaluation.decide(json_body("Evaluation"), caller=caller.client, request_id=g.request_id)
        return respond(render.json_answer({"decision": decision}))

    @blueprint.get("/.well-known/authzen-configuration")
    def metadata() -> Response:
        document = {"policy_decision_point": issuer, "access_evaluation_endpoint": f"{issuer}{PATH}"}
        headers = {"Content-Type": render.JSON, "Cache-Control": f"public, max-age={METADATA_MAX_AGE}"}
        return respond(Answer(200, headers, render.encode(document)))

    return blueprint
