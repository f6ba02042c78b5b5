"""GET /AccessPolicy/$explain and GET /AccessPolicy/{id}/$impact: what policies said, and would have."""

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import BadRequest, NotFound
from authserver.protocol import policy, render
from authserver.protocol.client import RESOURCE_ID
from authserver.services.authorization import Authorization
from authserver.services.policy_decisions import Decisions
from authserver.services.ports import ACCESS_POLICY
from authserver.services.registration import Registration
from authserver.web.callers import caller_of
from authserver.web.errors import respond
from authserver.web.incoming import of_framework
from authserver.web.policy_requests import own_request


def policy_records_blueprint(
    decisions: Decisions, registration: Registration, authorization: Authorization
) -> Blueprint:
    """Return the two paths."""
    blueprint = Blueprint("policy_records", __name__)

    @blueprint.get(f"/{ACCESS_POLICY}/$explain")
    def explain() -> Response:
        _require_operator("policy-explain")
        named = request.args.getlist("decision")
        if len(named) != 1 or set(request.args) != {"decision"}:
            raise BadRequest("The parameter decision names one decision by its request id.")
        return respond(render.json_answer(decisions.explain(named[0])))

    @blueprint.get(f"/{ACCESS_POLICY}/<policy_id>/$impact")
    def impact(policy_id: str) -> Response:
        _require_operator("policy-impact", policy_id)
        if RESOURCE_ID.fullmatch(policy_id) is None:
            raise NotFound(detail="no legal id")
        stored = registration.get(ACCESS_POLICY, policy_id)
        read = policy.from_resource(stored.body, policy_id=policy_id, version=stored.version_id)
        return respond(render.json_answer(decisions.impact(read)))

    def _require_operator(interaction: str, policy_id: str | None = None) -> None:
        incoming = of_framework(request)
        caller = caller_of(incoming, authorization, now=clock.now())
        described = own_request(incoming, interaction, resource_type=ACCESS_POLICY, resource_id=policy_id)
        authorization.require_operator(caller, described)

    return blueprint
