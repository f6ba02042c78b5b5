"""AccessPolicy: what is taken, and who it lets do what. Rows A7, A8, X17 to X20; threats G07, G10.

The cases are in tests/vectors/policies.json.
"""

from typing import Any

import pytest

from authserver.errors import InvalidResource
from authserver.protocol import policy
from authserver.protocol.policy import AccessPolicy, Decision
from authserver.protocol.policy_request import Case, PolicyRequest
from authserver.protocol.policy_rules import Allow, Finding
from tests.builders import make_client, vectors

READ = PolicyRequest("GET", "/fhir/Patient/1", (), "read", "Patient", "1")


@pytest.mark.parametrize("case", vectors("policies", lambda case: not case["paths"]))
def test_a_valid_policy_is_read(case: dict[str, Any]) -> None:
    read = policy.from_resource(case["body"], policy_id="policy-1")

    found = (read.id, read.engine, read.clients, read.operations)
    assert found == (
        "policy-1",
        case["body"]["engine"],
        frozenset(case["clients"]),
        frozenset(case.get("operations", ())),
    )


@pytest.mark.parametrize("case", vectors("policies", lambda case: case["paths"]))
def test_every_fault_of_a_policy_is_found_at_its_path(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidResource) as refused:
        policy.from_resource(case["body"], policy_id="policy-1")

    assert [issue.expression for issue in refused.value.findings] == case["paths"]


def test_an_engine_that_is_known_elsewhere_is_told_from_an_unknown_one() -> None:
    told = []
    for engine in ("sql", "magic"):
        with pytest.raises(InvalidResource) as refused:
            policy.from_resource({"engine": engine}, policy_id="p")
        told.append(refused.value.findings[0].diagnostics)

    assert told == [
        "this engine is not supported: this server executes no SQL that a policy brings along; "
        "supported: allow, matcho, json-schema, complex",
        "this engine is unknown; supported: allow, matcho, json-schema, complex",
    ]


class Failing:
    """A rule in which something goes wrong."""

    engine = "failing"

    def allows(self, case: Case) -> bool:
        """Fail."""
        raise RecursionError

    def explain(self, case: Case) -> Finding:
        """Fail."""
        raise RecursionError


ALLOW_ALL = AccessPolicy("a", Allow())
FOR_CLIENT = AccessPolicy("b", Allow(), frozenset({"client-1"}))
FOR_ANOTHER = AccessPolicy("c", Allow(), frozenset({"client-10", "Client-1", "client-"}))
FAILS = AccessPolicy("d", Failing())
FOR_READING = AccessPolicy("e", Allow(), operations=frozenset({"FhirRead"}))
FOR_SEARCHING = AccessPolicy("f", Allow(), operations=frozenset({"FhirSearch"}))
FOR_ANOTHER_AND_READING = AccessPolicy("g", Allow(), frozenset({"x"}), frozenset({"FhirRead"}))


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], Decision(allowed=False)),
        ([ALLOW_ALL], Decision(allowed=True, policy="a")),
        ([FOR_CLIENT], Decision(allowed=True, policy="b")),
        ([FOR_ANOTHER], Decision(allowed=False)),
        ([FOR_ANOTHER, FOR_CLIENT, ALLOW_ALL], Decision(allowed=True, policy="b")),
        ([FAILS], Decision(allowed=False, failed=("d",))),
        ([FAILS, FOR_ANOTHER, FOR_CLIENT], Decision(allowed=True, policy="b", failed=("d",))),
        ([FOR_CLIENT, FAILS], Decision(allowed=True, policy="b")),
        ([FOR_READING], Decision(allowed=True, policy="e")),
        ([FOR_SEARCHING], Decision(allowed=False)),
        ([FOR_ANOTHER_AND_READING], Decision(allowed=True, policy="g")),
    ],
)
def test_the_first_policy_that_allows_decides_and_none_denies(policies: list[AccessPolicy], expected: Decision) -> None:
    """Row A8: no policy, no access. Row X19: links are alternatives. Threat G07: a rule that fails allows nothing.
    Threat G10: the id of a client is compared whole."""
    assert policy.decide(policies, make_client("client-1"), READ) == expected


def test_a_rule_that_fails_is_explained_as_a_refusal() -> None:
    """Threat G07; row X23."""
    (verdict,) = policy.explain([FAILS], make_client("client-1"), READ)

    assert (verdict.allowed, verdict.finding) == (False, None)
    assert verdict.as_json() == {"id": "d", "engine": "failing", "eval-result": False, "failed": True}


def test_a_policy_in_the_shadow_is_explained_and_allows_nothing() -> None:
    """Row X52; it does not make answers last either."""
    shadow = policy.from_resource({"engine": "allow", "mode": "shadow"}, policy_id="s", version=7)
    enforced = policy.from_resource({"engine": "allow", "mode": "enforced"}, policy_id="e")
    client = make_client("client-1")

    verdicts = policy.explain([shadow, enforced], client, READ)

    assert policy.decide([shadow], client, READ) == Decision(allowed=False)
    assert policy.decide([shadow, enforced], client, READ) == Decision(allowed=True, policy="e")
    assert [policy.allows_whatever([one], client, READ) for one in (shadow, enforced)] == [False, True]
    assert [(one.policy, one.allowed, one.shadow, one.version) for one in verdicts] == [
        ("s", True, True, 7),
        ("e", True, False, 0),
    ]


@pytest.mark.parametrize("mode", ["Shadow", "off", "", None, True])
def test_another_mode_is_refused(mode: object) -> None:
    """Row X52: what reads as if it decided nothing must not decide."""
    with pytest.raises(InvalidResource) as refused:
        policy.from_resource({"engine": "allow", "mode": mode}, policy_id="s")

    assert [issue.expression for issue in refused.value.findings] == ["AccessPolicy.mode"]
