"""Questions of AuthZEN as the request that policies judge. Row X57; threat G05."""

from typing import Any

import pytest

from authserver.errors import BadRequest, NonCanonicalPath
from authserver.protocol.access_evaluation import ACTIONS, Question, read
from authserver.protocol.policy_request import OPERATIONS, PolicyRequest, operation_of

GOOD: dict[str, Any] = {
    "subject": {"type": "client", "id": "acme"},
    "action": {"name": "FhirRead"},
    "resource": {"type": "Patient", "id": "1"},
}


def asked(**changes: Any) -> Question:
    """Read the good question with changes; a None leaves the member out."""
    body = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return read(body, fhir_base="/fhir")


def test_a_question_is_the_request_that_it_is_about() -> None:
    context = {
        "parameters": {"code": ["a", "b"], "_count": "1"},
        "headers": {"X-Purpose": "care"},
        "remote-addr": "192.0.2.1",
        "scheme": "https",
        "time": "2026-01-01",
    }

    assert asked(context=context) == Question(
        "acme",
        PolicyRequest(
            "GET",
            "/fhir/Patient/1",
            (("code", "a"), ("code", "b"), ("_count", "1")),
            "read",
            "Patient",
            "1",
            scheme="https",
            headers=(("x-purpose", "care"),),
            remote_addr="192.0.2.1",
        ),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FhirSearch", "GET /fhir/Patient"),
        ("FhirPostSearch", "POST /fhir/Patient/_search"),
        ("FhirCreate", "POST /fhir/Patient"),
        ("FhirUpdate", "PUT /fhir/Patient/1"),
        ("FhirPatch", "PATCH /fhir/Patient/1"),
        ("FhirDelete", "DELETE /fhir/Patient/1"),
        ("FhirHistory", "GET /fhir/Patient/1/_history"),
        ("FhirHistoryType", "GET /fhir/Patient/_history"),
        ("FhirRead", "GET /fhir/Patient/1"),
    ],
)
def test_an_action_is_an_operation_with_its_method_and_path(name: str, expected: str) -> None:
    request = asked(action={"name": name}).request

    assert (operation_of(request), f"{request.method} {request.path}") == (name, expected)


def test_every_action_is_an_operation_that_policies_can_link_to() -> None:
    assert ACTIONS.keys() - OPERATIONS == set()


@pytest.mark.parametrize(
    ("word", "name"), [("read", "FhirRead"), ("search-type", "FhirSearch"), ("update", "FhirUpdate")]
)
def test_an_action_may_be_named_by_the_word_of_fhir(word: str, name: str) -> None:
    assert asked(action={"name": word}) == asked(action={"name": name})


def test_our_own_resources_are_the_registry() -> None:
    """What opens FhirRead opens no Client (row X19)."""
    request = asked(resource={"type": "Client", "id": "x"}).request

    assert (operation_of(request), request.path) == ("registry-read", "/Client/x")


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": None},
        {"subject": "acme"},
        {"subject": {"type": "client"}},
        {"subject": {"type": "client", "id": ""}},
        {"subject": {"type": "client", "id": 1}},
        {"subject": {"type": "user", "id": "acme"}},
        {"action": None},
        {"action": {"name": "FhirVread"}},
        {"action": {"name": "can_read"}},
        {"action": {"name": "GET"}},
        {"resource": None},
        {"resource": {"type": "Patient"}},
        {"resource": {"type": "patient", "id": "1"}},
        {"resource": {"type": "Unknown", "id": "1"}},
        {"resource": {"type": "Patient", "id": "1/_history"}},
        {"resource": {"type": "Patient", "id": ".."}},
        {"context": []},
        {"context": "x"},
        {"context": {"headers": []}},
        {"context": {"headers": {"a": 1}}},
        {"context": {"headers": {"A": "1", "a": "1"}}},
        {"context": {"parameters": [["a", "b"]]}},
        {"context": {"parameters": {"a": 1}}},
        {"context": {"scheme": 1}},
    ],
)
def test_what_cannot_be_understood_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((BadRequest, NonCanonicalPath)):
        asked(**changes)

    assert asked() == read(GOOD, fhir_base="/fhir")
