"""What the paths of the registry have in common: who may, the body sent, the version that a precondition names."""

import re
from typing import Any

from flask import request

from authserver import clock
from authserver.errors import (
    BadRequest,
    InvalidResource,
    Issue,
    NotFound,
    UnsupportedMediaType,
    VersionConflict,
)
from authserver.protocol import strict_json
from authserver.protocol.client import RESOURCE_ID
from authserver.services.authorization import Authorization, Caller
from authserver.services.ports import CLIENT
from authserver.services.registration import Registration
from authserver.web.callers import caller_of
from authserver.web.incoming import of_framework
from authserver.web.policy_requests import own_request

JSON_TYPES = ("application/json", "application/fhir+json")
YAML_TYPES = ("text/yaml", "application/yaml", "application/x-yaml")
JSON_PATCH = "application/json-patch+json"
_ENTITY_TAG = re.compile(r'(?:W/)?"?([0-9]{1,18})"?', re.ASCII)


class Door:
    """Lets a proven caller in, or raises what says why not."""

    def __init__(self, authorization: Authorization) -> None:
        self._authorization = authorization

    def require(self, resource_type: str, resource_id: str | None, *, interaction: str, letter: str) -> Caller:
        """Return the caller when scopes and policies allow it this interaction (a letter of c, r, u, d, s)."""
        incoming = of_framework(request)
        caller = caller_of(incoming, self._authorization, now=clock.now())
        described = own_request(incoming, interaction, resource_type=resource_type, resource_id=resource_id)
        for one in letter:
            self._authorization.require_resource(caller, described, letter=one)
        if resource_id is not None and RESOURCE_ID.fullmatch(resource_id) is None:
            raise NotFound(detail="no legal id")
        return caller


def json_body(resource_type: str) -> dict[str, Any]:
    """Return the body of the request, one object in JSON or YAML.

    Raises BadRequest, InvalidResource or UnsupportedMediaType.
    """
    if request.mimetype in YAML_TYPES:
        body = _parsed_yaml(resource_type)
    elif request.mimetype in JSON_TYPES:
        body = parsed_json(resource_type)
    else:
        raise UnsupportedMediaType("The Content-Type must be application/json, application/fhir+json or text/yaml.")
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", reason="json_malformed")
    return body


def patch_body(resource_type: str) -> Any:
    """Return the body of a PATCH; raises BadRequest, InvalidResource or UnsupportedMediaType."""
    if request.mimetype != JSON_PATCH:
        raise UnsupportedMediaType(f"The Content-Type must be {JSON_PATCH}.")
    return parsed_json(resource_type)


def parsed_json(resource_type: str) -> Any:
    """Return the body as JSON of one reading; raises BadRequest or InvalidResource."""
    try:
        return strict_json.loads(request.get_data(cache=False))
    except strict_json.DuplicateMember as error:
        raise InvalidResource((Issue(resource_type, str(error), "structure"),)) from error
    except strict_json.MalformedJson as error:
        raise BadRequest(f"The body is not acceptable JSON: {error}.", reason="json_malformed") from error


def _parsed_yaml(resource_type: str) -> Any:
    from authserver.protocol import strict_yaml  # most servers never read any

    try:
        return strict_yaml.loads(request.get_data(cache=False))
    except strict_yaml.DuplicateKey as error:
        raise InvalidResource((Issue(resource_type, str(error), "structure"),)) from error
    except strict_yaml.MalformedYaml as error:
        raise BadRequest(f"The body is not acceptable YAML: {error}.", reason="yaml_malformed") from error


def version_to_match(registration: Registration, resource_type: str, resource_id: str) -> int | None:
    """Return the version named by If-Match; `*` means whatever is there now (RFC 9110 section 13.1.1)."""
    value = request.headers.get("If-Match")
    if value is None:
        return None
    if value == "*":
        try:
            return registration.get(resource_type, resource_id).version_id
        except NotFound as error:
            raise VersionConflict("There is no version to match.") from error
    named = _ENTITY_TAG.fullmatch(value.strip())
    if named is None:
        raise BadRequest('If-Match must name a version, for example W/"3".')
    return int(named[1])


def is_held(version_id: int) -> bool:
    """Say whether If-None-Match names this version, so that the caller has it (RFC 9110 section 13.1.2)."""
    tags = [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]
    return "*" in tags or any(named and int(named[1]) == version_id for named in map(_ENTITY_TAG.fullmatch, tags))


def revoke_tokens(resource_type: str) -> bool:
    """Read the query parameter of a PUT of a Client by which the tokens end with the change."""
    if flag("revoke-tokens") and resource_type != CLIENT:
        raise BadRequest("The parameter revoke-tokens is for a Client.")
    return flag("revoke-tokens")


def prefers_outcome() -> bool:
    """Say whether the answer to a change shall be an OperationOutcome (R4, "Managing Return Content")."""
    return any(
        part.strip() == "return=OperationOutcome" for part in re.split("[,;]", request.headers.get("Prefer", ""))
    )


def flag(name: str) -> bool:
    """Return a query parameter that is true or false; absent it is false. Raises BadRequest."""
    values = request.args.getlist(name)
    if values not in ([], ["true"], ["false"]):
        raise BadRequest(f"The parameter {name} is true or false, once.")
    return values == ["true"]


def pairs_without(*names: str) -> list[tuple[str, str]]:
    """Return the query parameters but these, in the order sent."""
    return [(name, value) for name, value in request.args.items(multi=True) if name not in names]
