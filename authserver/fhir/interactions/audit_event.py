"""Write an AuditEvent for each write, in the transaction of the write: no change without its record.

The patterns are those of IHE BALP 1.1.5 (Create, Update, Delete, with OAUTHaccessTokenUse.Minimal). Nothing of the
resource but its type, id and version is in it.
"""

from collections.abc import Callable
from typing import Any

from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.bodies import with_tenant_tag
from authserver.fhir.interactions.task import Task
from authserver.fhir.store.port import FhirSession, Stored
from authserver.protocol.instants import instant

AUDIT_TYPE = "AuditEvent"

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
BALP = "https://profiles.ihe.net/ITI/BALP"
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
        "meta": {"profile": [f"{BALP}/StructureDefinition/IHE.BasicAudit.{_PROFILES[task.interaction]}"]},
        "type": coding(f"{TERMINOLOGY}/audit-event-type", "rest"),
        "subtype": [coding("http://hl7.org/fhir/restful-interaction", task.interaction)],
        "action": _ACTIONS[task.interaction],
        "recorded": instant(now),
        "outcome": "0",
        "agent": [*_agents(task, base_url), token_agent(task.caller)],
        "source": {"observer": {"display": base_url}},
        "entity": _entities(task, stored, request_id),
    }


def _agents(task: Task, base_url: str) -> list[dict[str, Any]]:
    if task.interaction == "delete":
        client_type = {"coding": [coding(DCM, "110150")]}
        server_type = {"coding": [coding(f"{TERMINOLOGY}/provenance-participant-type", "custodian")]}
    else:
        client_type = {"coding": [coding(DCM, "110153")]}
        server_type = {"coding": [coding(DCM, "110152")]}
    client = {"identifier": {"value": task.caller.client_id}}
    return [
        {"type": client_type, "who": client, "requestor": False},
        {"type": server_type, "who": {"display": base_url}, "requestor": False},
    ]


def token_agent(caller: Caller) -> dict[str, Any]:
    """Return the agent of OAUTHaccessTokenUse.Minimal: the token by its jti, never itself."""
    return {
        "type": {"coding": [coding(f"{BALP}/CodeSystem/UserAgentTypes", "UserOauthAgent")]},
        "who": {"identifier": {"value": caller.client_id}},
        "requestor": True,
        "policy": [f"urn:ietf:params:oauth:jti:{caller.token_id}"],
    }


def _entities(task: Task, stored: Stored | None, request_id: str) -> list[dict[str, Any]]:
    entities = [request_entity(request_id)]
    resource_id = stored.id if stored is not None else task.resource_id
    if resource_id is None:
        return entities
    version = f"/_history/{stored.version_id}" if stored is not None else ""
    what = {"reference": f"{task.resource_type}/{resource_id}{version}"}
    data = {
        "what": what,
        "type": coding(f"{TERMINOLOGY}/audit-entity-type", "2"),
        "role": coding(f"{TERMINOLOGY}/object-role", "4"),
        **tenant_detail(task.caller, stored.tenant if stored is not None else task.caller.tenant),
    }
    return [data, *entities]


def tenant_detail(caller: Caller, tenant: str) -> dict[str, Any]:
    """Return the detail that says whose a resource is, when it is not the caller's own tenant's (row X24)."""
    return {} if tenant == caller.tenant else {"detail": [{"type": "tenant", "valueString": tenant}]}


def request_entity(request_id: str) -> dict[str, Any]:
    """Return the entity of the request by its X-Request-Id."""
    kind = coding(f"{BALP}/CodeSystem/BasicAuditEntityType", "XrequestId")
    return {"what": {"identifier": {"value": request_id}}, "type": kind}


def coding(system: str, code: str) -> dict[str, str]:
    """Return a Coding."""
    return {"system": system, "code": code}
