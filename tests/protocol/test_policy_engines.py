"""Engines over whole requests, as an introspecting server describes them: decision and explanation agree.

Rows X16, X23; threats G05, G06, G07. The cases are in tests/vectors/policy_decisions.json.
"""

from typing import Any

import pytest

from authserver.protocol import policy
from authserver.protocol.matcho_values import Mismatch
from authserver.protocol.policy import Verdict
from authserver.protocol.policy_request import from_description
from authserver.protocol.policy_rules import Finding
from tests.builders import make_client, vectors

READ = {"method": "GET", "path": "/fhir/Patient/1", "interaction": "read", "resource_type": "Patient"}


@pytest.mark.parametrize("case", vectors("policy_decisions"))
def test_a_policy_allows_a_described_request_or_not(case: dict[str, Any]) -> None:
    """Row X16. Row X23: the explanation's verdict is the decision's."""
    read = policy.from_resource(case["policy"], policy_id="p")
    client, request = make_client("client-1", **case["client"]), from_description(case["request"])

    decision = policy.decide([read], client, request)
    (verdict,) = policy.explain([read], client, request)

    assert (decision.allowed, verdict.allowed) == (case["allowed"], case["allowed"])
    assert decision.failed == ()


def test_an_explanation_has_every_candidate_with_what_did_not_fit() -> None:
    """Row X23: those after the deciding one as well; a policy for another client is no candidate."""
    bodies: dict[str, dict[str, Any]] = {
        "a": {"engine": "matcho", "matcho": {"request-method": "put", "uri": "#^/fhir/"}},
        "b": {"engine": "allow", "link": [{"reference": "Client/another"}]},
        "c": {"engine": "allow"},
        "d": {"engine": "json-schema", "schema": {"required": ["jwt"]}},
        "e": {"engine": "complex", "or": [{"engine": "matcho", "matcho": {"tenant": "t"}}, {"engine": "allow"}]},
    }
    policies = [policy.from_resource(body, policy_id=name) for name, body in bodies.items()]

    verdicts = policy.explain(policies, make_client("client-1"), from_description(READ))

    method = Finding("matcho", False, (Mismatch("put", "get", ("request-method",)),))
    tenant = Finding("matcho", False, (Mismatch("t", None, ("tenant",)),))
    parts = (tenant, Finding("allow", True))
    schema = verdicts[2].finding
    assert schema is not None
    assert [(one.expected, one.path) for one in schema.mismatches] == [({"required": ["jwt"]}, ())]
    assert verdicts == (
        Verdict("a", "matcho", method),
        Verdict("c", "allow", Finding("allow", True)),
        Verdict("d", "json-schema", schema),
        Verdict("e", "complex", Finding("complex", True, parts=parts)),
    )


def test_an_explanation_as_json() -> None:
    """Row X23."""
    body = {"engine": "complex", "and": [{"engine": "matcho", "matcho": {"tenant": "t"}}, {"engine": "allow"}]}
    read = policy.from_resource(body, policy_id="p")

    (verdict,) = policy.explain([read], make_client("client-1"), from_description(READ))

    mismatches = [{"expected": "t", "but": None, "path": ["tenant"]}]
    parts = [
        {"engine": "matcho", "eval-result": False, "mismatches": mismatches},
        {"engine": "allow", "eval-result": True},
    ]
    assert verdict.as_json() == {"id": "p", "engine": "complex", "eval-result": False, "parts": parts}


def test_a_schema_tells_which_keyword_failed_and_where() -> None:
    """Row X23; a schema `false` has no keyword."""
    schema = {"properties": {"uri": {"pattern": "^/x"}, "params": {"additionalProperties": False}}}
    read = policy.from_resource({"engine": "json-schema", "schema": schema}, policy_id="p")

    (verdict,) = policy.explain([read], make_client("client-1"), from_description(READ))

    assert verdict.finding is not None
    assert verdict.finding.mismatches == (
        Mismatch({"pattern": "^/x"}, "/fhir/Patient/1", ("uri",)),
        Mismatch(False, "Patient", ("params", "resource/type")),
    )


def test_a_hostile_expression_in_a_schema_takes_time_in_proportion_to_the_text() -> None:
    """Threat G09."""
    schema = {"properties": {"body": {"pattern": "^(a+)+$", "type": "string"}}, "required": ["body"]}
    read = policy.from_resource({"engine": "json-schema", "schema": schema}, policy_id="p")
    bodies = ["a" * 100_000 + "!", "a" * 100_000]

    decisions = [
        policy.decide([read], make_client("client-1"), from_description({**READ, "body": body})).allowed
        for body in bodies
    ]

    assert decisions == [False, True]
