"""$everything and $document over HTTP, and what a scope hides of them."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fhir.builders import (
    BASE,
    ON_SQLITE,
    Writable,
    make_answer,
    make_observation,
    make_patient,
    outcome,
    send,
)


def _put(api: FlaskClient, resource: dict[str, Any]) -> None:
    path = f"{resource['resourceType']}/{resource['id']}"
    assert send(api, "PUT", path, resource).status_code in (200, 201)


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
    assert send(chart, "POST", "Patient/$everything", {"id": ""}).status_code == 400
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


def test_everything_lists_what_may_be_read_and_searched_both(chart: FlaskClient, writable: Writable) -> None:
    """Decision table, $everything: C(T,r) and C(T,s), each with its own parameters."""
    for name, letters in (("searches-final", "rs"), ("reads-final", "sr")):
        narrow, wide = letters[1], letters[0]
        scope = f"system/Patient.rs system/Observation.{wide} system/Observation.{narrow}?status=final"
        writable.introspection.answers[name] = make_answer(tenant="mine", scope=scope)

    found = [_everything(chart, token=name) for name in ("searches-final", "reads-final")]

    assert found == [["Patient/p1", "Observation/o0", "Observation/o2"]] * 2


# $everything of the type


ALL = ["Patient/p1", "Patient/p2", "Observation/o0", "Observation/o1", "Observation/o2", "Observation/other"]


def _pages(api: FlaskClient, path: str, **options: Any) -> list[list[str]]:
    """The matches of each page, following the links."""
    pages = []
    while path:
        bundle = send(api, "GET", path, **options).get_json()
        found = [one["resource"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match"]
        pages.append([f"{one['resourceType']}/{one['id']}" for one in found])
        links = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        path = links[0].removeprefix(f"{BASE}/") if links else ""
    return pages


def test_everything_of_the_type_is_that_of_every_patient(chart: FlaskClient) -> None:
    """http://hl7.org/fhir/R4/patient-operation-everything.html; what refers to no Patient here is not in it."""
    _put(chart, make_observation("nobody", subject={"display": "x"}))
    both = {"reference": "Patient/p1"}, {"reference": "Patient/p2"}
    participants = [{"actor": one, "status": "accepted"} for one in both]
    _put(chart, {"resourceType": "Appointment", "id": "a", "status": "booked", "participant": participants})

    found = _everything(chart, "Patient/$everything")

    assert found == ["Patient/p1", "Patient/p2", "Appointment/a", *ALL[2:], "Organization/org"]
    assert _pages(chart, "Patient/$everything?_type=Patient,Observation") == [ALL]
    assert send(chart, "POST", "Patient/$everything", {}).get_json()["entry"][0]["resource"]["id"] == "p1"


def test_pages_of_everything_of_the_type_hold_each_resource_once(chart: FlaskClient) -> None:
    """Threat H09: the cursor is sealed for this caller and this request, not for $everything of one Patient."""
    assert _pages(chart, "Patient/$everything?_count=2") == [ALL[:2], ALL[2:4], ALL[4:]]

    link = send(chart, "GET", "Patient/$everything?_count=2").get_json()["link"][1]["url"].removeprefix(f"{BASE}/")
    one_patient = link.replace("Patient/$", "Patient/p1/$")
    statuses = [send(chart, "GET", path, token=token).status_code for path, token in
                ((link, "all"), (one_patient, "all"), (link, "other"))]  # fmt: skip
    assert statuses == [200, 400, 400]


def test_everything_of_the_type_is_of_the_patients_that_the_token_may_see(
    chart: FlaskClient, writable: Writable
) -> None:
    """Threats H01, H10 and H18: a hidden Patient's resources are not in it, although their type is open."""
    _put(chart, make_patient("p2", gender="female"))
    scopes = {
        "women": "system/Patient.rs?gender=female system/Observation.rs",
        "unlisted": "system/Patient.r system/Observation.rs",
        "no-patients": "system/Observation.rs",
    }
    for name, scope in scopes.items():
        writable.introspection.answers[name] = make_answer(tenant="mine", scope=scope)

    refused = [send(chart, "GET", "Patient/$everything", token=name) for name in ("unlisted", "no-patients")]

    assert _everything(chart, "Patient/$everything", token="women") == ["Patient/p2", "Observation/other"]
    assert _pages(chart, "Patient/$everything", token="other") == [["Patient/foreign"]]
    assert [outcome(one) for one in refused] == [(403, "forbidden", "")] * 2
    assert [one.headers["WWW-Authenticate"].rpartition(" ")[2] for one in refused] == [
        'scope="system/Patient.s"',
        'scope="system/Patient.r"',
    ]


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
