"""The AuditEvent of a request that wrote nothing: a read, a search, an operation, or a refusal. PURE.

The patterns are those of IHE BALP 1.1.5 (Read, Query, with OAUTHaccessTokenUse.Minimal). Nothing of what was answered
is in it; a search is there as it was asked.
"""

import base64
from typing import Any
from urllib.parse import quote, urlencode

from authserver.fhir.access import Caller
from authserver.fhir.interactions.audit_event import (
    AUDIT_TYPE,
    BALP,
    DCM,
    TERMINOLOGY,
    coding,
    request_entity,
    tenant_detail,
    token_agent,
)
from authserver.fhir.request import FhirRequest
from authserver.protocol.instants import instant

_READS = ("read", "vread", "history-instance")
_SEARCHES = ("search-type", "search-system")
_ACTIONS = {"create": "C", "update": "U", "patch": "U", "delete": "D", **dict.fromkeys(_READS, "R")}
_PROFILES = {**dict.fromkeys(("read", "vread"), "Read"), **dict.fromkeys(_SEARCHES, "Query")}


def access_event(
    caller: Caller,
    request: FhirRequest,
    *,
    status: int,
    reason: str,
    base_url: str,
    now: int,
    request_id: str,
    tenant: str | None = None,
) -> dict[str, Any]:
    """Return the AuditEvent; `status` is the answer's, `reason` a refusal's code or "", `now` in microseconds.

    `tenant` is whose the resource is that was answered, None when the answer is no resource.
    """
    profile = _PROFILES.get(request.interaction)
    return {
        "resourceType": AUDIT_TYPE,
        **({"meta": {"profile": [f"{BALP}/StructureDefinition/IHE.BasicAudit.{profile}"]}} if profile else {}),
        "type": coding(f"{TERMINOLOGY}/audit-event-type", "rest"),
        "subtype": [coding("http://hl7.org/fhir/restful-interaction", request.interaction)],
        "action": _ACTIONS.get(request.interaction, "E"),
        "recorded": instant(now),
        "outcome": _outcome(status),
        **({"outcomeDesc": reason} if reason else {}),
        "agent": [*_agents(caller, request, base_url), token_agent(caller)],
        "source": {"observer": {"display": base_url}},
        "entity": [*_entities(request, tenant_detail(caller, tenant or caller.tenant)), request_entity(request_id)],
    }


def _outcome(status: int) -> str:
    """Return the code of http://hl7.org/fhir/R4/valueset-audit-event-outcome.html."""
    if status < 400:
        return "0"
    return "4" if status < 500 else "8"


def _agents(caller: Caller, request: FhirRequest, base_url: str) -> list[dict[str, Any]]:
    """Return client and server; what is read goes to the client (110152), everything else comes from it (110153)."""
    client, server = ("110152", "110153") if request.interaction in _READS else ("110153", "110152")
    return [
        {
            "type": {"coding": [coding(DCM, client)]},
            "who": {"identifier": {"value": caller.client_id}},
            "requestor": False,
        },
        {"type": {"coding": [coding(DCM, server)]}, "who": {"display": base_url}, "requestor": False},
    ]


def _entities(request: FhirRequest, detail: dict[str, Any]) -> list[dict[str, Any]]:
    if request.resource_type is None or request.resource_id is None:
        return [_query(request)]
    reference = f"{request.resource_type}/{request.resource_id}"
    if request.interaction == "vread":
        reference += f"/_history/{request.path.rpartition('/')[2]}"
    entities = [{**_entity(reference, kind="2", role="4"), **detail}]
    if request.resource_type == "Patient":
        entities.append(_entity(f"Patient/{request.resource_id}", kind="1", role="1"))
    return entities


def _entity(reference: str, *, kind: str, role: str) -> dict[str, Any]:
    return {
        "what": {"reference": reference},
        "type": coding(f"{TERMINOLOGY}/audit-entity-type", kind),
        "role": coding(f"{TERMINOLOGY}/object-role", role),
    }


def _query(request: FhirRequest) -> dict[str, Any]:
    """Return what was asked, a form's parameters like a query string's; tokens are in neither (see app.py)."""
    target = f"{request.path}?{urlencode(request.parameters, quote_via=quote)}" if request.parameters else request.path
    return {
        "type": coding(f"{TERMINOLOGY}/audit-entity-type", "2"),
        "role": coding(f"{TERMINOLOGY}/object-role", "24"),
        "query": base64.b64encode(f"{request.method} {target}".encode()).decode(),
    }
