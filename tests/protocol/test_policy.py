"""AccessPolicy: what is taken, and who it lets do what. Rows A7, A8, X17 to X20; threats G07, G10.

The cases are in tests/vectors/policies.json.
"""

from typing import Any

import pytest

from authserver.errors import InvalidResource
from authserver.protocol import policy
from authserver.protocol.policy import AccessPolicy, Decision, PolicyRequest
from tests.builders import make_client, vectors

READ = PolicyRequest("GET", "/fhir/Patient/1", (), "read", "Patient", "1")


@pytest.mark.parametrize("case", vectors("policies", lambda case: not case["paths"]))
def test_a_valid_policy_is_read(case: dict[str, Any]) -> None:
    read = policy.from_resource(case["body"], policy_id="policy-1")

    assert read == AccessPolicy("policy-1", "allow", frozenset(case["clients"]))


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
        "this engine is not supported by this server; supported: allow",
        "this engine is unknown; supported: allow",
    ]


ALLOW_ALL = AccessPolicy("a", "allow", frozenset())
FOR_CLIENT = AccessPolicy("b", "allow", frozenset({"client-1"}))
FOR_ANOTHER = AccessPolicy("c", "allow", frozenset({"client-10", "Client-1", "client-"}))
OF_AN_UNKNOWN_ENGINE = AccessPolicy("d", "matcho", frozenset())


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], Decision(allowed=False)),
        ([ALLOW_ALL], Decision(allowed=True, policy="a")),
        ([FOR_CLIENT], Decision(allowed=True, policy="b")),
        ([FOR_ANOTHER], Decision(allowed=False)),
        ([FOR_ANOTHER, FOR_CLIENT, ALLOW_ALL], Decision(allowed=True, policy="b")),
        ([OF_AN_UNKNOWN_ENGINE], Decision(allowed=False)),
    ],
)
def test_the_first_policy_that_allows_decides_and_none_denies(policies: list[AccessPolicy], expected: Decision) -> None:
    """Row A8: no policy, no access. Threat G10: the id of a client is compared whole."""
    assert policy.decide(policies, make_client("client-1"), READ) == expected
