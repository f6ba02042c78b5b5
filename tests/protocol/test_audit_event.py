"""A record as a FHIR R4 AuditEvent (http://hl7.org/fhir/R4/auditevent.html, IHE BALP). Row X25."""

from base64 import b64decode
from dataclasses import asdict
from typing import Any

import pytest

from authserver.protocol import audit_event
from authserver.protocol.audit_event import EVENTS
from authserver.protocol.audit_record import AuditRecord
from tests.builders import ISSUER, NOW


def shown(event: str = "token_issued", **changes: Any) -> dict[str, Any]:
    """Return the AuditEvent of a record with these members."""
    made = AuditRecord(event, NOW * 10**6, **changes)
    return audit_event.resource(7, bytes(32), asdict(made), issuer=ISSUER)


def test_a_token_is_shown_whole() -> None:
    """BALP ITI-71 and OAUTHaccessTokenUse.Minimal: the client as source, the token by its jti."""
    facts = {"jti": "1.a", "scope": "system/Patient.rs"}

    found = shown(agent="acme", request_id="r1", source="192.0.2.1", facts=facts)

    dcm, balp = "http://dicom.nema.org/resources/ontology/DCM", "https://profiles.ihe.net/ITI/BALP/CodeSystem"
    source = {"system": dcm, "code": "110153", "display": "Source Role ID"}
    destination = {"system": dcm, "code": "110152", "display": "Destination Role ID"}
    oauth = {"system": f"{balp}/UserAgentTypes", "code": "UserOauthAgent"}
    terminology = "http://terminology.hl7.org/CodeSystem"
    assert found == {
        "resourceType": "AuditEvent",
        "id": "7",
        "type": {"system": dcm, "code": "110114", "display": "User Authentication"},
        "subtype": [{"system": "urn:ihe:event-type-code", "code": "ITI-71", "display": "Get Access Token"}],
        "action": "E",
        "recorded": "2027-01-15T08:00:00.000000Z",
        "outcome": "0",
        "agent": [
            {
                "type": {"coding": [source]},
                "who": {"identifier": {"value": "acme"}},
                "requestor": True,
                "network": {"address": "192.0.2.1", "type": "2"},
            },
            {"type": {"coding": [destination]}, "who": {"display": ISSUER}, "requestor": False},
            {
                "type": {"coding": [{**oauth, "display": "User OAuth Agent participant"}]},
                "requestor": False,
                "policy": ["urn:ietf:params:oauth:jti:1.a"],
            },
        ],
        "source": {
            "observer": {"display": ISSUER},
            "type": [
                {"system": f"{terminology}/security-source-type", "code": "4", "display": "Application Server"},
            ],
        },
        "entity": [
            {
                "what": {"identifier": {"value": "r1"}},
                "type": {"system": f"{balp}/BasicAuditEntityType", "code": "XrequestId", "display": "X-Request-Id"},
            },
            {
                "what": {"identifier": {"system": "urn:authserver:audit-hash", "value": "00" * 32}},
                "type": {"system": f"{terminology}/audit-entity-type", "code": "4", "display": "Other"},
                "role": {"system": f"{terminology}/object-role", "code": "13", "display": "Security Resource"},
                "detail": [
                    {"type": "event", "valueString": "token_issued"},
                    {"type": "scope", "valueString": "system/Patient.rs"},
                ],
            },
        ],
    }


def test_a_refusal_says_why_and_who_was_claimed() -> None:
    found = shown("token_refused", outcome=4, facts={"reason": "key_not_found", "claimed_client": "acme"})

    assert (found["outcome"], found["outcomeDesc"]) == ("4", "key_not_found")
    assert found["agent"][0]["who"] == {"identifier": {"value": "acme"}}


@pytest.mark.parametrize(("facts", "who"), [({}, "not identified"), ({"by": "command line"}, "command line")])
def test_who_is_no_client_is_told_in_words(facts: dict[str, str], who: str) -> None:
    assert shown("key_retired", facts=facts, source="unknown")["agent"][0] == {
        "type": {"coding": [{"system": audit_event.DCM, "code": "110153", "display": "Source Role ID"}]},
        "who": {"display": who},
        "requestor": True,
    }


def test_a_change_shows_its_resource_and_what_changed() -> None:
    change = {"path": "active", "before": True, "after": False}

    found = shown("resource_updated", entity="Client/acme", facts={"version_id": 2, "changes": [change]})

    subject, details = found["entity"]
    assert (found["type"]["code"], found["subtype"][0]["code"], found["action"]) == ("rest", "update", "U")
    assert subject["what"] == {"identifier": {"value": "Client/acme"}}
    assert details["detail"][1:] == [
        {"type": "version_id", "valueString": "2"},
        {"type": "changes", "valueString": '[{"path": "active", "before": true, "after": false}]'},
    ]


def test_a_reading_has_its_query_and_the_roles_of_a_read() -> None:
    """BALP: of a read the client is the destination; the query in base64."""
    found = shown("audit_read", agent="root", facts={"query": "date=ge2027"})

    roles = [agent["type"]["coding"][0]["code"] for agent in found["agent"]]
    assert (found["action"], roles) == ("R", ["110152", "110153"])
    assert b64decode(found["entity"][0]["query"]) == b"date=ge2027"


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_what_fhir_demands(event: str) -> None:
    """Cardinalities of R4: type, recorded, agent.requestor, source.observer; no entity with name and query."""
    found = shown(event, facts={"query": ""})

    assert all(found[name] for name in ("type", "subtype", "recorded", "agent", "source", "entity"))
    assert sum(agent["requestor"] for agent in found["agent"]) == 1
    assert found["action"] in "CRUDE"
    assert found["source"]["observer"]
    assert all(detail["valueString"] for entity in found["entity"] for detail in entity.get("detail", []))
