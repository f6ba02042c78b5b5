"""What answers about one version have in common: headers, the outcome of a write, the answer for what was deleted."""

from email.utils import formatdate
from typing import Any

from flask import Response
from werkzeug.datastructures import ETags

from authserver.errors import NotFound
from authserver.fhir import exact_json
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.performer import Outcome
from authserver.fhir.store.port import FhirReads, Stored, Version
from authserver.protocol.instants import instant
from authserver.protocol.render import FHIR_JSON, informed, phrase


class Gone(NotFound):
    """The resource was deleted, and the caller could read it before."""

    status, issue_code, default_reason = 410, "deleted", "gone"
    default_public = "The resource was deleted."


class ResourceResponse(Response):
    """An answer that is one version of a resource; `tenant` is whose it is, for the record of the request."""

    tenant = ""


def resource_response(stored: Stored, caller: Caller, *, known: ETags) -> Response:
    """Return the answer of a read: the version, or 304 when it is one of those that the client knows."""
    unchanged = known.contains_weak(stored.version_tag(caller.tenant))
    headers = version_headers(stored, caller)
    status, body = (304, b"") if unchanged else (200, stored.body)
    response = ResourceResponse(body, status, headers, content_type=None if unchanged else FHIR_JSON)
    response.tenant = stored.tenant
    return response


def tenant_of(response: Response) -> str | None:
    """Return whose the resource is that is answered, None when the answer is something else."""
    return response.tenant if isinstance(response, ResourceResponse) else None


def gone(version: Version | None, caller: Caller) -> NotFound:
    """Return Gone for a deletion that the caller may know of, else NotFound (http://hl7.org/fhir/R4/http.html#read)."""
    if version is None or not version.deleted:
        return NotFound()
    return Gone(headers={"ETag": f'W/"{version.stored.version_tag(caller.tenant)}"'})


def current(
    reads: FhirReads, constraint: Constraint, caller: Caller, *, resource_type: str, resource_id: str
) -> Stored:
    """Return the resource as it is now. Raises NotFound for hidden and absent, Gone where the caller may know of it."""
    stored = reads.read(constraint, resource_type, resource_id)
    if stored is None:
        raise gone(reads.version(constraint, resource_type, resource_id, None), caller)
    return stored


def version_headers(stored: Stored, caller: Caller) -> dict[str, str]:
    """Return the headers that name a version, to this caller, and its time."""
    return {
        "ETag": f'W/"{stored.version_tag(caller.tenant)}"',
        "Last-Modified": formatdate(stored.last_updated // 1_000_000, usegmt=True),
    }


def written(outcome: Outcome, *, base_url: str) -> Response:
    """Return the answer of a write by itself (http://hl7.org/fhir/R4/http.html#ops)."""
    if outcome.status == 204 or outcome.stored is None:
        return Response(status=204)
    headers = version_headers(outcome.stored, outcome.task.caller)
    if outcome.status == 201 or not outcome.wrote:
        headers["Location"] = _location(outcome.stored, base_url)
    preference = outcome.task.conditions.prefer
    if preference == "OperationOutcome":
        sentence = "The resource was stored." if outcome.wrote else "The resource was there already."
        return Response(informed(sentence).body, outcome.status, headers, content_type=FHIR_JSON)
    body = outcome.stored.body if preference == "representation" and outcome.shows_body else b""
    return Response(body, outcome.status, headers, content_type=FHIR_JSON if body else None)


def entry(outcome: Outcome, *, base_url: str, with_body: bool) -> dict[str, Any]:
    """Return the answer of a write as an entry of a transaction's response."""
    response: dict[str, Any] = {"status": status_line(outcome.status)}
    if outcome.status == 204 or outcome.stored is None:
        return {"response": response}
    response["location"] = _location(outcome.stored, base_url)
    response["etag"] = f'W/"{outcome.stored.version_tag(outcome.task.caller.tenant)}"'
    response["lastModified"] = instant(outcome.stored.last_updated)
    if with_body and outcome.shows_body:
        return {"resource": exact_json.embedded(outcome.stored.body), "response": response}
    return {"response": response}


def status_line(status: int) -> str:
    """Return the status as Bundle.entry.response has it, `201 Created`."""
    return f"{status} {phrase(status)}"


def _location(stored: Stored, base_url: str) -> str:
    return f"{base_url}/{stored.resource_type}/{stored.id}/_history/{stored.version_id}"
