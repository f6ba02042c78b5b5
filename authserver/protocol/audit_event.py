"""A record of the audit as a FHIR R4 AuditEvent, after the patterns of IHE BALP.

Sources: http://hl7.org/fhir/R4/auditevent.html, IHE BALP 1.1.5 (RESTful and OAuth patterns, IUA ITI-71), DICOM PS3.16.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authserver.protocol.instants import instant
from authserver.protocol.source_address import UNKNOWN

DCM = "http://dicom.nema.org/resources/ontology/DCM"
REST = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
IHE = "urn:ihe:event-type-code"
_BALP = "https://profiles.ihe.net/ITI/BALP/CodeSystem"
OWN = "urn:authserver:audit-event"
HASH_SYSTEM = "urn:authserver:audit-hash"
JTI_URN = "urn:ietf:params:oauth:jti:"
_ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"


@dataclass(frozen=True, slots=True)
class Coding:
    """A code of a system, with its meaning in words."""

    system: str
    code: str
    display: str

    def shown(self) -> dict[str, str]:
        """Return it as FHIR's Coding."""
        return {"system": self.system, "code": self.code, "display": self.display}


@dataclass(frozen=True, slots=True)
class Kind:
    """What an event is in FHIR's words; `action` is one of C, R, U, D, E."""

    type: Coding
    subtype: Coding
    action: str


_AUTHENTICATION = Coding(DCM, "110114", "User Authentication")
_SECURITY = Coding(DCM, "110113", "Security Alert")
_LOG_USED = Coding(DCM, "110101", "Audit Log Used")
_REST = Coding(REST, "rest", "RESTful Operation")
_TOKEN = Coding(IHE, "ITI-71", "Get Access Token")
_AUTHORIZATION = Coding(f"{_BALP}/AuthZsubType", "AuthZ-Role", "Authorization by role")


def _interaction(code: str, action: str) -> Kind:
    return Kind(_REST, Coding(INTERACTION, code, code), action)


def _own(kind: Coding, code: str, action: str) -> Kind:
    return Kind(kind, Coding(OWN, code, code.replace("-", " ")), action)


EVENTS: Mapping[str, Kind] = {
    "token_issued": Kind(_AUTHENTICATION, _TOKEN, "E"),
    "token_refused": Kind(_AUTHENTICATION, _TOKEN, "E"),
    "introspection_refused": Kind(_AUTHENTICATION, Coding(IHE, "ITI-102", "Introspect Token"), "E"),
    "revocation_refused": _own(_AUTHENTICATION, "revocation", "E"),
    "token_revoked": _own(_AUTHENTICATION, "revocation", "D"),
    "client_tokens_revoked": _own(_AUTHENTICATION, "revocation", "D"),
    "registration_refused": _own(_SECURITY, "registration", "E"),
    "request_refused": Kind(_SECURITY, _AUTHORIZATION, "E"),
    "resource_created": _interaction("create", "C"),
    "resource_updated": _interaction("update", "U"),
    "resource_deleted": _interaction("delete", "D"),
    "key_announced": _own(_SECURITY, "key-announced", "C"),
    "key_retired": _own(_SECURITY, "key-retired", "D"),
    "audit_read": Kind(_LOG_USED, Coding(INTERACTION, "search", "search"), "R"),
}
"""Every event that is recorded, as it is shown and searched for."""


def resource(sequence: int, digest: bytes, said: Mapping[str, Any], *, issuer: str) -> dict[str, Any]:
    """Return the AuditEvent of a stored record; `said` are an AuditRecord's members, `issuer` is this server's URL."""
    kind, facts = EVENTS[said["event"]], said["facts"]
    shown: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(sequence),
        "type": kind.type.shown(),
        "subtype": [kind.subtype.shown()],
        "action": kind.action,
        "recorded": instant(said["at"]),
        "outcome": str(said["outcome"]),
    }
    if "reason" in facts:
        shown["outcomeDesc"] = facts["reason"]
    agents = [_server(kind, issuer), *([_issued_token(facts["jti"])] if "jti" in facts else [])]
    return {
        **shown,
        "agent": [_asking(kind, said), *agents],
        "source": {
            "observer": {"display": issuer},
            "type": [_coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")],
        },
        "entity": [*_request(said), *_subject(said, facts), _details(said, facts, digest)],
    }


def _asking(kind: Kind, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return who asked. BALP: the client is the source of what is written or asked for, the destination of a read."""
    source = said.get("source")
    facts = said["facts"]
    who = said.get("agent") or facts.get("claimed_client")
    agent: dict[str, Any] = {"type": {"coding": [_role("110152" if kind.action == "R" else "110153")]}}
    agent["who"] = {"identifier": {"value": who}} if who else {"display": facts.get("by", "not identified")}
    agent["requestor"] = True
    if source and source != UNKNOWN:
        agent["network"] = {"address": source, "type": "2"}
    return agent


def _server(kind: Kind, issuer: str) -> dict[str, Any]:
    role = _role("110153" if kind.action == "R" else "110152")
    return {"type": {"coding": [role]}, "who": {"display": issuer}, "requestor": False}


def _issued_token(jti: object) -> dict[str, Any]:
    """Return the token that the event is about, as BALP names one: by its jti, never by itself."""
    coding = _coding(f"{_BALP}/UserAgentTypes", "UserOauthAgent", "User OAuth Agent participant")
    return {"type": {"coding": [coding]}, "requestor": False, "policy": [f"{JTI_URN}{jti}"]}


def _role(code: str) -> dict[str, str]:
    return _coding(DCM, code, {"110152": "Destination Role ID", "110153": "Source Role ID"}[code])


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return Coding(system, code, display).shown()


def _request(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not said.get("request_id"):
        return []
    kind = _coding(f"{_BALP}/BasicAuditEntityType", "XrequestId", "X-Request-Id")
    return [{"what": {"identifier": {"value": said["request_id"]}}, "type": kind}]


def _subject(said: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what was written, or what was asked for."""
    found = []
    if said.get("entity"):
        what: dict[str, Any] = {"what": {"identifier": {"value": said["entity"]}}}
        what["type"] = _coding(_ENTITY_TYPE, "2", "System Object")
        what["role"] = _coding(_ENTITY_ROLE, "5", "Master file")
        found.append(what)
    if "query" in facts:
        text = base64.b64encode(str(facts["query"]).encode()).decode("ascii")
        query: dict[str, Any] = {"type": _coding(_ENTITY_TYPE, "2", "System Object")}
        found.append({**query, "role": _coding(_ENTITY_ROLE, "24", "Query"), "query": text})
    return found


def _details(said: Mapping[str, Any], facts: Mapping[str, Any], digest: bytes) -> dict[str, Any]:
    """Return everything else that the record says, and its place in the chain."""
    left_out = ("reason", "jti", "query")
    values = [("event", said["event"]), *((name, v) for name, v in facts.items() if name not in left_out)]
    detail = [
        {"type": name, "valueString": v if isinstance(v, str) else json.dumps(v)} for name, v in values if v != ""
    ]
    return {
        "what": {"identifier": {"system": HASH_SYSTEM, "value": digest.hex()}},
        "type": _coding(_ENTITY_TYPE, "4", "Other"),
        "role": _coding(_ENTITY_ROLE, "13", "Security Resource"),
        "detail": detail,
    }
