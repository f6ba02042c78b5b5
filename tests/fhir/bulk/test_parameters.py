"""The parameters of a kick-off, from the query and from a body."""

from typing import Any

import pytest

from authserver.errors import BadRequest
from authserver.fhir.bulk.job import Level
from authserver.fhir.bulk.parameters import MAX_BODY_PARAMETERS, KickOff, Pair, body_pairs, parse_kick_off
from authserver.fhir.search.problems import MalformedParameter, UnsupportedParameter
from tests.fhir.builders import BASE

SINCE = 1_724_946_665_117_806


def _parse(*pairs: Pair, level: Level = "group", method: str = "POST", lenient: bool = False) -> KickOff:
    return parse_kick_off(
        pairs,
        level=level,
        method=method,
        resource_types={"Patient", "Observation", "Group"},
        base_url=BASE,
        lenient=lenient,
    )


def test_nothing_given_is_nothing_asked() -> None:
    assert _parse() == KickOff(types=None, since=None, patients=None)


@pytest.mark.parametrize(
    "pairs",
    [
        [("_type", "Patient,Observation")],
        [("_type", "Observation"), ("_type", "Patient")],
        [("_type", "Observation,Patient"), ("_type", "Patient")],
    ],
)
def test_types_come_in_lists_and_repeats(pairs: list[Pair]) -> None:
    assert _parse(*pairs) == KickOff(types=("Observation", "Patient"))


@pytest.mark.parametrize(
    "text",
    [
        "2024-08-29T15:51:05.117806Z",
        "2024-08-29T17:51:05.117806+02:00",
        "2024-08-29T17:51:05.117806 02:00",
        "2024-08-29T08:51:05.117806-07:00",
    ],
)
def test_since_is_an_instant_whose_plus_may_have_become_a_space(text: str) -> None:
    assert _parse(("_since", text)) == KickOff(since=SINCE)


def test_a_day_is_its_first_instant() -> None:
    """What smart-fetch sends for --since 2024-08-29."""
    assert _parse(("_since", "2024-08-29")) == _parse(("_since", "2024-08-29T00:00:00Z"))


@pytest.mark.parametrize("text", ["2024", "2024-08", "2024-08-29T15:51Z", "2024-08-29T15:51:05", "soon", ""])
def test_since_is_nothing_less_than_an_instant_or_a_day(text: str) -> None:
    with pytest.raises(MalformedParameter):
        _parse(("_since", text))


@pytest.mark.parametrize("text", ["application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"])
def test_every_name_of_the_format_is_accepted(text: str) -> None:
    assert _parse(("_outputFormat", text)) == KickOff()


@pytest.mark.parametrize("text", ["json", "application/fhir+json", ""])
@pytest.mark.parametrize("lenient", [True, False])
def test_another_format_is_refused(text: str, lenient: bool) -> None:
    with pytest.raises(UnsupportedParameter):
        _parse(("_outputFormat", text), lenient=lenient)


@pytest.mark.parametrize("name", ["_elements", "_typeFilter", "includeAssociatedData", "organizeOutputBy", "x"])
def test_other_parameters_are_refused_unless_the_client_is_lenient(name: str) -> None:
    with pytest.raises(UnsupportedParameter):
        _parse((name, "y"))

    assert _parse((name, "y"), ("_type", "Patient"), lenient=True) == KickOff(types=("Patient",))


@pytest.mark.parametrize(
    "pairs",
    [
        [("_type", "Nonsense")],
        [("_type", "")],
        [("_type", "Patient,")],
        [("_since", "2024-08-29T15:51:05Z"), ("_since", "2024-08-29T15:51:05Z")],
        [("_outputFormat", "ndjson"), ("_outputFormat", "ndjson")],
        [("patient", "Observation/1")],
        [("patient", "1")],
        [("patient", "https://elsewhere.example/fhir/Patient/1")],
    ],
)
@pytest.mark.parametrize("lenient", [True, False])
def test_a_malformed_value_is_refused_for_lenient_clients_too(pairs: list[Pair], lenient: bool) -> None:
    with pytest.raises(MalformedParameter):
        _parse(*pairs, lenient=lenient)


def test_patients_are_references_to_this_server() -> None:
    assert _parse(("patient", "Patient/b"), ("patient", f"{BASE}/Patient/a")) == KickOff(patients=("a", "b"))


@pytest.mark.parametrize(("method", "level"), [("GET", "group"), ("GET", "patient"), ("POST", "system")])
@pytest.mark.parametrize("lenient", [True, False])
def test_patient_is_never_left_out_where_it_cannot_be_given(method: str, level: Level, lenient: bool) -> None:
    """Ignoring it would put out every patient."""
    with pytest.raises(UnsupportedParameter):
        _parse(("patient", "Patient/a"), method=method, level=level, lenient=lenient)


def test_a_body_says_the_same_as_a_query() -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "_type", "valueString": "Patient,Observation"},
            {"name": "_type", "valueCode": "Group"},
            {"name": "_since", "valueInstant": "2024-08-29T15:51:05Z"},
            {"name": "_outputFormat", "valueString": "application/fhir+ndjson"},
            {"name": "patient", "valueReference": {"reference": "Patient/a"}},
            {"name": "_elements", "valueString": "id"},
        ],
    }

    assert body_pairs(body) == (
        ("_type", "Patient,Observation"),
        ("_type", "Group"),
        ("_since", "2024-08-29T15:51:05Z"),
        ("_outputFormat", "application/fhir+ndjson"),
        ("patient", "Patient/a"),
        ("_elements", ""),
    )
    assert body_pairs({"resourceType": "Parameters"}) == ()


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": {}},
        {"resourceType": "Parameters", "parameter": ["_type"]},
        {"resourceType": "Parameters", "parameter": [{"valueString": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueString": 1}]},
        {"resourceType": "Parameters", "parameter": [{"name": "_type"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "_since", "valueString": "2024-08-29T15:51:05Z"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"display": "x"}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x"}] * (MAX_BODY_PARAMETERS + 1)},
    ],
)
def test_a_body_that_is_no_parameters_resource_is_refused(body: Any) -> None:
    with pytest.raises(BadRequest):
        body_pairs(body)
