"""The app over HTTP: the shape of every refusal, and the order in which they come."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from authserver.errors import IntrospectionUnavailable
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.introspection import RequestDescription
from authserver.fhir.store.port import Stored
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import (
    FakeIntrospection,
    ListLog,
    bearer,
    entry_ids,
    make_answer,
    make_app,
    make_observation,
    outcome,
)


@pytest.mark.parametrize("token", ["other-client", "other-tenant"])
def test_a_foreign_cursor_is_refused(client: FlaskClient, token: str) -> None:
    """Threat H09."""
    link = client.get("/fhir/Observation?_count=1", headers=bearer()).get_json()["link"][1]["url"]

    path = link.removeprefix("https://fhir.example")

    assert client.get(path, headers=bearer()).status_code == 200
    assert outcome(client.get(path, headers=bearer(token))) == (400, "invalid", "http._cursor")


@pytest.mark.parametrize(
    ("old", "new"), [("_count=1", "_count=2"), ("Observation", "Patient"), ("cursor=", "cursor=A")]
)
def test_a_cursor_in_another_request_is_refused(client: FlaskClient, old: str, new: str) -> None:
    """Threat H09."""
    link = client.get("/fhir/Observation?_count=1", headers=bearer()).get_json()["link"][1]["url"]

    response = client.get(link.removeprefix("https://fhir.example").replace(old, new), headers=bearer())

    assert outcome(response) == (400, "invalid", "http._cursor")


def test_each_page_is_authorised_anew(client: FlaskClient, introspection: FakeIntrospection) -> None:
    """Threat H09: a cursor outlives neither the token nor the policy."""
    link = client.get("/fhir/Observation?_count=1", headers=bearer()).get_json()["link"][1]["url"]
    path = link.removeprefix("https://fhir.example")

    introspection.answers["good"] = make_answer(policy_decision={"allowed": False})
    refused = client.get(path, headers=bearer())
    introspection.answers["good"] = {"active": False}
    revoked = client.get(path, headers=bearer())

    assert (refused.status_code, revoked.status_code) == (403, 401)


def test_no_token_is_401_and_says_bearer(client: FlaskClient) -> None:
    """Row A18; RFC 6750 section 3."""
    response = client.get("/fhir/Observation?code=4548-4&_count=2")

    assert outcome(response) == (401, "login", "")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fhir"'


@pytest.mark.parametrize("token", ["unknown", "expired"])
def test_a_token_that_is_not_active_is_401(client: FlaskClient, token: str) -> None:
    """Row A21."""
    response = client.get("/fhir/Observation", headers=bearer(token))

    assert outcome(response) == (401, "login", "")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fhir", error="invalid_token"'


def test_a_token_without_the_scope_is_403_and_says_which(client: FlaskClient) -> None:
    """Row A18."""
    response = client.get("/fhir/Observation?code=4548-4", headers=bearer("patients"))

    assert outcome(response) == (403, "forbidden", "")
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="fhir", error="insufficient_scope", scope="system/Observation.s"'
    )


def test_a_token_without_a_policy_is_403(client: FlaskClient) -> None:
    """Row A8."""
    assert outcome(client.get("/fhir/Observation", headers=bearer("no-policy"))) == (403, "forbidden", "")


@pytest.mark.parametrize(
    ("told", "carried"),
    [("0123456789abcdef", "0123456789abcdef"), ("short", None), ("a\r\nSet-Cookie: b", None), (7, None), (None, None)],
)
def test_a_refusal_of_the_policies_carries_the_id_of_the_decision(
    client: FlaskClient, introspection: FakeIntrospection, told: object, carried: str | None
) -> None:
    """Row X23: as introspection told it, if it can be an id."""
    introspection.answers["good"] = make_answer(policy_decision={"allowed": False, "decision": told})

    response = client.get("/fhir/Observation", headers=bearer())

    assert (response.status_code, response.headers.get("X-Decision-Id")) == (403, carried)


@pytest.mark.parametrize(
    ("method", "path", "letter"),
    [
        ("POST", "/fhir/Observation", "c"),
        ("PUT", "/fhir/Observation/1", "u"),
        ("PATCH", "/fhir/Observation/1", "u"),
        ("DELETE", "/fhir/Observation/1", "d"),
    ],
)
def test_a_read_only_token_writes_nothing_whatever_the_policy_says(
    client: FlaskClient, method: str, path: str, letter: str
) -> None:
    """Row A22."""
    refused = client.open(path, method=method, headers=bearer(), json=make_observation())
    looked_at = client.open(f"{path}?x=1", method=method, headers=bearer("writer"), json=make_observation())

    assert outcome(refused) == (403, "forbidden", "")
    assert f'scope="system/Observation.{letter}"' in refused.headers["WWW-Authenticate"]
    assert outcome(looked_at) == (400, "invalid", "")


def test_no_answer_of_introspection_is_503(demo_store: SqlStore, definitions: Definitions) -> None:
    class Down:
        def introspect(self, token: str, request: RequestDescription) -> dict[str, object]:
            raise IntrospectionUnavailable(detail="connection refused")

    response = (
        make_app(demo_store, definitions, introspection=Down()).test_client().get("/fhir/Observation", headers=bearer())
    )

    assert outcome(response) == (503, "transient", "")
    assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("path", ["/fhir/Nonsense", "/fhir/Observation/nobody", "/fhir/observation"])
def test_what_is_not_there_is_404(client: FlaskClient, path: str) -> None:
    """Row B10."""
    assert client.get(path, headers=bearer()).status_code == 404


def test_hidden_and_absent_are_the_same_bytes(client: FlaskClient) -> None:
    """Threat H01 and leak L9: a resource outside the scope's criteria, of another tenant, or nowhere."""
    lab = client.get("/fhir/Observation?category=laboratory&_count=1", headers=bearer()).get_json()
    vital = client.get("/fhir/Observation?category=vital-signs&_count=1", headers=bearer()).get_json()
    (hidden,), (visible,) = entry_ids(lab), entry_ids(vital)

    answers = [
        client.get(f"/fhir/Observation/{resource_id}", headers=bearer(token))
        for resource_id, token in ((hidden, "vital-signs"), ("nobody", "vital-signs"), (hidden, "other-tenant"))
    ]

    assert client.get(f"/fhir/Observation/{visible}", headers=bearer("vital-signs")).status_code == 200
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.data for answer in answers}) == 1
    names = [sorted(set(answer.headers.keys())) for answer in answers]
    assert names == [names[0]] * 3


@pytest.mark.parametrize(
    ("query", "expression"),
    [
        ("nonsense=1", "http.nonsense"),
        ("_sort=nonsense", "http._sort"),
        ("_sort=_score", "http._sort"),
        ("_include:all=Observation:subject", "http._include:all"),
        ("subject:Patient.nonsense=x", "http.subject:Patient.nonsense"),
        ("_has:Provenance:target:nonsense=x", "http._has:Provenance:target:nonsense"),
        ("code:text=x", "http.code:text"),
        ("_profile:below=x", "http._profile:below"),
        ("_filter=x", "http._filter"),
        ("_type=Patient", "http._type"),
        ("_contained=true", "http._contained"),
        ("_format=xml", "http._format"),
    ],
)
def test_an_unsupported_parameter_is_refused_by_name(client: FlaskClient, query: str, expression: str) -> None:
    """Row B8; strict is the default."""
    response = client.get(f"/fhir/Observation?{query}", headers=bearer())

    assert outcome(response) == (400, "not-supported", expression)


@pytest.mark.parametrize("query", ["date=soon", "_count=-1", "_count=x", "code=%ff", "_cursor=x"])
def test_a_malformed_value_is_400(client: FlaskClient, query: str) -> None:
    assert client.get(f"/fhir/Observation?{query}", headers=bearer()).status_code == 400


@pytest.mark.parametrize(
    "request_members",
    [
        {"query_string": "access_token=good"},
        {"query_string": "access_token=good", "headers": bearer()},
        {"query_string": "_method=DELETE", "headers": bearer()},
        {"method": "POST", "data": {"access_token": "good"}},
        {"headers": {**bearer(), "X-HTTP-Method-Override": "DELETE"}},
        {"headers": {**bearer(), "X-HTTP-Method": "DELETE"}},
        {"headers": {**bearer(), "X-Method-Override": "DELETE"}},
        {"headers": [("Authorization", "Bearer good"), ("Authorization", "Bearer good")]},
        {"headers": {"Authorization": "Bearer good,Bearer good"}},
    ],
)
def test_second_ways_to_say_who_or_what_are_400(
    client: FlaskClient, introspection: FakeIntrospection, request_members: dict[str, Any]
) -> None:
    """Threats F09 and G06; nobody is asked about the token."""
    response = client.open("/fhir/Observation", **request_members)

    assert response.status_code == 400
    assert introspection.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/fhir//Observation",
        "/fhir/Observation/",
        "/fhir/./Observation",
        "/fhir/Patient/../Observation",
        "/fhir/Observation;x=1",
        "/fhir/Observation%3Bx=1",
        "/fhir/%4Fbservation",
        "/fhir/Observation%2Fa",
        "/fhir/Observation/a%00",
        "/fhir/Observation/a%0A",
        "/fhir/Observation/a\\b",
        "/fhir/Observation/" + "a" * 65,
        "/fhir/",
        "/",
    ],
)
def test_a_path_with_a_second_spelling_is_400_before_anything_else(
    client: FlaskClient, introspection: FakeIntrospection, path: str
) -> None:
    """Threat G05."""
    response = client.get(path, headers=bearer())

    assert outcome(response) == (400, "invalid", "")
    assert introspection.asked == []


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_405_and_tell_nothing(client: FlaskClient, method: str) -> None:
    """Threat G06."""
    response = client.open("/fhir/Observation/1", method=method, headers=bearer())

    assert outcome(response) == (405, "not-supported", "")


@pytest.mark.parametrize(
    "path", ["/fhir/$match", "/fhir/Observation/1/$meta-add", "/fhir/Observation/$everything", "/fhir/$graphql"]
)
def test_an_operation_that_is_not_there_is_404(client: FlaskClient, path: str) -> None:
    """Threat H10."""
    assert outcome(client.get(path, headers=bearer())) == (404, "not-supported", "")


def test_a_large_form_is_413(client: FlaskClient) -> None:
    response = client.post("/fhir/Observation", data={"a": "x" * 70_000}, headers=bearer())

    assert response.status_code == 413


def test_the_unforeseen_is_500_without_detail(definitions: Definitions, log: ListLog) -> None:
    class Broken:
        cursor_secret = b""
        resource_types: frozenset[str] = frozenset()

        def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
            raise RuntimeError("canary")

    app = make_app(Broken(), definitions, log=log)  # type: ignore[arg-type]

    response = app.test_client().get("/fhir/Patient/1", headers=bearer())

    assert outcome(response) == (500, "exception", "")
    assert b"canary" not in response.data
    assert "canary" not in json.dumps(log.events)
    assert "RuntimeError at " in str(log.events[0]["detail"])
