"""vread, the histories and the operations over HTTP, and what a scope hides of them."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fhir.builders import BASE, ON_SQLITE, entry_ids, make_observation, make_patient, send


def _put(api: FlaskClient, resource: dict[str, Any]) -> None:
    path = f"{resource['resourceType']}/{resource['id']}"
    assert send(api, "PUT", path, resource).status_code in (200, 201)


@pytest.fixture
def versions(api: FlaskClient) -> FlaskClient:
    """Observation/o1: final, amended, final again, deleted."""
    for status in ("final", "amended", "final"):
        _put(api, make_observation(status=status))
    send(api, "DELETE", "Observation/o1")
    return api


def _requests(response: Any) -> list[tuple[str, str, str]]:
    assert response.status_code == 200, response.get_json()
    entries = response.get_json().get("entry", [])
    return [(e["request"]["method"], e["request"]["url"], e["response"]["etag"]) for e in entries]


def test_a_version_is_read_by_its_number(versions: FlaskClient) -> None:
    """Decision table, vread; leak L19."""
    answer = send(versions, "GET", "Observation/o1/_history/2")

    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"2"')
    assert (answer.get_json()["status"], answer.get_json()["meta"]["versionId"]) == ("amended", "2")
    assert send(versions, "GET", "Observation/o1/_history/2", If_None_Match='W/"2"').status_code == 304
    assert send(versions, "HEAD", "Observation/o1/_history/2").data == b""


@pytest.mark.parametrize(
    ("version", "token", "status"),
    [
        ("1", "final", 200), ("2", "final", 404), ("3", "final", 200), ("4", "final", 410), ("4", "all", 410),
        ("5", "all", 404), ("0", "all", 404), ("x", "all", 404), ("01", "all", 404), ("1", "other", 404),
        ("1", "create", 403), ("1", "update", 403),
    ],
)  # fmt: skip
def test_each_version_is_judged_by_its_own_content(
    versions: FlaskClient, version: str, token: str, status: int
) -> None:
    """Decision table, vread; threat H01, leak L8."""
    assert send(versions, "GET", f"Observation/o1/_history/{version}", token=token).status_code == status


def test_a_history_has_every_version_newest_first(versions: FlaskClient) -> None:
    """http.html#history: deletions are entries without a resource."""
    answer = send(versions, "GET", "Observation/o1/_history")

    bundle = answer.get_json()
    assert _requests(answer) == [
        ("DELETE", "Observation/o1", 'W/"4"'),
        ("PUT", "Observation/o1", 'W/"3"'),
        ("PUT", "Observation/o1", 'W/"2"'),
        ("PUT", "Observation/o1", 'W/"1"'),
    ]
    assert (bundle["type"], bundle["total"]) == ("history", 4)
    assert ["resource" in entry for entry in bundle["entry"]] == [False, True, True, True]
    assert bundle["link"] == [{"relation": "self", "url": f"{BASE}/Observation/o1/_history"}]


def test_a_history_leaves_out_what_is_hidden(versions: FlaskClient) -> None:
    """Decision table, instance history: `total` counts the rest; leaks L8, L9."""
    narrow = send(versions, "GET", "Observation/o1/_history", token="final")
    foreign = send(versions, "GET", "Observation/o1/_history", token="other")
    absent = send(versions, "GET", "Observation/nobody/_history", token="final")

    assert [etag for _, _, etag in _requests(narrow)] == ['W/"4"', 'W/"3"', 'W/"1"']
    assert narrow.get_json()["total"] == 3
    assert (foreign.status_code, foreign.data) == (404, absent.data)


def test_the_history_of_a_type_needs_s_and_of_the_system_takes_what_has_it(versions: FlaskClient) -> None:
    """Decision table, type and system history; threat H01 (a system history once skipped every filter)."""
    of_type = send(versions, "GET", "Observation/_history", token="final")
    of_system = send(versions, "GET", "_history", token="final")
    named = send(versions, "GET", "_history?_type=Patient", token="final")

    assert [etag for _, _, etag in _requests(of_type)] == ['W/"4"', 'W/"3"', 'W/"1"']
    assert {url.partition("/")[0] for _, url, _ in _requests(of_system)} == {"Observation", "Patient"}
    assert [url for _, url, _ in _requests(named)] == ["Patient/p1"]
    assert send(versions, "GET", "Observation/_history", token="create-read").status_code == 403
    assert send(versions, "GET", "_history", token="create").status_code == 403
    assert send(versions, "GET", "_history?_type=Nonsense").status_code == 400


def test_audit_events_are_in_no_wildcards_history(versions: FlaskClient) -> None:
    """Row X25."""
    every = send(versions, "GET", "_history?_count=100")
    audited = send(versions, "GET", "_history?_count=100", token="auditor")

    assert {url.partition("/")[0] for _, url, _ in _requests(every)} == {"Observation", "Patient"}
    assert {url.partition("/")[0] for _, url, _ in _requests(audited)} == {"AuditEvent"}


def test_pages_of_a_history_hold_each_version_once(versions: FlaskClient) -> None:
    """Threats H09 and H01: the cursor is bound to its client, tenant and request."""
    seen, path = [], "Observation/_history?_count=3"
    while path:
        bundle = send(versions, "GET", path).get_json()
        seen.extend(entry["response"]["etag"] for entry in bundle["entry"])
        links = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        path = links[0].removeprefix(f"{BASE}/") if links else ""
        if links:
            assert send(versions, "GET", path, token="other").status_code == 400
            assert send(versions, "GET", path.replace("Observation", "Patient")).status_code == 400

    assert seen == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']


@ON_SQLITE
@pytest.mark.parametrize(
    "query", ["_since=soon", "_at=x", "_count=0", "_count=x", "_sort=a", "_type=Observation", "x=1"]
)
def test_other_parameters_of_a_history_are_refused(versions: FlaskClient, query: str) -> None:
    assert send(versions, "GET", f"Observation/_history?{query}").status_code == 400


def test_a_history_may_begin_at_a_moment(versions: FlaskClient) -> None:
    assert len(_requests(send(versions, "GET", "Observation/_history?_since=2020-01-01"))) == 4
    assert _requests(send(versions, "GET", "Observation/_history?_since=2990-01-01")) == []
    assert _requests(send(versions, "GET", "Observation/_history?_at=2020")) == []


# $validate


@ON_SQLITE
def test_validate_tells_every_finding_with_200(api: FlaskClient) -> None:
    """Row B9, decision table $validate."""
    valid = send(api, "POST", "Patient/$validate", make_patient())
    invalid = send(api, "POST", "Patient/$validate", make_patient(gender="x", nickname="y"))

    assert [issue["severity"] for issue in valid.get_json()["issue"]] == ["information"]
    assert (invalid.status_code, [issue.get("expression") for issue in invalid.get_json()["issue"]]) == (
        200,
        [["Patient.gender"], ["Patient.nickname"], None],
    )
    assert entry_ids(send(api, "GET", "Patient").get_json()) == ["p1"]


@ON_SQLITE
def test_validate_takes_parameters_and_asks_for_the_letter_of_its_mode(api: FlaskClient) -> None:
    parameter = [{"name": "resource", "resource": make_observation()}, {"name": "mode", "valueCode": "update"}]
    body = {"resourceType": "Parameters", "parameter": parameter}

    assert send(api, "POST", "Observation/$validate", body).status_code == 200
    assert send(api, "POST", "Observation/$validate", body, token="create").status_code == 403
    assert send(api, "POST", "Observation/$validate?mode=delete", make_observation(), token="create").status_code == 403
    assert send(api, "POST", "Observation/$validate", make_observation(), token="create").status_code == 200
    assert send(api, "POST", "Observation/$validate", make_observation(), token="read").status_code == 403
    assert send(api, "POST", "Observation/$validate?mode=x", make_observation()).status_code == 400
    assert send(api, "POST", "Observation/$validate", make_patient()).status_code == 400


def test_validate_asks_the_store_about_the_instance_alone(api: FlaskClient) -> None:
    """Row B6 and threat H10: references are not looked up, a hidden instance is absent."""
    _put(api, make_observation(status="amended"))
    dangling = make_observation(subject={"reference": "Patient/foreign"})

    free = send(api, "POST", "Observation/$validate", dangling)
    seen = send(api, "POST", "Observation/o1/$validate", dangling)
    hidden = send(api, "POST", "Observation/o1/$validate", dangling, token="final")
    absent = send(api, "POST", "Observation/nobody/$validate", dangling, token="final")

    assert [issue["severity"] for issue in free.get_json()["issue"]] == ["information"]
    assert seen.status_code == 200
    assert (hidden.status_code, hidden.data) == (404, absent.data)
