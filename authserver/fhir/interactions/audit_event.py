"""Write an AuditEvent for each write, in the transaction of the write: no change without its record.

The patterns are those of IHE BALP 1.1.5 (Create, Update, Delete, with OAUTHaccessTokenUse.Minimal). Nothing of the
resource but its type, id and version is in it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from authserver.fhir.constraint import Constraint
from authserver.fhir.instants import instant_text
from authserver.fhir.interactions.bodies import with_tenant_tag
from authserver.fhir.interactions.task import Task
from authserver.fhir.store.port import FhirSession, Stored

AUDIT_TYPE = "AuditEvent"

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_BALP = "https://profiles.ihe.net/ITI/BALP"
_ACTIONS = {"create": "C", "update": "U", "patch": "U", "delete": "D"}
_PROFILES = {"create": "Create", "update": "Update", "patch": "Update", "delete": "Delete"}


class AuditWriter:
    """Knows the server's own name and the system of the tenant's tag."""

    def __init__(self, *, base_url: str, tag_system: str, new_id: Callable[[], str]) -> None:
        self._base_url, self._tag_system, self._new_id = base_url, tag_system, new_id

    def write(
        self, session: FhirSession, task: Task, stored: Stored | None, *, wrote: bool, now: int, request_id: str
    ) -> None:
        """Record the task; `stored` is the version that is current now, None when there was nothing to do."""
        event = audit_event(task, stored, base_url=self._base_url, now=now, request_id=request_id)
        if task.interaction == "create" and not wrote:
            event = {**event, "action": "E"}  # If-None-Exist found it: a search was executed, nothing created
        tenant = task.caller.tenant
        tagged = with_tenant_tag(event, tenant=tenant, system=self._tag_system)
        session.put(Constraint.system(tenant), {**tagged, "id": self._new_id()}, method="POST", now=now)


def audit_event(
    task: Task,
    stored: Stored | None,
    *,
    base_url: str,
    now: int,
    request_id: str,
) -> dict[str, Any]:
    """Return the AuditEvent of a write; `now` is in microseconds."""
    return {
        "resourceType": AUDIT_TYPE,
        "meta": {"profile": [f"{_BALP}/StructureDefinition/IHE.BasicAudit.{_PROFILES[task.interaction]}"]},
        "type": _coding(f"{_TERMINOLOGY}/audit-event-type", "rest"),
        "subtype": [_coding("http://hl7.org/fhir/restful-interaction", task.interaction)],
        "action": _ACTIONS[task.interaction],
        "recorded": instant_text(now),
        "outcome": "0",
        "agent": [*_agents(task, base_url), _token(task)],
        "source": {"observer": {"display": base_url}},
        "entity": _entities(task, stored, request_id),
    }


def _agents(task: Task, base_url: str) -> list[dict[str, Any]]:
    if task.interaction == "delete":
        client_type = {"coding": [_coding(_DCM, "110150")]}
        server_type = {"coding": [_coding(f"{_TERMINOLOGY}/provenance-participant-type", "custodian")]}
    else:
        client_type = {"coding": [_coding(_DCM, "110153")]}
        server_type = {"coding": [_coding(_DCM, "110152")]}
    client = {"identifier": {"value": task.caller.client_id}}
    return [
        {"type": client_type, "who": client, "requestor": False},
        {"type": server_type, "who": {"display": base_url}, "requestor": False},
    ]


def _token(task: Task) -> dict[str, Any]:
    """Return the agent of OAUTHaccessTokenUse.Minimal: the token by its jti, never itself."""
    return {
        "type": {"coding": [_coding(f"{_BALP}/CodeSystem/UserAgentTypes", "UserOauthAgent")]},
        "who": {"identifier": {"value": task.caller.client_id}},
        "requestor": True,
        "policy": [f"urn:ietf:params:oauth:jti:{task.caller.token_id}"],
    }


def _entities(task: Task, stored: Stored | None, request_id: str) -> list[dict[str, Any]]:
    request_type = _coding(f"{_BALP}/CodeSystem/BasicAuditEntityType", "XrequestId")
    entities = [_request_entity(request_type, request_id)]
    resource_id = stored.id if stored is not None else task.resource_id
    if resource_id is None:
        return entities
    version = f"/_history/{stored.version_id}" if stored is not None else ""
    what = {"reference": f"{task.resource_type}/{resource_id}{version}"}
    data = {
        "what": what,
        "type": _coding(f"{_TERMINOLOGY}/audit-entity-type", "2"),
        "role": _coding(f"{_TERMINOLOGY}/object-role", "4"),
    }
    return [data, *entities]


def _request_entity(kind: Mapping[str, str], request_id: str) -> dict[str, Any]:
    return {"what": {"identifier": {"value": request_id}}, "type": dict(kind)}


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code}
