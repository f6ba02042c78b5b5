"""Read what an operation is given: the query's pairs, and those of a POST's body."""

from collections.abc import Collection
from typing import Any

from flask import Request

from authserver.errors import BadRequest
from authserver.fhir.interactions import bodies
from authserver.fhir.request import FhirRequest, Pair
from authserver.fhir.search.problems import UnsupportedParameter


def pairs(request: FhirRequest, http: Request, *, known: Collection[str]) -> list[Pair]:
    """Return the pairs of query and body. Raises UnsupportedParameter for a name that is not known, and BadRequest."""
    found = [*request.parameters, *_body_pairs(http)]
    for name, _ in found:
        if name not in known:
            raise UnsupportedParameter(name)
    return found


def _body_pairs(http: Request) -> list[Pair]:
    """Return the parameters of a POST: a Parameters resource, or the members of a plain object (row B9)."""
    if http.method != "POST" or not http.get_data():
        return []
    body = bodies.json_body(http.get_data(), http.mimetype)
    if isinstance(body, dict) and body.get("resourceType") == "Parameters" and isinstance(body.get("parameter"), list):
        listed = [_named(one) for one in body["parameter"]]
    elif body == {"resourceType": "Parameters"}:
        listed = []
    else:
        listed = list(body.items()) if isinstance(body, dict) else [("", None)]
    if not all(isinstance(name, str) and isinstance(value, str | int) for name, value in listed):
        raise BadRequest("The body's parameters are malformed.", reason="operation_parameter")
    return [(name, str(value)) for name, value in listed]


def _named(one: Any) -> tuple[Any, Any]:
    values = [value for name, value in one.items() if name.startswith("value")] if isinstance(one, dict) else []
    return (one.get("name"), values[0]) if len(values) == 1 else ("", None)
