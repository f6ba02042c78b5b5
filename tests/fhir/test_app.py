"""The app over HTTP: the documented flow, paging, and what every answer carries."""

import json
import re

import pytest
from flask.testing import FlaskClient

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import (
    BASE,
    FHIR_JSON,
    LOINC,
    TOKEN_ENDPOINT,
    FakeIntrospection,
    ListLog,
    all_pages,
    bearer,
    entry_ids,
    make_answer,
    make_app,
    make_patient,
)


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


def test_a_scope_with_a_parameter_narrows_searches(client: FlaskClient) -> None:
    """Row X12."""
    everything = client.get("/fhir/Observation?category=vital-signs&_count=1000", headers=bearer()).get_json()

    narrowed = client.get("/fhir/Observation?_count=1000", headers=bearer("vital-signs")).get_json()
    contrary = client.get("/fhir/Observation?category=laboratory", headers=bearer("vital-signs")).get_json()

    assert entry_ids(narrowed) == entry_ids(everything) != []
    assert "entry" not in contrary


def test_a_lenient_client_has_unsupported_parameters_left_out(client: FlaskClient) -> None:
    headers = {**bearer(), "Prefer": "respond-async, handling=lenient"}

    bundle = client.get("/fhir/Observation?nonsense=1&code=4548-4&_count=1000", headers=headers).get_json()

    assert bundle["link"][0]["url"] == f"{BASE}/Observation?code=4548-4&_count=1000"
    assert len(bundle["entry"]) > 10


def test_the_page_size_is_bounded(demo_store: SqlStore, definitions: Definitions) -> None:
    app = make_app(demo_store, definitions, fhir_default_page_size=3, fhir_max_page_size=5)

    sizes = [
        len(app.test_client().get(f"/fhir/Observation{query}", headers=bearer()).get_json()["entry"])
        for query in ("", "?_count=4", "?_count=6")
    ]

    assert sizes == [3, 4, 5]


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
