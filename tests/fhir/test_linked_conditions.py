"""Conditions of writes that look at other types, and searches inside Bundles: the same rights as in any search."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fhir.builders import BASE, ON_SQLITE, Writable, make_answer, make_observation, make_patient, send

TOKENS = {
    "no-patients": "system/Observation.cruds system/Patient.r",
    "females": "system/Observation.cruds system/Patient.r system/Patient.s?gender=female",
    "patients": "system/Patient.cruds",
}


@pytest.fixture
def linked(api: FlaskClient, writable: Writable) -> FlaskClient:
    """The client, with an Observation of a male Patient, and with tokens that differ in the Patients they search."""
    for name, scope in TOKENS.items():
        writable.introspection.answers[name] = make_answer(tenant="mine", scope=scope)
    assert send(api, "PUT", "Patient/p1", make_patient(gender="male")).status_code == 200
    assert send(api, "PUT", "Observation/o1", make_observation()).status_code == 201
    return api


def _entry(method: str, url: str, resource: Any = None) -> dict[str, Any]:
    return {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {})}


def _post(api: FlaskClient, kind: str, *entries: Any, token: str = "all") -> Any:
    return send(api, "POST", "", {"resourceType": "Bundle", "type": kind, "entry": list(entries)}, token=token)


@pytest.mark.parametrize(("token", "status"), [("all", 200), ("females", 201), ("no-patients", 403)])
def test_a_conditional_create_looks_at_other_types_with_their_rights(
    linked: FlaskClient, token: str, status: int
) -> None:
    """Threats H04 and H07, leak L10: a Patient that is hidden is no match, and a type that is not open is refused."""
    condition = "patient.name=smith&code=4548-4"

    answer = send(linked, "POST", "Observation", make_observation(), token=token, If_None_Exist=condition)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("token", "status", "left"), [("all", 204, 410), ("females", 204, 200), ("no-patients", 403, 200)]
)
def test_a_conditional_delete_looks_at_other_types_with_their_rights(
    linked: FlaskClient, token: str, status: int, left: int
) -> None:
    """Threats H04 and H07."""
    answer = send(linked, "DELETE", "Observation?patient.name=smith", token=token)

    assert answer.status_code == status
    assert send(linked, "GET", "Observation/o1").status_code == left


@pytest.mark.parametrize(("token", "status"), [("all", 200), ("patients", 403)])
def test_a_conditional_update_by_what_refers_to_it_needs_s_there(linked: FlaskClient, token: str, status: int) -> None:
    """Threats H04 and H07, for `_has`."""
    changed = make_patient(birthDate="1950-01-01")

    answer = send(linked, "PUT", "Patient?_has:Observation:patient:code=4548-4", changed, token=token)

    assert answer.status_code == status


@pytest.mark.parametrize(("token", "status"), [("all", 200), ("females", 412), ("no-patients", 403)])
def test_a_conditional_reference_looks_at_other_types_with_their_rights(
    linked: FlaskClient, token: str, status: int
) -> None:
    """Threats H04 and H08, leak L10."""
    member = {"reference": "Observation?patient.name=smith"}
    entry = _entry("POST", "Observation", make_observation(hasMember=[member]))

    assert _post(linked, "transaction", entry, token=token).status_code == status


@ON_SQLITE
@pytest.mark.parametrize("name", ["_include", "_sort", "_count", "_type", "_cursor"])
def test_a_condition_has_criteria_and_nothing_else(linked: FlaskClient, name: str) -> None:
    answer = send(linked, "DELETE", f"Observation?code=4548-4&{name}=Observation:patient")

    assert answer.status_code == 400
    assert send(linked, "GET", "Observation/o1").status_code == 200


def test_a_search_in_a_transaction_sees_what_the_transaction_wrote(linked: FlaskClient) -> None:
    """http://hl7.org/fhir/R4/http.html#trules: reads come last."""
    search = _entry("GET", f"{BASE}/Observation?patient.name=smith&_include=Observation:patient&_total=accurate")

    answer = _post(linked, "transaction", search, _entry("POST", "Observation", make_observation()))

    found = answer.get_json()["entry"][0]["resource"]
    assert (found["total"], [one["search"]["mode"] for one in found["entry"]]) == (2, ["match", "match", "include"])


@ON_SQLITE
def test_a_search_in_a_bundle_has_the_rights_of_the_token(linked: FlaskClient) -> None:
    """Threats H03, H04 and H08."""
    entries = [
        _entry("GET", "Observation?patient.name=smith"),
        _entry("GET", "Observation?_include=Observation:patient"),
    ]

    batch = _post(linked, "batch", *entries, token="no-patients").get_json()["entry"]
    transaction = _post(linked, "transaction", entries[0], token="no-patients")

    assert [one["response"]["status"][:3] for one in batch] == ["403", "200"]
    assert transaction.status_code == 403
