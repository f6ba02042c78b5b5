"""Read a resource from a request's body: one media type, one reading of the JSON, an object."""

from typing import Any

from flask import request

from authserver.errors import BadRequest, InvalidResource, Issue, UnsupportedMediaType
from authserver.protocol import strict_json

_JSON_TYPES = ("application/json", "application/fhir+json")


def json_body(resource_type: str) -> dict[str, Any]:
    """Return the JSON object that was sent; raises UnsupportedMediaType, InvalidResource or BadRequest."""
    if request.mimetype not in _JSON_TYPES:
        raise UnsupportedMediaType
    try:
        body = strict_json.loads(request.get_data(cache=False))
    except strict_json.DuplicateMember as error:
        raise InvalidResource((Issue(resource_type, str(error), "structure"),)) from error
    except strict_json.MalformedJson as error:
        raise BadRequest(f"The body is not acceptable JSON: {error}.", reason="json_malformed") from error
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", reason="json_malformed")
    return body
