"""Reading index rows out of resources."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.fhir import exact_json
from authserver.fhir.definitions.converters import CLIPPED, TEXT_LIMIT
from authserver.fhir.definitions.extraction import Extractor, Rows
from authserver.fhir.definitions.tables import Definitions
from authserver.protocol.instants import EARLIEST, LATEST
from tests.fhir.builders import CATEGORY, LOINC, make_observation

_DAY = 86_400_000_000


def _rows(definitions: Definitions, resource: dict[str, Any], table: str, code: str) -> set[Any]:
    rows: Rows = Extractor(definitions).rows(resource)
    return {row[1:] for row in rows[table] if row[0] == code}


def test_every_parameter_of_an_observation_is_read_at_once(definitions: Definitions) -> None:
    observation = make_observation(
        valueQuantity={"value": exact_json.loads("6.10"), "unit": "%", "system": "u", "code": "%"}
    )

    rows = Extractor(definitions).rows(observation)

    assert rows == {
        "token": {
            ("status", "final", ""),
            ("category", "laboratory", CATEGORY),
            ("code", "4548-4", LOINC),
            ("combo-code", "4548-4", LOINC),
        },
        "reference": {("subject", "p1", "Patient"), ("patient", "p1", "Patient")},
        "string": set(),
        "date": {("date", 1715428800000000, 1715428801000000)},
        "quantity": {
            ("value-quantity", 6.1, 6.1, "%", "u", "%"),
            ("combo-value-quantity", 6.1, 6.1, "%", "u", "%"),
        },
        "composite": {
            (code, "4548-4", 0, LOINC, "%", "u", "%", 6.1, 6.1, None, None, None, None)
            for code in ("code-value-quantity", "combo-code-value-quantity")
        },
    }


@pytest.mark.parametrize(
    ("members", "table", "code", "rows"),
    [
        ({"active": False}, "token", "active", {("false", "")}),
        ({"identifier": [{"system": "s", "value": "1"}]}, "token", "identifier", {("1", "s")}),
        ({"identifier": [{"value": "1"}]}, "token", "identifier", {("1", "")}),
        (
            {"telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}]},
            "token",
            "phone",
            {("1", "")},
        ),
        ({}, "token", "deceased", {("false", "")}),
        ({"deceasedBoolean": False}, "token", "deceased", {("false", "")}),
        ({"deceasedBoolean": True}, "token", "deceased", {("true", "")}),
        ({"deceasedDateTime": "2020"}, "token", "deceased", {("true", "")}),
        ({"name": [{"family": "Élan", "given": ["A", "B"]}]}, "string", "given", {("a", "A"), ("b", "B")}),
        ({"name": [{"family": "Élan"}]}, "string", "family", {("elan", "Élan")}),
        ({"birthDate": "1970-01-01"}, "date", "birthdate", {(0, _DAY)}),
        ({"meta": {"tag": [{"system": "s", "code": "t"}]}}, "token", "_tag", {("t", "s")}),
        ({"meta": {"source": "urn:x"}}, "token", "_source", {("urn:x", "")}),
        (
            {"generalPractitioner": [{"reference": "Practitioner/1/_history/2"}]},
            "reference",
            "general-practitioner",
            {("1", "Practitioner")},
        ),
        (
            {"generalPractitioner": [{"reference": "https://x.example/Practitioner/1"}, {"reference": "#c"}]},
            "reference",
            "general-practitioner",
            {("https://x.example/Practitioner/1", ""), ("", "")},
        ),
        (
            {"generalPractitioner": [{"identifier": {"system": "s", "value": "1"}}]},
            "token",
            "general-practitioner",
            {("1", "s")},
        ),
        (
            {"generalPractitioner": [{"identifier": {"system": "s", "value": "1"}}]},
            "reference",
            "general-practitioner",
            {("", "")},
        ),
        ({"maritalStatus": {"text": "wed"}}, "token", "_tag", set()),
        ({"communication": [{"language": {"text": "French"}}]}, "token", "language", {("", "")}),
    ],
)
def test_patient_values(
    definitions: Definitions, members: dict[str, Any], table: str, code: str, rows: set[Any]
) -> None:
    assert _rows(definitions, {"resourceType": "Patient", **members}, table, code) == rows


@pytest.mark.parametrize(
    ("resource", "table", "code", "rows"),
    [
        (
            {"resourceType": "Encounter", "period": {"start": "1970-01-01"}},
            "date",
            "date",
            {(0, LATEST)},
        ),
        ({"resourceType": "Encounter", "period": {"end": "1970-01-01"}}, "date", "date", {(EARLIEST, _DAY)}),
        (
            {
                "resourceType": "Observation",
                "effectiveTiming": {
                    "event": ["1970-01-01"],
                    "repeat": {"boundsPeriod": {"start": "1970-01-02", "end": "1970-01-02"}},
                },
            },
            "date",
            "date",
            {(0, _DAY), (_DAY, 2 * _DAY)},
        ),
        (
            {"resourceType": "Encounter", "subject": {"reference": "Group/1"}},
            "reference",
            "patient",
            set(),
        ),
        (
            {"resourceType": "Condition", "onsetRange": {"low": {"value": 1}, "high": {"value": 2}}},
            "quantity",
            "onset-age",
            {(1.0, 2.0, "", "", "")},
        ),
        (
            {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.25}]},
            "quantity",
            "probability",
            {(0.25, 0.25, "", "", "")},
        ),
        (
            {
                "resourceType": "Library",
                "relatedArtifact": [
                    {"type": "depends-on", "resource": "urn:a|1"},
                    {"type": "successor", "resource": "urn:b"},
                ],
            },
            "reference",
            "depends-on",
            {("urn:a", "")},
        ),
        (
            {
                "resourceType": "Bundle",
                "entry": [
                    {"resource": {"resourceType": "Composition", "id": "c"}},
                    {"resource": {"resourceType": "Patient", "id": "p"}},
                ],
            },
            "reference",
            "composition",
            {("c", "Composition")},
        ),
    ],
)
def test_values_of_other_types(
    definitions: Definitions, resource: dict[str, Any], table: str, code: str, rows: set[Any]
) -> None:
    assert _rows(definitions, resource, table, code) == rows


def test_a_long_value_is_clipped_and_never_equals_a_shorter_one(definitions: Definitions) -> None:
    patient = {"resourceType": "Patient", "identifier": [{"value": "1" * (TEXT_LIMIT + 1)}]}

    rows = _rows(definitions, patient, "token", "identifier")

    assert rows == {("1" * (TEXT_LIMIT - 1) + CLIPPED, "")}


_MEMBERS = (
    "coding code system value reference start end event repeat low high boundsPeriod given family meta tag component"
).split()
_TOP = "category code subject effectivePeriod effectiveTiming meta component valueQuantity status effectiveDateTime"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_MEMBERS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(resource=st.dictionaries(st.sampled_from(_TOP.split()), _JSON))
def test_malformed_resources_give_rows_or_none_but_no_error(definitions: Definitions, resource: dict[str, Any]) -> None:
    rows = Extractor(definitions).rows({"resourceType": "Observation", **resource})

    assert all(isinstance(row[0], str) for table in rows.values() for row in table)


def test_parts_of_a_composite_stand_on_one_element(definitions: Definitions) -> None:
    """http://hl7.org/fhir/R4/search.html#composite: each component's code goes with its own value."""
    components = [
        {"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value}}
        for code, value in (("a", 1), ("b", 2))
    ]

    rows = _rows(definitions, make_observation(component=components), "composite", "component-code-value-quantity")

    assert rows == {
        ("a", 0, "", "", "", "", 1.0, 1.0, None, None, None, None),
        ("b", 1, "", "", "", "", 2.0, 2.0, None, None, None, None),
    }


@pytest.mark.parametrize(
    ("resource", "code", "row"),
    [
        (
            make_observation(valueDateTime="1970-01-01"),
            "code-value-date",
            ("4548-4", 0, LOINC, None, None, None, None, None, 0, _DAY, None, None),
        ),
        (
            make_observation(valueString="Élan"),
            "code-value-string",
            ("4548-4", 0, LOINC, "elan", "Élan", None, None, None, None, None, None, None),
        ),
        (
            {
                "resourceType": "DocumentReference",
                "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/a"}}],
            },
            "relationship",
            ("replaces", 0, "", "a", "DocumentReference", None, None, None, None, None, None, None),
        ),
        (
            {
                "resourceType": "MolecularSequence",
                "referenceSeq": {"chromosome": {"coding": [{"code": "1"}]}},
                "variant": [{"start": 2, "end": 3}],
            },
            "chromosome-variant-coordinate",
            ("1", 0, "", "", "", "", 2.0, 2.0, None, None, 3.0, 3.0),
        ),
    ],
)
def test_a_composite_of_each_kind_is_read(
    definitions: Definitions, resource: dict[str, Any], code: str, row: tuple[Any, ...]
) -> None:
    assert _rows(definitions, resource, "composite", code) == {row}
