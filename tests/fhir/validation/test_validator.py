"""Validation of resources: each kind of mistake is found at its place, and no finding holds a value. Row C1."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authserver.fhir import exact_json
from authserver.fhir.validation.findings import MAX_FINDINGS
from authserver.fhir.validation.structures import load_structures
from authserver.fhir.validation.validator import MAX_DEPTH, Validator
from tests.fhir.builders import make_observation, make_patient

DATA = "AUTHSERVER_TEST_FHIR_DATA"
CANARY = "Canary Value 4711"


@pytest.fixture(scope="module")
def validator() -> Validator:
    """A validator over the shipped structures."""
    return Validator(load_structures())


def _found(validator: Validator, resource: dict[str, Any]) -> list[tuple[str, str]]:
    return [(issue.expression, issue.code) for issue in validator.findings(resource)]


def _bundle(kind: str, *entries: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries), **members}


def _text(div: str) -> dict[str, Any]:
    return {"text": {"status": "generated", "div": div}}


VALID: dict[str, dict[str, Any]] = {
    "a patient": make_patient(),
    "an observation": make_observation(valueQuantity={"value": exact_json.ExactDecimal("1.50")}),
    "a primitive that has an extension alone": make_patient(
        _birthDate={"extension": [{"url": "http://x", "valueCode": "unknown"}]}
    ),
    "a list of primitives with a gap": make_patient(
        name=[{"given": ["a", None], "_given": [None, {"extension": [{"url": "http://x", "valueCode": "y"}]}]}]
    ),
    "a contained resource that is referred to": make_patient(
        contained=[{"resourceType": "Organization", "id": "o", "name": "x"}], managingOrganization={"reference": "#o"}
    ),
    "a searchset": _bundle("searchset", {"resource": make_patient(), "search": {"mode": "match"}}, total=1),
    "a narrative": make_patient(**_text('<div xmlns="http://www.w3.org/1999/xhtml"><p>x<br/></p></div>')),
    "a leap second": make_observation(effectiveDateTime="2016-12-31T23:59:60Z"),
}

INVALID: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "an unknown type": ({"resourceType": "Nonsense"}, [("resourceType", "structure")]),
    "an abstract type": ({"resourceType": "DomainResource"}, [("resourceType", "structure")]),
    "no type": ({"id": "a"}, [("resourceType", "structure")]),
    "an unknown element": (make_patient(nickname=CANARY), [("Patient.nickname", "structure")]),
    "an element that is no name": (make_patient(**{CANARY: 1}), [("Patient", "structure")]),
    "an unknown element deeper": (make_patient(contact=[{"x": 1}]), [("Patient.contact[0].x", "structure")]),
    "a missing element": (
        {"resourceType": "Observation", "status": "final"}, [("Observation.code", "required")]),
    "a missing element deeper": (
        make_patient(communication=[{"preferred": True}]), [("Patient.communication[0].language", "required")]),
    "no list where one must be": (make_patient(name={"family": CANARY}), [("Patient.name", "structure")]),
    "a list where none may be": (make_patient(gender=["male"]), [("Patient.gender", "structure")]),
    "an empty list": (make_patient(name=[]), [("Patient.name", "structure")]),
    "an empty object": (make_patient(maritalStatus={}), [("Patient.maritalStatus", "structure")]),
    "a null": (make_patient(gender=None), [("Patient.gender", "value")]),
    "a null in a list": (make_patient(name=[{"given": [None]}]), [("Patient.name[0].given[0]", "value")]),
    "a text for an object": (make_patient(name=[CANARY]), [("Patient.name[0]", "structure")]),
    "a code of no required set": (make_patient(gender=CANARY), [("Patient.gender", "code-invalid")]),
    "two of one choice": (
        make_patient(deceasedBoolean=True, deceasedDateTime="2020"), [("Patient.deceased", "structure")]),
    "a text for a boolean": (make_patient(active="true"), [("Patient.active", "value")]),
    "a number for a text": (make_patient(name=[{"family": 1}]), [("Patient.name[0].family", "value")]),
    "an empty text": (make_patient(name=[{"family": ""}]), [("Patient.name[0].family", "value")]),
    "a day that no calendar has": (make_patient(birthDate="2023-02-30"), [("Patient.birthDate", "value")]),
    "a time without a zone": (
        make_observation(effectiveDateTime="2024-05-11T12:00:00"), [("Observation.effective", "value")]),
    "a fraction for an integer": (
        make_patient(multipleBirthInteger=exact_json.ExactDecimal("1.0")), [("Patient.multipleBirth", "value")]),
    "zero for a positive number": (
        make_patient(telecom=[{"rank": 0}]), [("Patient.telecom[0].rank", "value")]),
    "a boolean for a decimal": (
        make_observation(valueQuantity={"value": True}), [("Observation.value.value", "value")]),
    "a space in a uri": (make_patient(implicitRules="a b"), [("Patient.implicitRules", "value")]),
    "an id with an underscore": (make_patient("a_b"), [("Patient.id", "value")]),
    "a reference to a type that is none of its targets": (
        make_patient(managingOrganization={"reference": "Patient/x"}), [("Patient.managingOrganization", "value")]),
    "a script in a narrative": (
        make_patient(**_text("<div><script>x</script></div>")), [("Patient.text.div", "value")]),
    "a handler in a narrative": (
        make_patient(**_text("<div onclick='x'>y</div>")), [("Patient.text.div", "value")]),
    "a link that acts": (
        make_patient(**_text("<div><a href='javascript:x'>y</a></div>")), [("Patient.text.div", "value")]),
    "a comment that browsers end early": (
        make_patient(**_text("<div>x<!--><script>y</script>--></div>")), [("Patient.text.div", "value")]),
    "a section of text that browsers read as markup": (
        make_patient(**_text("<div>x<![CDATA[><script>y</script>]]></div>")), [("Patient.text.div", "value")]),
    "a narrative that says nothing": (make_patient(**_text("<div> </div>")), [("Patient.text.div", "value")]),
    "a doctype": (make_patient(**_text("<!DOCTYPE x><div>y</div>")), [("Patient.text.div", "value")]),
    "an extension with nothing": (
        make_patient(extension=[{"url": "http://x"}]), [("Patient.extension[0]", "invariant")]),
    "an extension with both": (
        make_patient(extension=[{"url": "u", "valueCode": "c", "extension": [{"url": "u", "valueCode": "c"}]}]),
        [("Patient.extension[0]", "invariant")]),
    "a period that ends before it starts": (
        make_patient(name=[{"family": "x", "period": {"start": "2024", "end": "2023"}}]),
        [("Patient.name[0].period", "invariant")]),
    "a contained resource that nothing refers to": (
        make_patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}]),
        [("Patient.contained[0]", "invariant")]),
    "a contained resource of an unknown type": (
        make_patient(contained=[{"resourceType": "Nonsense", "id": "o"}]),
        [("Patient.contained[0].resourceType", "structure")]),
    "a contained resource with a version": (
        make_patient(contained=[{"resourceType": "Organization", "id": "o", "meta": {"versionId": "1"}}],
                     managingOrganization={"reference": "#o"}),
        [("Patient.contained[0]", "invariant")]),
    "a local reference that leads nowhere": (
        make_patient(contained=[{"resourceType": "Organization", "id": "o", "name": "x"}],
                     managingOrganization={"reference": "#o"}, generalPractitioner=[{"reference": "#p"}]),
        [("Patient", "invariant")]),
    "a total of a collection": (
        _bundle("collection", {"resource": make_patient()}, total=1), [("Bundle", "invariant")]),
    "a transaction's entry without a request": (
        _bundle("transaction", {"resource": make_patient()}), [("Bundle.entry[0]", "invariant")]),
    "a document that is none": (
        _bundle("document", {"resource": make_patient()}, timestamp="2024-01-01T00:00:00Z",
                identifier={"system": "urn:x", "value": "1"}), [("Bundle", "invariant")]),
    "an invalid resource in a Bundle": (
        _bundle("collection", {"resource": make_patient(gender="x")}),
        [("Bundle.entry[0].resource.gender", "code-invalid")]),
}  # fmt: skip


@pytest.mark.parametrize("name", VALID)
def test_a_valid_resource_has_no_finding(validator: Validator, name: str) -> None:
    assert _found(validator, VALID[name]) == []


@pytest.mark.parametrize("name", INVALID)
def test_a_mistake_is_found_at_its_place(validator: Validator, name: str) -> None:
    """Row C1."""
    resource, expected = INVALID[name]

    assert _found(validator, resource) == expected


@pytest.mark.parametrize("name", INVALID)
def test_no_finding_holds_a_value(validator: Validator, name: str) -> None:
    """Row C1 and threat H17."""
    findings = validator.findings(INVALID[name][0])

    assert "Canary" not in repr(findings)


def test_endless_nesting_is_a_finding(validator: Validator) -> None:
    extension: dict[str, Any] = {"url": "u", "valueCode": "c"}
    for _ in range(MAX_DEPTH + 5):
        extension = {"url": "u", "extension": [extension]}

    (found,) = validator.findings(make_patient(extension=[extension]))

    assert found.diagnostics == "The elements are nested too deeply."


def test_the_list_of_findings_is_bounded(validator: Validator) -> None:
    names = [{"family": 1} for _ in range(MAX_FINDINGS * 2)]

    assert len(validator.findings(make_patient(name=names))) == MAX_FINDINGS


def test_the_demo_data_is_valid(validator: Validator, demo: list[dict[str, Any]]) -> None:
    assert {resource["id"]: _found(validator, resource) for resource in demo if _found(validator, resource)} == {}


def _examples(folder: Path) -> Iterator[dict[str, Any]]:
    for name in ("r4-examples/sample.ndjson.gz", "us-core-examples.ndjson.gz"):
        with gzip.open(folder / name) as lines:
            yield from (exact_json.loads(line) for line in lines)


@pytest.mark.skipif(DATA not in os.environ, reason=f"{DATA} names no folder with FHIR's examples")
def test_the_official_examples_are_valid_but_for_their_own_mistakes(validator: Validator) -> None:
    """Four narratives say nothing (txt-2), two references point at no target, Questionnaire/qs1 has no linkIds."""
    wrong = {(one["resourceType"], one["id"]) for one in _examples(Path(os.environ[DATA])) if validator.findings(one)}

    assert wrong == {
        ("ActivityDefinition", "blood-tubes-supply"),
        ("ActivityDefinition", "heart-valve-replacement"),
        ("DeviceMetric", "example"),
        ("DeviceUseStatement", "example"),
        ("DiagnosticReport", "cbc"),
        ("EventDefinition", "example"),
        ("Questionnaire", "qs1"),
        ("Questionnaire", "zika-virus-exposure-assessment"),
        ("SearchParameter", "valueset-extensions-ValueSet-author"),
    }


@pytest.mark.skipif(DATA not in os.environ, reason=f"{DATA} names no folder with Synthea's Bundles")
def test_synthetic_patients_are_valid(validator: Validator) -> None:
    for path in sorted((Path(os.environ[DATA]) / "synthea-r4/bundles").glob("*.json.gz"))[:5]:
        assert validator.findings(json.loads(gzip.decompress(path.read_bytes()))) == ()
