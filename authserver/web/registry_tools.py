"""`$validate` and `$keys`: look at a registration without changing it."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import Issue
from authserver.protocol import render
from authserver.services.authorization import Authorization
from authserver.services.key_health import KeyHealth
from authserver.services.ports import ACCESS_POLICY, CLIENT
from authserver.services.registration import Registration
from authserver.services.validation import Validation
from authserver.web.errors import respond
from authserver.web.resource_requests import Door, json_body

_TYPES = f"any({CLIENT}, {ACCESS_POLICY})"
_FINE = Issue("", "The resource is valid, and nothing is amiss.", "informational", "information")


def registry_tools_blueprint(
    registration: Registration, authorization: Authorization, *, validation: Validation, key_health: KeyHealth
) -> Blueprint:
    """Return the paths; all of them need the letter r."""
    blueprint, door = Blueprint("registry_tools", __name__), Door(authorization)

    @blueprint.post(f"/<{_TYPES}:resource_type>/$validate")
    def validate(resource_type: str) -> Response:
        caller = door.require(resource_type, None, interaction="registry-validate", letter="r")
        return judged(registration.seen_by(caller.client), resource_type, None, json_body(resource_type))

    @blueprint.post(f"/<{_TYPES}:resource_type>/<resource_id>/$validate")
    def validate_instance(resource_type: str, resource_id: str) -> Response:
        caller = door.require(resource_type, resource_id, interaction="registry-validate", letter="r")
        seen = registration.seen_by(caller.client)
        # Without a body it is what is stored that is looked at, by the rules and settings of today.
        body = json_body(resource_type) if request.mimetype else seen.get(resource_type, resource_id).body
        return judged(seen, resource_type, resource_id, body)

    @blueprint.get(f"/{CLIENT}/<resource_id>/$keys")
    def keys(resource_id: str) -> Response:
        caller = door.require(CLIENT, resource_id, interaction="client-keys", letter="r")
        seen = registration.seen_by(caller.client)
        return respond(render.json_answer(key_health.of_client(seen, resource_id, now=clock.now())))

    def judged(seen: Registration, resource_type: str, resource_id: str | None, body: Mapping[str, Any]) -> Response:
        found = validation.issues(seen, resource_type, resource_id, body, now=clock.now())
        return respond(render.outcome(found or (_FINE,)))

    return blueprint
