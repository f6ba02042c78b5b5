"""A bulk export from kick-off to files, against a real server, with a token that a foreign client signed for."""

import json
import time
from typing import Any

import requests

from authserver.fhir import demo_data
from tests.builders import CLIENT_ID
from tests.keys import key
from tests.stories.world import KeyHost, World, foreign_token

RSA = key("RS384", "rsa-1")
ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}


def _send(url: str, token: str | None, *, method: str = "GET", **headers: str) -> requests.Response:
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.request(method, url, headers={**headers, **authorization}, timeout=10)


def _kick_off(world: World, path: str, token: str) -> requests.Response:
    return _send(world.url(f"/fhir{path}"), token, **ASYNC)


def _finished(status: str, token: str) -> requests.Response:
    """Poll as the server asks for, but not as slowly."""
    deadline = time.monotonic() + 10
    while (response := _send(status, token)).status_code == 202:
        assert time.monotonic() < deadline
        assert int(response.headers["Retry-After"]) > 0
        time.sleep(0.05)
    return response


def _lines(output: dict[str, Any], token: str) -> list[dict[str, Any]]:
    response = _send(output["url"], token)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/fhir+ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


def test_a1_x33_a_group_is_exported_from_kick_off_to_files(client: World, token: str) -> None:
    """A1, X33: 202, poll, 200; every count is the number of lines, every line what a read gives; then deleted."""
    kick_off = _kick_off(client, f"/Group/{demo_data.GROUP_ID}/$export?_type=Patient,Observation,Group", token)
    status = kick_off.headers["Content-Location"]
    answer = _finished(status, token)

    document = answer.json()
    lines = {output["type"]: _lines(output, token) for output in document["output"]}
    assert (kick_off.status_code, answer.status_code) == (202, 200)
    assert status.startswith(f"{client.server.url}/fhir/")
    assert document["requiresAccessToken"] is True
    assert sorted(lines) == ["Group", "Observation", "Patient"]
    assert [len(lines[output["type"]]) for output in document["output"]] == [o["count"] for o in document["output"]]
    assert len(lines["Patient"]) == demo_data.PATIENTS
    patient = lines["Patient"][0]
    assert client.fhir(f"/Patient/{patient['id']}", token).json() == patient
    assert _send(status, token, method="DELETE").status_code == 202
    assert [_send(url, token).status_code for url in (status, document["output"][0]["url"])] == [404, 404]


def test_a1_one_token_opens_search_and_export_and_once_expired_neither(client: World, key_host: KeyHost) -> None:
    """A1: accepted on GET /fhir/Observation and on GET /fhir/Group/{id}/$export (202); 401 on both once expired."""
    client.register(key_host.open("/export/jwks.json"), auth={"client_credentials": {"access_token_expiration": 1}})
    token = str(foreign_token(client, RSA, scope="system/*.read")["access_token"])
    export = f"/Group/{demo_data.GROUP_ID}/$export?_type=Group"
    fresh = [client.fhir("/Observation?_count=1", token), _kick_off(client, export, token)]
    time.sleep(1.1)

    expired = [client.fhir("/Observation?_count=1", token), _kick_off(client, export, token)]

    assert [response.status_code for response in fresh] == [200, 202]
    assert [response.status_code for response in expired] == [401, 401]
    assert [response.headers["WWW-Authenticate"] for response in expired] == [
        'Bearer realm="fhir", error="invalid_token"'
    ] * 2
    assert _send(fresh[1].headers["Content-Location"], token).status_code == 401


def test_a7_an_export_needs_the_policy_at_every_request(client: World, token: str) -> None:
    """A7: kick-off, status and file, each refused once the policy is gone."""
    status = _kick_off(client, "/$export?_type=Patient", token).headers["Content-Location"]
    [output] = _finished(status, token).json()["output"]
    client.delete(f"/AccessPolicy/{CLIENT_ID}")

    answers = [_kick_off(client, "/$export", token), _send(status, token), _send(output["url"], token)]

    assert [response.status_code for response in answers] == [403, 403, 403]
    client.allow()
    assert _send(output["url"], token).status_code == 200


def test_x12_a_scope_with_parameters_exports_only_what_matches(client: World, key_host: KeyHost) -> None:
    """X12: the constrained subset, the same that a search finds."""
    client.register(key_host.open("/x12-export/jwks.json"), scope=["system/Observation.rs?category=laboratory"])
    token = str(foreign_token(client, RSA, scope="system/Observation.rs")["access_token"])

    [output] = _finished(_kick_off(client, "/$export", token).headers["Content-Location"], token).json()["output"]
    exported = {line["id"] for line in _lines(output, token)}

    bundle = client.fhir("/Observation?_count=1000", token).json()
    assert exported == {entry["resource"]["id"] for entry in bundle["entry"]}
    assert len(exported) == output["count"] > 0
    refused = _kick_off(client, f"/Group/{demo_data.GROUP_ID}/$export", token)
    assert refused.status_code == 403
    assert 'scope="system/Group.r"' in refused.headers["WWW-Authenticate"]
