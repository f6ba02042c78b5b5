"""Second ways to say what is asked for: each is refused before anybody is asked, and nothing is stored. Row B6."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fhir.builders import ON_SQLITE, Writable, bearer, make_observation, send

pytestmark = ON_SQLITE
PATHS = [
    "Patient/../Observation/o1", "Patient/%2e%2e/Observation/o1", "Observation%2Fo1", "Observation//o1",
    "Observation/o1/", "./Observation/o1", "Observation;a=b/o1", "Observation/o1%00", "Observation\\o1",
    "%4fbservation/o1", "Observation/Observation/o1/x",
    "Observation/o1?_method=DELETE", "Observation/o1?access_token=all",
]  # fmt: skip
HEADERS = [
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-HTTP-Method": "PATCH"},
    {"X-Method-Override": "DELETE"},
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_a_path_with_two_readings_writes_nothing(api: FlaskClient, path: str, method: str) -> None:
    """Threat G05: `..`, encoded slashes, doubled types."""
    send(api, "PUT", "Observation/o1", make_observation())

    answer = send(api, method, path, make_observation(status="amended"))

    assert answer.status_code in (400, 404)
    assert send(api, "GET", "Observation/o1").headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("headers", HEADERS)
def test_no_header_makes_another_method(api: FlaskClient, writable: Writable, headers: dict[str, str]) -> None:
    """Threat G06: METHOD_OVERRIDE_REJECTED."""
    send(api, "PUT", "Observation/o1", make_observation())
    writable.log.events.clear()

    answer: Any = api.get("/fhir/Observation/o1", headers={**bearer("all"), **headers})

    assert answer.status_code == 400
    assert [event["reason"] for event in writable.log.events] == ["method_override"]
    assert send(api, "GET", "Observation/o1").status_code == 200


@pytest.mark.parametrize("name", ["X-Tenant", "X-Tenant-Id", "X-Forwarded-Host", "X-Original-Url", "X-Rewrite-Url"])
def test_no_header_leads_to_another_tenant_or_host(api: FlaskClient, name: str) -> None:
    """Rows B2 and B6: what is answered is as without it."""
    plain = send(api, "GET", "Patient/p1")

    told: Any = api.get("/fhir/Patient/p1", headers={**bearer("all"), name: "other"})
    created: Any = api.post("/fhir/Patient", json={"resourceType": "Patient"}, headers={**bearer("all"), name: "other"})

    assert (told.status_code, told.data) == (200, plain.data)
    assert created.headers["Location"].startswith("https://fhir.example/fhir/Patient/")
    assert created.get_json()["meta"]["tag"][0]["code"] == "mine"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
def test_a_compressed_body_is_not_guessed_at(api: FlaskClient, encoding: str) -> None:
    answer = send(api, "POST", "Observation", make_observation(), Content_Encoding=encoding)

    assert answer.status_code == 415
