"""POST /$matcho and POST /auth/test-policy: patterns and policies tried out, by operators."""

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import InvalidResource, Issue
from authserver.protocol import matcho, render
from authserver.protocol.matcho_reader import compile_any_pattern
from authserver.protocol.policy_request import MAX_BODY_VALUES, values_of
from authserver.services.authorization import Authorization
from authserver.services.policy_trial import PolicyTrial
from authserver.web.callers import caller_of
from authserver.web.errors import respond
from authserver.web.incoming import of_framework
from authserver.web.policy_requests import own_request
from authserver.web.resource_requests import json_body


def policy_tools_blueprint(trial: PolicyTrial, authorization: Authorization) -> Blueprint:
    """Return the two paths; neither stores anything."""
    blueprint = Blueprint("policy_tools", __name__)

    @blueprint.post("/$matcho")
    def match() -> Response:
        _require_operator("matcho")
        body = json_body("Parameters")
        resource, context = body.get("resource"), body.get("context")
        if values_of([resource, context]) > MAX_BODY_VALUES:
            raise InvalidResource((Issue("resource", f"has more than {MAX_BODY_VALUES} values", "too-costly"),))
        pattern, issues = compile_any_pattern(body.get("matcho"), path="matcho")
        if issues:
            raise InvalidResource(issues)
        found = matcho.match(pattern, resource, document=context)
        result = [mismatch.as_json() for mismatch in found]
        return respond(render.json_answer({"matcho": body.get("matcho"), "resource": resource, "result": result}))

    @blueprint.post("/auth/test-policy")
    def test_policy() -> Response:
        _require_operator("auth-test-policy")
        return respond(render.json_answer(trial.judge(json_body("Parameters"))))

    def _require_operator(interaction: str) -> None:
        incoming = of_framework(request)
        caller = caller_of(incoming, authorization, now=clock.now())
        authorization.require_operator(caller, own_request(incoming, interaction))

    return blueprint
