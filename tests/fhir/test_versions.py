"""vread, the histories and the operations over HTTP, and what a scope hides of them."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fhir.builders import BASE, ON_SQLITE, entry_ids, make_observation, make_patient, outcome, send


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


# $everything


@pytest.fixture
def chart(api: FlaskClient) -> FlaskClient:
    """A patient with an organization, three observations of its own, and one of somebody else."""
    _put(api, {"resourceType": "Organization", "id": "org", "name": "x"})
    _put(api, make_patient(managingOrganization={"reference": "Organization/org"}))
    _put(api, make_patient("p2"))
    for number in range(3):
        status = "amended" if number == 1 else "final"
        _put(api, make_observation(f"o{number}", status=status, effectiveDateTime=f"202{number}-01-01"))
    _put(api, make_observation("other", subject={"reference": "Patient/p2"}))
    return api


def _everything(api: FlaskClient, path: str = "Patient/p1/$everything", **options: Any) -> list[str]:
    answer = send(api, "GET", path, **options)
    assert answer.status_code == 200, answer.get_json()
    entries = answer.get_json()["entry"]
    return [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries]


def test_everything_is_the_patient_its_compartment_and_what_that_refers_to(chart: FlaskClient) -> None:
    """Row B9; threat H10."""
    assert _everything(chart) == [
        "Patient/p1", "Observation/o0", "Observation/o1", "Observation/o2", "Organization/org"
    ]  # fmt: skip


def test_everything_leaves_out_what_the_token_may_not_see(chart: FlaskClient) -> None:
    """Decision table, $everything: types without r and s, resources outside the constraint, other tenants."""
    narrow = _everything(chart, token="final")
    blind = send(chart, "GET", "Patient/p1/$everything", token="create")
    foreign = send(chart, "GET", "Patient/foreign/$everything")
    absent = send(chart, "GET", "Patient/nobody/$everything")

    assert narrow == ["Patient/p1", "Observation/o0", "Observation/o2"]
    assert blind.status_code == 403
    assert (foreign.status_code, foreign.data) == (404, absent.data)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("_type=Observation", ["Observation/o0", "Observation/o1", "Observation/o2"]),
        ("_type=Patient", ["Patient/p1", "Organization/org"]),
        ("start=2021&_type=Observation", ["Observation/o1", "Observation/o2"]),
        ("end=2021&_type=Observation", ["Observation/o0", "Observation/o1"]),
        ("_since=2020&_type=Observation", ["Observation/o0", "Observation/o1", "Observation/o2"]),
    ],
)
def test_everything_may_be_narrowed(chart: FlaskClient, query: str, found: list[str]) -> None:
    assert _everything(chart, f"Patient/p1/$everything?{query}") == found


@pytest.mark.parametrize(
    "body",
    [{"id": "p1"}, {"resourceType": "Parameters", "parameter": [{"name": "id", "valueId": "p1"}]}],
)
def test_everything_of_the_type_takes_the_id_in_its_body(chart: FlaskClient, body: dict[str, Any]) -> None:
    """Row B9."""
    answer = send(chart, "POST", "Patient/$everything", body)

    assert (answer.status_code, len(answer.get_json()["entry"])) == (200, 5)
    assert send(chart, "POST", "Patient/$everything", {}).status_code == 400
    assert send(chart, "POST", "Patient/$everything", {"id": "foreign"}).status_code == 404
    assert send(chart, "POST", "Patient/p1/$everything", None).status_code == 200


def test_pages_of_everything_hold_each_resource_once(chart: FlaskClient) -> None:
    """Threat H09."""
    seen, path = [], "Patient/p1/$everything?_count=2&_type=Observation,Patient"
    while path:
        bundle = send(chart, "GET", path).get_json()
        seen.extend(e["resource"]["id"] for e in bundle["entry"] if e["search"]["mode"] == "match")
        links = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        path = links[0].removeprefix(f"{BASE}/") if links else ""

    assert seen == ["p1", "o0", "o1", "o2"]


@ON_SQLITE
@pytest.mark.parametrize("query", ["x=1", "_count=0", "_type=X", "start=soon", "_since=a", "id=p1", "_cursor=x"])
def test_other_parameters_of_everything_are_refused(chart: FlaskClient, query: str) -> None:
    assert send(chart, "GET", f"Patient/p1/$everything?{query}").status_code == 400


# $document


def test_a_document_holds_the_composition_and_what_it_refers_to(chart: FlaskClient) -> None:
    """Decision table, $document: what the token may not read is left out."""
    composition = {
        "resourceType": "Composition",
        "id": "c1",
        "status": "final",
        "type": {"text": "x"},
        "title": "x",
        "date": "2024-01-01",
        "subject": {"reference": "Patient/p1"},
        "author": [{"reference": "Organization/org"}],
        "section": [{"entry": [{"reference": "Observation/o0"}]}],
    }
    _put(chart, composition)
    send(chart, "DELETE", "Organization/org")

    answer = send(chart, "GET", "Composition/c1/$document")

    bundle = answer.get_json()
    names = [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle["entry"]]
    assert names == ["Composition/c1", "Observation/o0", "Patient/p1"]
    assert (bundle["type"], bundle["identifier"]["system"]) == ("document", "urn:ietf:rfc:3986")
    checked = send(chart, "POST", "Bundle/$validate", bundle).get_json()
    assert [issue["severity"] for issue in checked["issue"]] == ["information"]
    assert outcome(send(chart, "GET", "Composition/nobody/$document")) == (404, "not-found", "")
    assert send(chart, "GET", "Composition/c1/$document?persist=true").status_code == 400
    assert send(chart, "GET", "Composition/c1/$document", token="final").status_code == 403
