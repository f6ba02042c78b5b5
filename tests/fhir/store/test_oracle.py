"""Search against a plain scan by another reader of FHIRPath: fhirpathpy evaluates the official expressions.

`AUTHSERVER_TEST_SYNTHEA` names a folder of gzipped Synthea bundles for a long run over every parameter that occurs,
with the expressions of `AUTHSERVER_TEST_R4_SEARCH_PARAMETERS`. A short run over the demo data is in the suite.
"""

import gzip
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from authserver.fhir import demo_data
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.loading import load_bundle
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.sql_store import SqlStore, open_store
from authserver.protocol.instants import date_range
from tests.fhir.builders import BASE

fhirpathpy = pytest.importorskip("fhirpathpy", reason="fhirpathpy of the dev extra is not installed")
models = pytest.importorskip("fhirpathpy.models")

SYNTHEA, OFFICIAL = "AUTHSERVER_TEST_SYNTHEA", "AUTHSERVER_TEST_R4_SEARCH_PARAMETERS"
EVERYTHING = Constraint.system("")
VALUES = 3
"""Values asked for of each parameter."""

Resource = dict[str, Any]
Expressions = Mapping[tuple[str, str], str]
Parts = Mapping[tuple[str, str], tuple[str, ...]]
"""The expressions of a composite's components, within each of the elements that it is about."""
Found = Callable[[Any], bool]

# Of the R4 registry, http://hl7.org/fhir/R4/searchparameter-registry.html, as it writes them.
REGISTRY = {
    ("Patient", "name"): "Patient.name",
    ("Patient", "family"): "Patient.name.family",
    ("Patient", "given"): "Patient.name.given",
    ("Patient", "birthdate"): "Patient.birthDate | Person.birthDate | RelatedPerson.birthDate",
    ("Patient", "identifier"): "Patient.identifier",
    ("Patient", "gender"): "Patient.gender | Person.gender",
    ("Patient", "address-city"): "Patient.address.city | Person.address.city",
    ("Patient", "phone"): "Patient.telecom.where(system='phone')",
    ("Patient", "organization"): "Patient.managingOrganization",
    ("Observation", "code"): "AllergyIntolerance.code | Observation.code",
    ("Observation", "category"): "Observation.category",
    ("Observation", "date"): "Observation.effective",
    ("Observation", "patient"): "Observation.subject.where(resolve() is Patient)",
    ("Observation", "value-quantity"): "(Observation.value as Quantity) | (Observation.value as SampledData)",
    ("Observation", "combo-code"): "Observation.code | Observation.component.code",
    ("Encounter", "date"): "Encounter.period",
    ("Encounter", "participant"): "Encounter.participant.individual",
    ("Encounter", "class"): "Encounter.class",
    ("Condition", "onset-date"): "Condition.onset.as(dateTime) | Condition.onset.as(Period)",
    ("Group", "member"): "Group.member.entity",
    ("Observation", "code-value-quantity"): "Observation",
    ("Observation", "component-code-value-quantity"): "Observation.component",
}
REGISTRY_PARTS = {
    ("Observation", "code-value-quantity"): ("code", "value.as(Quantity)"),
    ("Observation", "component-code-value-quantity"): ("code", "value.as(Quantity)"),
}


def _evaluated(expression: str, resource: Resource) -> list[Any]:
    """Return the values; what fhirpathpy lacks (`resolve()`, `as` on several values) is said in other words."""
    branches = _branches(expression, resource)
    text = " | ".join(branches)
    text = re.sub(r"where\(resolve\(\) is (\w+)\)", r"where(reference.startsWith('\1/'))", text)
    text = re.sub(r"\((\S+) as (\w+)\)", r"\1.ofType(\2)", text)
    text = re.sub(r"\.as\((\w+)\)", r".ofType(\1)", text)
    return list(fhirpathpy.compile(text, models.models["r4"])(json.loads(json.dumps(resource)))) if branches else []


def _branches(expression: str, resource: Resource) -> list[str]:
    return [part for part in expression.split(" | ") if re.match(rf"\(*{resource['resourceType']}\b", part)]


def _combined(expression: str, parts: Sequence[str], resource: Resource) -> list[tuple[list[Any], ...]]:
    """Return the components' values of each element that a composite is about."""
    elements = [
        f"{branch}[{number}]"
        for branch in _branches(expression, resource)
        for number in range(len(_evaluated(branch, resource)))
    ]
    return [tuple(_evaluated(f"{element}.{part}", resource) for part in parts) for element in elements]


def _combined_questions(kinds: Sequence[str], values: Iterable[tuple[list[Any], ...]]) -> Iterator[tuple[str, Found]]:
    """Yield what to ask a composite for: one value of each component of one element."""
    for value in values:
        asked = [next(_questions(kind, found), None) for kind, found in zip(kinds, value, strict=True)]
        if all(asked):
            yield "$".join(one[0] for one in asked if one), partial(_all_hold, [one[1] for one in asked if one])


def _all_hold(wanted: Sequence[Found], value: tuple[list[Any], ...]) -> bool:
    return all(any(one(v) for v in found) for one, found in zip(wanted, value, strict=True))


def _texts(value: Any) -> Iterator[str]:
    """Yield the words that a string search looks at."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name in ("text", "family", "given", "prefix", "suffix", "line", "city", "district", "state", "country"):
            part = value.get(name, [])
            yield from part if isinstance(part, list) else [part]
        yield from [value["postalCode"]] if "postalCode" in value else []


def _codes(value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        codings = value.get("coding", [value])
        yield from (one[name] for one in codings for name in ("code", "value") if isinstance(one.get(name), str))


def _ranges(value: Any) -> Iterator[tuple[int, int]]:
    texts = [value.get("start"), value.get("end")] if isinstance(value, dict) else [value, value]
    if isinstance(value, dict) and "event" in value:
        yield from (one for event in value["event"] for one in _ranges(event))
        return
    spans = [date_range(str(text)) if text is not None else None for text in texts]
    if spans[0] and spans[1]:
        yield spans[0][0], spans[1][1]


def _questions(kind: str, values: Iterable[Any]) -> Iterator[tuple[str, Found]]:
    """Yield what to ask for, and whether a value answers it."""
    ask = {"token": _by_code, "uri": _by_code, "reference": _by_reference, "string": _by_beginning, "date": _by_day}
    for value in values:
        yield from ask.get(kind, _by_number)(value)


def _by_code(value: Any) -> Iterator[tuple[str, Found]]:
    for code in _codes(value):
        yield re.sub(r"([\\,|$])", r"\\\1", code), partial(_has_code, code)


def _has_code(code: str, value: Any) -> bool:
    return code in _codes(value)


def _by_reference(value: Any) -> Iterator[tuple[str, Found]]:
    if isinstance(value, dict) and re.fullmatch(r"[A-Z]\w+/[\w.-]+", value.get("reference", "")):
        yield value["reference"], partial(_refers, value["reference"])


def _refers(reference: str, value: Any) -> bool:
    return isinstance(value, dict) and value.get("reference") == reference


def _by_beginning(value: Any) -> Iterator[tuple[str, Found]]:
    for text in _texts(value):
        if text.isascii() and not re.search(r"[\\,|$]", text):
            yield text[:4].lower(), partial(_begins, text[:4].lower())


def _begins(beginning: str, value: Any) -> bool:
    return any(one.lower().startswith(beginning) for one in _texts(value))


def _by_day(value: Any) -> Iterator[tuple[str, Found]]:
    for start, end in _ranges(value):
        day = str(value.get("start") if isinstance(value, dict) else value)[:10]
        yield f"eq{day}", partial(_lies_within, date_range(day) or (start, end))


def _lies_within(wanted: tuple[int, int], value: Any) -> bool:
    return any(wanted[0] <= start and end <= wanted[1] for start, end in _ranges(value))


def _by_number(value: Any) -> Iterator[tuple[str, Found]]:
    number = _number(value)
    if isinstance(number, int | float | Decimal):
        yield f"ge{number}", partial(_is_at_least, Decimal(str(number)))


def _is_at_least(number: Decimal, value: Any) -> bool:
    found = _number(value)
    half = Decimal((0, (5,), int(number.as_tuple().exponent) - 1))
    return found is not None and Decimal(str(found)) >= number - half


def _number(value: Any) -> Any:
    return value.get("value") if isinstance(value, dict) else value


def _stored(store: SqlStore, definitions: Definitions) -> dict[str, list[Resource]]:
    """Return what the store holds, by type: read back, since loading rewrites references."""
    found: dict[str, list[Resource]] = {}
    parser = SearchParser(definitions, base_url=BASE, max_count=100_000)
    for resource_type in sorted(definitions.resource_types):
        query = parser.query(resource_type, [("_count", "100000")]).query
        bodies = [json.loads(match.body) for match in store.search(EVERYTHING, query).matches]
        if bodies:
            found[resource_type] = bodies
    return found


def _disagreements(
    store: SqlStore, definitions: Definitions, expressions: Expressions, parts: Parts
) -> tuple[list[str], int]:
    """Return the queries whose answers differ from the scan's, and the number of queries asked."""
    parser = SearchParser(definitions, base_url=BASE, max_count=100_000)
    different: list[str] = []
    asked = 0
    for resource_type, resources in _stored(store, definitions).items():
        for parameter in definitions.parameters(resource_type):
            expression = expressions.get((resource_type, parameter.code))
            if expression is None:
                continue
            within = parts.get((resource_type, parameter.code), ())
            values: dict[str, list[Any]] = {
                one["id"]: _combined(expression, within, one) if within else _evaluated(expression, one)
                for one in resources
            }
            flat = [value for found in values.values() for value in found]
            kinds = [component.kind for component in parameter.components]
            questions = dict(_combined_questions(kinds, flat) if within else _questions(parameter.kind, flat))
            for text in list(questions)[:: max(1, len(questions) // VALUES)]:
                expected = {one for one, found in values.items() if any(questions[text](v) for v in found)}
                query = parser.query(resource_type, [(parameter.code, text), ("_count", "100000")]).query
                answered = {match.id for match in store.search(EVERYTHING, query).matches}
                asked += 1
                if answered != expected:
                    different.append(f"{resource_type}?{parameter.code}={text}: {len(answered)} not {len(expected)}")
    return different, asked


def test_search_finds_what_a_scan_by_fhirpath_finds(sqlite_store: SqlStore, definitions: Definitions) -> None:
    """Row B8, on the demo data: the expressions are the registry's, their reader is not ours."""
    for bundle in demo_data.bundles():
        load_bundle(sqlite_store, bundle, tenant="")

    different, asked = _disagreements(sqlite_store, definitions, REGISTRY, REGISTRY_PARTS)

    assert (different, asked > 50) == ([], True)


@pytest.mark.skipif(
    SYNTHEA not in os.environ or OFFICIAL not in os.environ,
    reason=f"{SYNTHEA} and {OFFICIAL} name no Synthea bundles and official search parameters",
)
def test_every_parameter_that_occurs_finds_what_a_scan_finds(tmp_path: Path, definitions: Definitions) -> None:
    """Row B8, the long run: Synthea's resources and the registry's own file."""
    with gzip.open(os.environ[OFFICIAL]) as file:
        official = [entry["resource"] for entry in json.load(file)["entry"]]
    expressions = {
        (resource_type, one["code"]): one["expression"]
        for one in official
        if "expression" in one
        for resource_type in one["base"]
    }
    store = open_store(f"sqlite:///{tmp_path}/fhir.db", definitions)
    for path in sorted(Path(os.environ[SYNTHEA]).glob("*.json.gz")):
        load_bundle(store, json.loads(gzip.decompress(path.read_bytes())), tenant="")

    parts = {
        (resource_type, one["code"]): tuple(part["expression"] for part in one["component"])
        for one in official
        if "component" in one
        for resource_type in one["base"]
    }
    different, asked = _disagreements(store, definitions, expressions, parts)

    store.close()
    assert (different, asked > 300) == ([], True)
