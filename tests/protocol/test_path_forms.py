"""Other spellings of one path, judged by ten policies: the decision of the canonical path, or a 400. Threat G05.

The forms are in tests/vectors/path_forms.json, each a spelling of /fhir/Patient/p1.
"""

from typing import Any

import pytest

from authserver.errors import BadRequest, InvalidRequest, ProtocolError
from authserver.protocol import forwarded_request, policy
from authserver.protocol.policy_request import PolicyRequest, from_description
from tests.builders import make_client, vectors

CANONICAL = "/fhir/Patient/p1"
PATTERNS: list[dict[str, Any]] = [
    {"uri": CANONICAL},
    {"uri": "#^/fhir/Patient/[^/]+$"},
    {"params": {"resource/type": "Patient", "resource/id": "p1"}},
    {"operation": {"id": "FhirRead"}},
    {"uri": {"$one-of": ["#^/fhir/Group/", "#/p1$"]}},
    {"$not": {"uri": CANONICAL}},
    {"$not": {"uri": "#^/fhir/Patient/p1"}},
    {"params": {"resource/type": {"$not": "Patient"}}},
    {"params": {"resource/id": {"$not": "p1"}}},
    {"$not": {"operation": {"id": "FhirRead"}}},
]
POLICIES = [policy.from_resource({"engine": "matcho", "matcho": one}, policy_id="p") for one in PATTERNS]
EXPECTED = [True] * 5 + [False] * 5


def decisions(request: PolicyRequest) -> list[bool]:
    """Return what each of the policies decides alone."""
    client = make_client("client-1")
    return [policy.decide([one], client, request).allowed for one in POLICIES]


def forwarded(target: str) -> PolicyRequest:
    """Return what a proxy describes."""
    request = forwarded_request.parse("GET", target)
    return forwarded_request.policy_request(request, forwarded_request.fhir_interaction(request, ("/fhir",)))


def test_there_are_at_least_sixty_forms_and_ten_policies() -> None:
    assert (len(vectors("path_forms")) >= 60, len(POLICIES)) == (True, 10)


def test_the_canonical_path_has_these_decisions() -> None:
    assert decisions(forwarded(CANONICAL)) == EXPECTED


@pytest.mark.parametrize("case", vectors("path_forms", lambda case: case["refused"]))
def test_a_path_that_a_server_could_read_as_another_is_refused(case: dict[str, Any]) -> None:
    """Threat G05."""
    with pytest.raises((BadRequest, ProtocolError)) as refused:
        forwarded(case["target"])

    assert refused.value.status == 400


@pytest.mark.parametrize("case", vectors("path_forms", lambda case: not case["refused"]))
def test_a_form_of_the_same_path_has_the_same_decisions(case: dict[str, Any]) -> None:
    """Threat G05: the slash at the end does not count; what the query says is not what the path says."""
    assert decisions(forwarded(case["target"])) == EXPECTED


@pytest.mark.parametrize("case", vectors("path_forms", lambda case: case["refused"]))
def test_a_description_of_such_a_path_is_refused(case: dict[str, Any]) -> None:
    """Threat G05. Letters of another case are another path to the server that describes what it is about to serve."""
    if case["target"].lower() == CANONICAL.lower():
        assert decisions(from_description({"method": "GET", "path": case["target"]}))[:5] == [False] * 4 + EXPECTED[4:5]
        return
    with pytest.raises((InvalidRequest, ProtocolError)) as refused:
        from_description({"method": "GET", "path": case["target"]})

    assert refused.value.status == 400
