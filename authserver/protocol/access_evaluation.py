"""Questions of the OpenID AuthZEN Authorization API 1.0, as the request that our policies judge (row X57). PURE.

AuthZEN leaves open what types, ids and action names mean; here a subject is a client, an action an interaction of FHIR.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authserver.errors import BadRequest, InvalidRequest
from authserver.protocol.client import RESOURCE_ID
from authserver.protocol.policy_request import PolicyRequest, from_description
from authserver.protocol.resource_types import KNOWN_TYPES

# Name of an action -> method, FHIR's word for the interaction, what stands behind the type in the path.
ACTIONS = {
    "FhirRead": ("GET", "read", "/{id}"),
    "FhirSearch": ("GET", "search-type", ""),
    "FhirPostSearch": ("POST", "search-type", "/_search"),
    "FhirCreate": ("POST", "create", ""),
    "FhirUpdate": ("PUT", "update", "/{id}"),
    "FhirPatch": ("PATCH", "patch", "/{id}"),
    "FhirDelete": ("DELETE", "delete", "/{id}"),
    "FhirHistory": ("GET", "history-instance", "/{id}/_history"),
    "FhirHistoryType": ("GET", "history-type", "/_history"),
}
_BY_WORD = {word: name for name, (_, word, _) in ACTIONS.items() if name != "FhirPostSearch"}
_OWN_TYPES = ("Client", "AccessPolicy")
_CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Question:
    """May the client `client_id`, registered or not, make this request?"""

    client_id: str
    request: PolicyRequest


def read(body: Mapping[str, Any], *, fhir_base: str) -> Question:
    """Read an Access Evaluation request (section 6.1); `fhir_base` is the path that FHIR's types are below.

    Members of `context`: `parameters` (texts, or lists of them, by name), `headers`, `remote-addr` and `scheme`; others
    and all `properties` are of no effect. Raises BadRequest for what misses a member or cannot be understood.
    """
    client_id = _text(body, "subject", "id")
    if _text(body, "subject", "type").lower() != _CLIENT:
        raise BadRequest("The type of a subject is client: this server has no users.")
    action = ACTIONS.get(_BY_WORD.get(name := _text(body, "action", "name"), name))
    if action is None:
        raise BadRequest(f"The action must be one of {', '.join([*ACTIONS, *_BY_WORD])}.")
    return Question(client_id, _request(action, body, fhir_base))


def _request(action: tuple[str, str, str], body: Mapping[str, Any], fhir_base: str) -> PolicyRequest:
    method, interaction, rest = action
    resource_type, context = _type(body), body.get("context", {})
    on_instance = "{id}" in rest
    resource_id = _id(body) if on_instance else None
    base = "" if resource_type in _OWN_TYPES else fhir_base
    try:
        return from_description(
            {
                "method": method,
                "path": f"{base}/{resource_type}{rest.replace('{id}', resource_id or '')}",
                "parameters": _pairs(context.get("parameters", {})),
                "interaction": interaction,
                "resource_type": resource_type,
                "resource_id": resource_id,
                "scheme": context.get("scheme"),
                "remote_addr": context.get("remote-addr"),
                "headers": context.get("headers", {}),
            }
        )
    except (InvalidRequest, AttributeError, TypeError) as error:
        raise BadRequest("The context is malformed.") from error


def _pairs(parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    lists = ((name, value if isinstance(value, list) else [value]) for name, value in parameters.items())
    return [(name, value) for name, values in lists for value in values]


def _type(body: Mapping[str, Any]) -> str:
    resource_type = _text(body, "resource", "type")
    if resource_type not in KNOWN_TYPES and resource_type not in _OWN_TYPES:
        raise BadRequest("The type of a resource is a type of FHIR R4, Client or AccessPolicy.")
    return resource_type


def _id(body: Mapping[str, Any]) -> str:
    resource_id = _text(body, "resource", "id")
    if RESOURCE_ID.fullmatch(resource_id) is None:
        raise BadRequest("The id of a resource has 1 to 64 letters, digits, hyphens and dots.")
    return resource_id


def _text(body: Mapping[str, Any], member: str, name: str) -> str:
    """Return a required text (sections 5.1 to 5.3)."""
    entity = body.get(member)
    value = entity.get(name) if isinstance(entity, Mapping) else None
    if not isinstance(value, str) or not value:
        raise BadRequest(f"The request must have a {member} with a {name}.")
    return value
