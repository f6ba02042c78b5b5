"""The app over HTTP: the documented flow, every refusal's shape, and what every answer carries."""

import json
import re
import time
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
    BASE,
    LOINC,
    TOKEN_ENDPOINT,
    FakeIntrospection,
    ListLog,
    all_pages,
    bearer,
    entry_ids,
    make_answer,
    make_app,
    make_observation,
    make_patient,
)

FHIR_JSON = "application/fhir+json; charset=utf-8"


@pytest.fixture
def introspection() -> FakeIntrospection:
    """Some tokens."""
    return FakeIntrospection(
        {
            "good": make_answer(),
            "other-client": make_answer(client_id="other"),
            "other-tenant": make_answer(tenant="t"),
            "patients": make_answer(scope="system/Patient.read"),
            "vital-signs": make_answer(scope="system/Observation.rs?category=vital-signs"),
            "writer": make_answer(scope="system/*.*"),
            "no-policy": make_answer(policy_decision={"allowed": False}),
            "expired": make_answer(exp=int(time.time()) - 1),
        }
    )


@pytest.fixture
def log() -> ListLog:
    """What the app tells the operator."""
    return ListLog()


@pytest.fixture
def client(
    demo_store: SqlStore, definitions: Definitions, introspection: FakeIntrospection, log: ListLog
) -> FlaskClient:
    """A client of the app over the demo data."""
    return make_app(demo_store, definitions, introspection=introspection, log=log).test_client()


def _outcome(response: Any) -> tuple[int, str, str]:
    body = response.get_json()
    assert body["resourceType"] == "OperationOutcome"
    assert response.content_type == FHIR_JSON
    (issue,) = body["issue"]
    return response.status_code, issue["code"], issue.get("expression", [""])[0]


def test_the_documented_search_answers_a_page_of_matches(client: FlaskClient) -> None:
    """Rows A1 and A18."""
    response = client.get("/fhir/Observation?code=4548-4&_count=2", headers=bearer())

    bundle = response.get_json()
    assert (response.status_code, response.content_type) == (200, FHIR_JSON)
    assert (bundle["resourceType"], bundle["type"], len(bundle["entry"])) == ("Bundle", "searchset", 2)
    codes = [entry["resource"]["code"]["coding"][0] for entry in bundle["entry"]]
    assert [(c["system"], c["code"]) for c in codes] == [(LOINC, "4548-4")] * 2


def test_every_entry_has_the_four_members_and_its_full_url_dereferences(client: FlaskClient) -> None:
    """Row A19."""
    bundle = client.get("/fhir/Observation?code=4548-4&_count=2", headers=bearer()).get_json()

    for entry in bundle["entry"]:
        assert sorted(entry) == ["fullUrl", "link", "resource", "search"]
        assert entry["search"] == {"mode": "match"}
        assert entry["link"] == [{"relation": "self", "url": entry["fullUrl"]}]
        read = client.get(entry["fullUrl"].removeprefix("https://fhir.example"), headers=bearer())
        assert read.get_json() == entry["resource"]


def test_meta_and_headers_agree_on_the_version(client: FlaskClient) -> None:
    """Row A20."""
    resource = client.get("/fhir/Patient?_count=1", headers=bearer()).get_json()["entry"][0]["resource"]

    response = client.get(f"/fhir/Patient/{resource['id']}", headers=bearer())

    meta = response.get_json()["meta"]
    assert response.headers["ETag"] == f'W/"{meta["versionId"]}"' == 'W/"1"'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", meta["lastUpdated"])
    assert meta["extension"] == [
        {
            "url": "https://fhir.aidbox.app/fhir/StructureDefinition/created-at",
            "valueInstant": meta["lastUpdated"],
        }
    ]
    assert response.last_modified is not None
    assert f"{response.last_modified:%Y-%m-%dT%H:%M:%S}" == meta["lastUpdated"][:19]


@pytest.mark.parametrize(
    ("condition", "status"), [('W/"1"', 304), ('"1"', 304), ("*", 304), ('W/"2", W/"1"', 304), ('W/"2"', 200)]
)
def test_a_known_version_is_not_sent_again(client: FlaskClient, condition: str, status: int) -> None:
    response = client.get("/fhir/Group/demo-patients", headers={**bearer(), "If-None-Match": condition})

    assert (response.status_code, response.headers["ETag"]) == (status, 'W/"1"')
    assert (response.data == b"") is (status == 304)


def test_head_is_judged_and_answered_as_get_without_a_body(client: FlaskClient) -> None:
    """Threat G06."""
    get = client.get("/fhir/Group/demo-patients", headers=bearer())
    head = client.head("/fhir/Group/demo-patients", headers=bearer())

    assert (head.status_code, head.data, head.content_length) == (200, b"", get.content_length)
    assert client.head("/fhir/Group/demo-patients", headers=bearer("patients")).status_code == 403
    assert client.head("/fhir/Group/demo-patients").status_code == 401


def test_pages_lead_through_every_match_once(client: FlaskClient) -> None:
    pages = all_pages(client, "/fhir/Observation?code=4548-4&_count=10", bearer())
    whole = client.get("/fhir/Observation?code=4548-4&_count=1000", headers=bearer()).get_json()

    found = [resource_id for page in pages for resource_id in entry_ids(page)]
    assert len(pages) > 2
    assert found == entry_ids(whole)


@pytest.mark.parametrize("token", ["other-client", "other-tenant"])
def test_a_foreign_cursor_is_refused(client: FlaskClient, token: str) -> None:
    """Threat H09."""
    link = client.get("/fhir/Observation?_count=1", headers=bearer()).get_json()["link"][1]["url"]

    path = link.removeprefix("https://fhir.example")

    assert client.get(path, headers=bearer()).status_code == 200
    assert _outcome(client.get(path, headers=bearer(token))) == (400, "invalid", "http._cursor")


@pytest.mark.parametrize(
    ("old", "new"), [("_count=1", "_count=2"), ("Observation", "Patient"), ("cursor=", "cursor=A")]
)
def test_a_cursor_in_another_request_is_refused(client: FlaskClient, old: str, new: str) -> None:
    """Threat H09."""
    link = client.get("/fhir/Observation?_count=1", headers=bearer()).get_json()["link"][1]["url"]

    response = client.get(link.removeprefix("https://fhir.example").replace(old, new), headers=bearer())

    assert _outcome(response) == (400, "invalid", "http._cursor")


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

    assert _outcome(response) == (401, "login", "")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fhir"'


@pytest.mark.parametrize("token", ["unknown", "expired"])
def test_a_token_that_is_not_active_is_401(client: FlaskClient, token: str) -> None:
    """Row A21."""
    response = client.get("/fhir/Observation", headers=bearer(token))

    assert _outcome(response) == (401, "login", "")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fhir", error="invalid_token"'


def test_a_token_without_the_scope_is_403_and_says_which(client: FlaskClient) -> None:
    """Row A18."""
    response = client.get("/fhir/Observation?code=4548-4", headers=bearer("patients"))

    assert _outcome(response) == (403, "forbidden", "")
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="fhir", error="insufficient_scope", scope="system/Observation.s"'
    )


def test_a_token_without_a_policy_is_403(client: FlaskClient) -> None:
    """Row A8."""
    assert _outcome(client.get("/fhir/Observation", headers=bearer("no-policy"))) == (403, "forbidden", "")


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
    not_there = client.open(path, method=method, headers=bearer("writer"), json=make_observation())

    assert _outcome(refused) == (403, "forbidden", "")
    assert f'scope="system/Observation.{letter}"' in refused.headers["WWW-Authenticate"]
    assert _outcome(not_there) == (405, "not-supported", "")
    assert not_there.headers["Allow"] == "GET, HEAD"


def test_no_answer_of_introspection_is_503(demo_store: SqlStore, definitions: Definitions) -> None:
    class Down:
        def introspect(self, token: str, request: RequestDescription) -> dict[str, object]:
            raise IntrospectionUnavailable(detail="connection refused")

    response = (
        make_app(demo_store, definitions, introspection=Down()).test_client().get("/fhir/Observation", headers=bearer())
    )

    assert _outcome(response) == (503, "transient", "")
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


def test_a_scope_with_a_parameter_narrows_searches(client: FlaskClient) -> None:
    """Row X12."""
    everything = client.get("/fhir/Observation?category=vital-signs&_count=1000", headers=bearer()).get_json()

    narrowed = client.get("/fhir/Observation?_count=1000", headers=bearer("vital-signs")).get_json()
    contrary = client.get("/fhir/Observation?category=laboratory", headers=bearer("vital-signs")).get_json()

    assert entry_ids(narrowed) == entry_ids(everything) != []
    assert "entry" not in contrary


@pytest.mark.parametrize(
    ("query", "expression"),
    [
        ("nonsense=1", "http.nonsense"),
        ("_sort=date", "http._sort"),
        ("_include=Observation:subject", "http._include"),
        ("subject:Patient.name=x", "http.subject:Patient.name"),
        ("_has:Provenance:target:agent=x", "http._has:Provenance:target:agent"),
    ],
)
def test_an_unsupported_parameter_is_refused_by_name(client: FlaskClient, query: str, expression: str) -> None:
    """Row B8; strict is the default."""
    response = client.get(f"/fhir/Observation?{query}", headers=bearer())

    assert _outcome(response) == (400, "not-supported", expression)


def test_a_lenient_client_has_unsupported_parameters_left_out(client: FlaskClient) -> None:
    headers = {**bearer(), "Prefer": "respond-async, handling=lenient"}

    bundle = client.get("/fhir/Observation?nonsense=1&code=4548-4&_count=1000", headers=headers).get_json()

    assert bundle["link"][0]["url"] == f"{BASE}/Observation?code=4548-4&_count=1000"
    assert len(bundle["entry"]) > 10


@pytest.mark.parametrize("query", ["date=soon", "_count=0", "_count=x", "code=%ff", "_cursor=x"])
def test_a_malformed_value_is_400(client: FlaskClient, query: str) -> None:
    assert client.get(f"/fhir/Observation?{query}", headers=bearer()).status_code == 400


def test_the_page_size_is_bounded(demo_store: SqlStore, definitions: Definitions) -> None:
    app = make_app(demo_store, definitions, fhir_default_page_size=3, fhir_max_page_size=5)

    sizes = [
        len(app.test_client().get(f"/fhir/Observation{query}", headers=bearer()).get_json()["entry"])
        for query in ("", "?_count=4", "?_count=6")
    ]

    assert sizes == [3, 4, 5]


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

    assert _outcome(response) == (400, "invalid", "")
    assert introspection.asked == []


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_405_and_tell_nothing(client: FlaskClient, method: str) -> None:
    """Threat G06."""
    response = client.open("/fhir/Observation/1", method=method, headers=bearer())

    assert _outcome(response) == (405, "not-supported", "")


@pytest.mark.parametrize("path", ["/fhir", "/fhir/Observation/1/_history", "/fhir/Patient/$export", "/fhir/_history"])
def test_an_operation_that_is_not_there_is_404(client: FlaskClient, path: str) -> None:
    """Threat H10."""
    assert _outcome(client.get(path, headers=bearer())) == (404, "not-supported", "")


def test_a_large_form_is_413(client: FlaskClient) -> None:
    response = client.post("/fhir/Observation", data={"a": "x" * 70_000}, headers=bearer())

    assert response.status_code == 413


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/fhir/Observation", "good"),
        ("/fhir/Group/demo-patients", "good"),
        ("/fhir/Observation", "unknown"),
        ("/fhir/Observation", "patients"),
        ("/fhir/nowhere/at/all", "good"),
        ("/fhir//", "good"),
        ("/fhir/metadata", ""),
    ],
)
def test_every_answer_has_the_safe_headers(client: FlaskClient, path: str, token: str) -> None:
    """Threats H14 and H16; row X27."""
    headers = client.get(path, headers=bearer(token)).headers

    assert headers["Cache-Control"] == "private, no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("sandbox")
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])


def test_introspection_is_told_of_the_request(client: FlaskClient, introspection: FakeIntrospection) -> None:
    client.get("/fhir/Observation?code=4548-4", headers=bearer())

    assert introspection.asked == [
        (
            "good",
            {
                "method": "GET",
                "path": "/fhir/Observation",
                "parameters": [["code", "4548-4"]],
                "interaction": "search-type",
                "resource_type": "Observation",
                "resource_id": None,
            },
        )
    ]


def test_the_log_names_the_request_and_no_patient(client: FlaskClient, log: ListLog) -> None:
    """Threat H17."""
    response = client.get("/fhir/Patient?name=Canary-Smith", headers=bearer())
    client.get("/fhir/Patient/canary-id", headers=bearer())
    client.get("/fhir/Canary/1?canary=canary", headers=bearer("canary-token"))

    first = log.events[0]
    duration = first.pop("microseconds")
    assert isinstance(duration, int)
    assert first == {
        "event": "request",
        "request_id": response.headers["X-Request-Id"],
        "status": 200,
        "method": "GET",
        "interaction": "search-type",
        "resource_type": "Patient",
        "client_id": "bulk-client",
        "jti": "token-1",
    }
    assert "canary" not in json.dumps(log.events).lower()


def test_the_unforeseen_is_500_without_detail(definitions: Definitions, log: ListLog) -> None:
    class Broken:
        cursor_secret = b""
        resource_types: frozenset[str] = frozenset()

        def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
            raise RuntimeError("canary")

    app = make_app(Broken(), definitions, log=log)  # type: ignore[arg-type]

    response = app.test_client().get("/fhir/Patient/1", headers=bearer())

    assert _outcome(response) == (500, "exception", "")
    assert b"canary" not in response.data
    assert "canary" not in json.dumps(log.events)
    assert "RuntimeError at " in str(log.events[0]["detail"])


def test_the_smart_configuration_is_served_below_the_base(client: FlaskClient) -> None:
    """Row X1."""
    response = client.get("/fhir/.well-known/smart-configuration", headers={"Accept": "application/fhir+json"})

    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.get_json()["token_endpoint"] == TOKEN_ENDPOINT


def test_a_layer_at_the_root_of_a_host_works(sqlite_store: SqlStore, definitions: Definitions) -> None:
    sqlite_store.put(Constraint.system(""), [make_patient()], now=0)
    introspection = FakeIntrospection({"good": make_answer(aud="https://fhir.example")})
    app = make_app(sqlite_store, definitions, introspection=introspection, fhir_base_url="https://fhir.example/")

    assert app.test_client().get("/metadata").status_code == 200
    assert entry_ids(app.test_client().get("/Patient", headers=bearer()).get_json()) == ["p1"]
