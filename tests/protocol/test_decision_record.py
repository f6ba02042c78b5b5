"""What a record of a decision holds, and that it holds no value of a request. Row X23."""

import json
from typing import Any

import pytest

from authserver.protocol import decision_record, policy
from authserver.protocol.decision_record import DecisionRecord, from_json, template
from authserver.protocol.policy import AccessPolicy, Decision
from authserver.protocol.policy_request import PolicyRequest
from tests.builders import make_client

NOW = 1_800_000_000
CANARY = "Mustermann"
PRIVATE = PolicyRequest(
    "PUT",
    f"/fhir/Patient/{CANARY}",
    (("name", CANARY), ("name", CANARY), (f"{CANARY} {CANARY}", "x")),
    "update",
    "Patient",
    CANARY,
    headers=(("x-purpose", CANARY),),
    remote_addr=CANARY,
    body={"name": [{"family": CANARY}], CANARY: 1},
    claims={"tenant": "north"},
    id="0123456789abcdef",
)


def compiled(body: dict[str, Any], policy_id: str = "p") -> AccessPolicy:
    """Return the policy as it is registered, in its third version."""
    return policy.from_resource(body, policy_id=policy_id, version=3)


def recorded(*policies: AccessPolicy, request: PolicyRequest = PRIVATE) -> DecisionRecord:
    """Return the record of the decision of these policies."""
    client = make_client("acme")
    return decision_record.record(
        policy.decide(policies, client, request),
        policy.explain(policies, client, request),
        client=client,
        request=request,
        record_id=request.id,
        at=NOW,
        keep=60,
    )


def test_a_refusal_is_recorded_with_the_verdict_of_every_candidate() -> None:
    found = recorded(
        compiled({"engine": "matcho", "matcho": {"request-method": "get"}}),
        compiled({"engine": "allow", "mode": "shadow"}, "q"),
    )

    assert found == DecisionRecord(
        id="0123456789abcdef",
        at=NOW,
        until=NOW + 60,
        client_id="acme",
        method="PUT",
        path="/fhir/Patient/{id}",
        operation="FhirUpdate",
        resource_type="Patient",
        parameters=("name",),
        allowed=False,
        policy=None,
        verdicts=(
            {
                "id": "p",
                "version": 3,
                "engine": "matcho",
                "eval-result": False,
                "mismatches": [{"expected": "get", "path": ["request-method"]}],
            },
            {"id": "q", "version": 3, "mode": "shadow", "engine": "allow", "eval-result": True},
        ),
    )


@pytest.mark.parametrize(
    "condition",
    [
        {"engine": "matcho", "matcho": {"params": {"name": "x"}, "body": {"name": {"$every": {"family": "x"}}}}},
        {"engine": "matcho", "matcho": {"uri": "#^/x", "headers": {"x-purpose": "#x"}, "remote-addr": "::1"}},
        {"engine": "matcho", "matcho": {"params": {"resource/id": ".body.name.0.given"}}},
        {"engine": "json-schema", "schema": {"properties": {"body": {"additionalProperties": False}}}},
        {"engine": "json-schema", "schema": {"properties": {"body": {"additionalProperties": {"type": "array"}}}}},
        {"engine": "json-schema", "schema": {"properties": {"params": {"additionalProperties": {"maxLength": 1}}}}},
        {"engine": "json-schema", "schema": {"properties": {"params": {"propertyNames": {"maxLength": 1}}}}},
    ],
)
def test_no_value_of_a_request_is_in_a_record(condition: dict[str, Any]) -> None:
    """A patient's name in path, query, header and body, and as a name in query and body."""
    combined = {"engine": "complex", "and": [{"engine": "allow"}, condition]}

    found = recorded(compiled(condition), compiled(combined))

    assert found.allowed is False
    assert CANARY not in json.dumps(found.as_json())


def test_a_record_is_read_as_it_was_written() -> None:
    found = recorded(compiled({"engine": "allow"}))

    assert from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/fhir/Patient/1", "/fhir/Patient/{id}"),
        ("/fhir/Patient/1/_history/2", "/fhir/Patient/{id}/_history/{id}"),
        ("/north/fhir/Patient", "/{id}/fhir/Patient"),
        ("/Client/acme/$revoke-tokens", "/Client/{id}/$revoke-tokens"),
        ("/fhir/Patient/1/$smith", "/fhir/Patient/{id}/{id}"),
        ("/", "/"),
        ("/auth/introspect", "/auth/introspect"),
        ("/" + "a/" * 50, "/" + "{id}/" * 10 + "{id}"),
    ],
)
def test_a_path_is_recorded_by_the_words_that_are_nobodys_name(path: str, shown: str) -> None:
    assert template(path) == shown


def test_words_of_the_caller_that_are_no_method_and_no_type_are_not_kept() -> None:
    """A resource server describes what it likes."""
    odd = PolicyRequest("SMITH", "/x", (), "smith", "Smith", id="0" * 16)

    found = recorded(request=odd)

    assert (found.method, found.operation, found.resource_type, found.path) == ("other", None, None, "/{id}")


def test_a_record_is_bounded() -> None:
    """A long condition, many names, many policies, many mismatches."""
    long = {
        "engine": "matcho",
        "matcho": {"uri": {"$enum": ["x" * 90] * 9}, "params": {f"p{i}": "x" for i in range(99)}},
    }
    request = PolicyRequest("GET", "/x", tuple((f"n{number:03}", "v") for number in range(99)))

    found = recorded(*(compiled(long, f"p{number}") for number in range(150)), request=request)

    assert (len(found.verdicts), len(found.parameters)) == (100, 20)
    assert len(found.verdicts[0]["mismatches"]) == 10
    assert found.verdicts[0]["mismatches"][0] == {"expected": "…", "path": ["uri"]}


class Broken:
    """A rule in which something goes wrong."""

    engine = "matcho"

    def allows(self, case: object) -> bool:
        """Fail."""
        raise ValueError

    def explain(self, case: object) -> Any:
        """Fail."""
        raise ValueError


def test_a_policy_that_fails_is_recorded_as_one() -> None:
    """Threat G07."""
    found = recorded(AccessPolicy("p", Broken(), version=1))

    assert found.verdicts == ({"id": "p", "version": 1, "engine": "matcho", "eval-result": False, "failed": True},)


def test_kinds_of_records_are_told_apart_by_client_and_outcome() -> None:
    """A flood of one kind may not push out the others."""
    refused, allowed = recorded(), recorded(compiled({"engine": "allow"}))

    assert (refused.reason, allowed.reason) == ("refused acme", "allowed acme")
    assert policy.decide([], make_client(), PRIVATE) == Decision(allowed=False)
