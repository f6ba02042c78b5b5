"""Hostile values in the search parameters of the FHIR layer, on real databases. Threat G11."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient

from authserver.fhir.definitions.tables import Definitions
from tests.fhir.builders import bearer
from tests.injections import HOSTILE

TYPES = ("Patient", "Observation")
WORST = ("'", "' OR 1=1 --", "'; DROP TABLE fhir_resource; --", "%", "a\0b")
RESULT = ("_count", "_sort", "_total", "_include", "_revinclude", "_summary", "_elements", "_cursor", "_has:x:y:z")
CHOSEN = ("Patient", "family"), ("Patient", "identifier"), ("Observation", "code"), ("Observation", "subject")
KINDS = (*CHOSEN, ("Observation", "date"), ("Observation", "value-quantity"), ("Observation", "_profile"))
KINDS += (("Observation", "code-value-quantity"), ("Patient", "_id"), ("Observation", "subject:Patient.family"))


def search(client: FlaskClient, path: str, name: str, value: str) -> Any:
    """Search with one parameter."""
    return client.get(f"/fhir/{path}?{urlencode({name: value})}", headers=bearer())


def is_harmless(answer: Any) -> bool:
    """Say whether the value was refused, or taken for a text that nothing has."""
    return answer.status_code == 400 or (answer.status_code == 200 and answer.get_json().get("entry", []) == [])


def harmful(client: FlaskClient, resource_type: str, name: str, values: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return the values that were neither, with their status."""
    answers = [(value, search(client, resource_type, name, value)) for value in values]
    return [(value, answer.status_code) for value, answer in answers if not is_harmless(answer)]


@pytest.mark.parametrize(("resource_type", "name"), KINDS, ids=lambda part: part)
def test_g11_a_hostile_value_is_refused_or_matches_nothing(client: FlaskClient, resource_type: str, name: str) -> None:
    """G11: one parameter of each kind, a chain among them."""
    assert harmful(client, resource_type, name, tuple(HOSTILE)) == []


@pytest.mark.parametrize("resource_type", TYPES)
def test_g11_no_parameter_of_a_type_takes_a_value_for_a_statement(
    client: FlaskClient, definitions: Definitions, resource_type: str
) -> None:
    """G11: every parameter that R4 defines for the type."""
    names = [parameter.code for parameter in definitions.parameters(resource_type)]

    found = {name: harmful(client, resource_type, name, WORST) for name in names}

    assert len(names) > 25
    assert {name: values for name, values in found.items() if values} == {}


@pytest.mark.parametrize("name", RESULT)
def test_g11_what_shapes_the_answer_is_a_word_or_is_refused(client: FlaskClient, name: str) -> None:
    """G11: `_sort`, `_count` and their like."""
    answers = {value: search(client, "Patient", name, value).status_code for value in HOSTILE}

    meant = {"*": 200} if name == "_include" else {}  # whatever is referred to
    assert {value: status for value, status in answers.items() if status != 400} == meant


@pytest.mark.parametrize("template", ["Patient/{}", "Patient/{}/_history", "{}"])
def test_g11_a_hostile_id_is_nobodys(client: FlaskClient, template: str) -> None:
    """G11, G03."""
    answers = {
        value: client.get(f"/fhir/{template.format(quote(value, safe=''))}", headers=bearer()).status_code
        for value in HOSTILE
    }

    assert {value: status for value, status in answers.items() if status not in (400, 404)} == {}


def test_g11_a_hostile_name_of_a_parameter_is_refused(client: FlaskClient) -> None:
    """G11: a name is looked up, and never put into a statement."""
    answers = {name: search(client, "Patient", name, "a").status_code for name in HOSTILE}

    assert {name: status for name, status in answers.items() if status != 400} == {}


def test_g11_usual_values_are_found(client: FlaskClient, demo: list[dict[str, Any]]) -> None:
    """G11's control, after all of it in this module: everything is still there."""
    patients = [one["id"] for one in demo if one["resourceType"] == "Patient"]

    counted = client.get("/fhir/Patient?_summary=count", headers=bearer()).get_json()["total"]
    entries = search(client, "Patient", "_id", patients[0]).get_json()["entry"]

    assert (counted, [entry["resource"]["id"] for entry in entries]) == (len(patients), patients[:1])
