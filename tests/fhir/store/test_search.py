"""Search against a plain scan: what the index finds is what a reader of every resource would find."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import BASE, CATEGORY, LOINC, demo_resources, make_observation, make_patient

Resource = dict[str, Any]
Scan = Callable[[Resource], bool]


def _codes(concept: Resource) -> Iterator[tuple[str, str]]:
    for coding in concept.get("coding", []):
        yield coding.get("system", ""), coding["code"]


def _has_code(resource: Resource, *codes: str) -> bool:
    return any(code in codes for _, code in _codes(resource["code"]))


def _is_lab(resource: Resource) -> bool:
    return any(pair == (CATEGORY, "laboratory") for c in resource["category"] for pair in _codes(c))


def _names(resource: Resource) -> list[str]:
    return [part for name in resource["name"] for part in [name["family"], *name["given"]]]


def _plain(text: str) -> str:
    return text.lower().replace("é", "e").replace("ã", "a")


def _day(resource: Resource) -> str:
    return str(resource["effectiveDateTime"])[:10]


PATIENT = next(r["id"] for r in demo_resources() if r["resourceType"] == "Patient")

QUERIES: list[tuple[str, str, Scan]] = [
    ("Observation", "code=4548-4", lambda r: _has_code(r, "4548-4")),
    ("Observation", f"code={LOINC}|4548-4", lambda r: _has_code(r, "4548-4")),
    ("Observation", "code=http://other|4548-4", lambda r: False),
    ("Observation", "code=|4548-4", lambda r: False),
    ("Observation", f"code={LOINC}|", lambda r: True),
    ("Observation", "code=4548-4,8867-4", lambda r: _has_code(r, "4548-4", "8867-4")),
    ("Observation", "code=4548-4&code=8867-4", lambda r: False),
    ("Observation", "code:not=4548-4", lambda r: not _has_code(r, "4548-4")),
    ("Observation", "code:not=4548-4&category=laboratory", lambda r: False),
    ("Observation", "category=laboratory&status=final", _is_lab),
    (
        "Observation",
        "component-code=8480-6",
        lambda r: any(_has_code(c, "8480-6") for c in r.get("component", [])),
    ),
    (
        "Observation",
        "combo-code=8480-6,4548-4",
        lambda r: _has_code(r, "4548-4") or any(_has_code(c, "8480-6") for c in r.get("component", [])),
    ),
    ("Patient", "gender=female", lambda r: r["gender"] == "female"),
    ("Patient", "identifier=https://clinic.example/mrn|MRN-00003", lambda r: _mrn(r) == "MRN-00003"),
    ("Patient", "identifier=MRN-00003,MRN-00004", lambda r: _mrn(r) in ("MRN-00003", "MRN-00004")),
    ("Patient", "active=true", lambda r: r["active"] is True),
    ("Patient", "deceased=false", lambda r: True),
    ("Patient", "phone=%2B1-555-0103", lambda r: r["telecom"][0]["value"] == "+1-555-0103"),
    ("Observation", f"patient={PATIENT}", lambda r: r["subject"]["reference"] == f"Patient/{PATIENT}"),
    ("Observation", f"subject=Patient/{PATIENT}", lambda r: r["subject"]["reference"] == f"Patient/{PATIENT}"),
    ("Observation", f"subject:Patient={PATIENT}", lambda r: r["subject"]["reference"] == f"Patient/{PATIENT}"),
    ("Observation", f"subject=Group/{PATIENT}", lambda r: False),
    ("Observation", f"subject={BASE}/Patient/{PATIENT}", lambda r: _subject(r) == f"Patient/{PATIENT}"),
    (
        "Observation",
        f"patient={PATIENT}&category=laboratory",
        lambda r: _subject(r) == f"Patient/{PATIENT}" and _is_lab(r),
    ),
    ("Encounter", "practitioner=demo-practitioner-1", lambda r: _doctor(r) == "Practitioner/demo-practitioner-1"),
    ("Patient", "organization=demo-clinic", lambda r: True),
    ("Group", f"member={PATIENT}", lambda r: True),
    ("Patient", "family=a", lambda r: r["name"][0]["family"].startswith("A")),
    ("Patient", "name=E", lambda r: any(_plain(n).startswith("e") for n in _names(r))),
    ("Patient", "name=elodie,joao", lambda r: any(_plain(n) in ("elodie", "joao") for n in _names(r))),
    ("Patient", "name:contains=AR", lambda r: any("ar" in _plain(n) for n in _names(r))),
    ("Patient", "name:contains=%25", lambda r: False),
    ("Patient", "given:exact=Ada", lambda r: "Ada" in r["name"][0]["given"]),
    ("Patient", "given:exact=ada", lambda r: False),
    ("Patient", "address=lind", lambda r: r["address"][0]["city"] == "Lindau"),
    ("Patient", "address-city=marlow", lambda r: r["address"][0]["city"] == "Marlow"),
    ("Patient", "birthdate=1960", lambda r: r["birthDate"].startswith("1960")),
    ("Patient", "birthdate=ge1970", lambda r: r["birthDate"] >= "1970"),
    ("Patient", "birthdate=gt1970", lambda r: r["birthDate"] >= "1971"),
    ("Patient", "birthdate=lt1960-06", lambda r: r["birthDate"] < "1960-06"),
    ("Patient", "birthdate=le1960-06", lambda r: r["birthDate"][:7] <= "1960-06"),
    ("Patient", "birthdate=ne1960", lambda r: not r["birthDate"].startswith("1960")),
    ("Patient", "birthdate=sa1960-06-15", lambda r: r["birthDate"] > "1960-06-15"),
    ("Patient", "birthdate=eb1960-06-15", lambda r: r["birthDate"] < "1960-06-15"),
    ("Patient", "birthdate=ge1950&birthdate=lt1960", lambda r: "1950" <= r["birthDate"] < "1960"),
    ("Observation", "date=2024", lambda r: _day(r).startswith("2024")),
    ("Observation", "date=2024,2023-01", lambda r: _day(r).startswith("2024") or _day(r).startswith("2023-01")),
    ("Encounter", "date=ge2023-06&date=lt2024", lambda r: "2023-06" <= r["period"]["start"][:10] < "2024"),
    ("Encounter", "date=2024-01", lambda r: r["period"]["start"].startswith("2024-01")),
    ("Observation", "code=4548-4&value-quantity=gt7", lambda r: _has_code(r, "4548-4") and _value(r) > 7),
    (
        "Observation",
        "code=4548-4&value-quantity=lt6||%25",
        lambda r: _has_code(r, "4548-4") and _value(r) < 6,
    ),
    ("Observation", "value-quantity=70|http://unitsofmeasure.org|/min", lambda r: _pulse(r) == 70),
    ("Observation", "value-quantity=ge170||cm", lambda r: _has_code(r, "8302-2") and _value(r) >= 169.5),
    ("Observation", "value-quantity=5.4", lambda r: 5.35 <= _value(r) < 5.45),
    ("Patient", f"_id={PATIENT},nobody", lambda r: r["id"] == PATIENT),
    ("Patient", f"_id={PATIENT}&gender=female", lambda r: r["id"] == PATIENT),
    ("Patient", "_lastUpdated=gt2020", lambda r: True),
    ("Patient", "_lastUpdated=lt2020", lambda r: False),
    ("Condition", "", lambda r: True),
    ("Slot", "", lambda r: False),
]


def _mrn(resource: Resource) -> str:
    return str(resource["identifier"][0]["value"])


def _subject(resource: Resource) -> str:
    return str(resource["subject"]["reference"])


def _doctor(resource: Resource) -> str:
    return str(resource["participant"][0]["individual"]["reference"])


def _value(resource: Resource) -> float:
    return float(resource.get("valueQuantity", {}).get("value", -1))


def _pulse(resource: Resource) -> float:
    return _value(resource) if _has_code(resource, "8867-4") else -1


def _search(store: SqlStore, definitions: Definitions, resource_type: str, query: str) -> list[str]:
    parser = SearchParser(definitions, base_url=BASE)
    pairs = [*parse_qsl(query, keep_blank_values=True), ("_count", "1000")]
    page = store.search(Constraint.system(""), parser.query(resource_type, pairs).query)
    return [match.id for match in page.matches]


@pytest.mark.parametrize(("resource_type", "query", "scan"), QUERIES, ids=[f"{t}?{q}" for t, q, _ in QUERIES])
def test_search_finds_what_a_plain_scan_finds(
    demo_store: SqlStore,
    definitions: Definitions,
    demo: list[Resource],
    resource_type: str,
    query: str,
    scan: Scan,
) -> None:
    """Row B8; each kind of parameter."""
    expected = {r["id"] for r in demo if r["resourceType"] == resource_type and scan(r)}

    found = _search(demo_store, definitions, resource_type, query)

    assert sorted(found) == sorted(expected)


def test_most_queries_of_the_scan_find_something(demo: list[Resource]) -> None:
    """The comparison above would be empty if its queries were."""
    counts = [sum(r["resourceType"] == t and scan(r) for r in demo) for t, _, scan in QUERIES]

    assert sum(count > 0 for count in counts) >= 45


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("date=2020", ["exact"]),
        ("date=ge2020", ["exact", "open-end", "over"]),
        ("date=le2020", ["exact", "open-start", "over"]),
        ("date=gt2020", ["open-end", "over"]),
        ("date=lt2020", ["open-start", "over"]),
        ("date=sa2018", ["exact", "open-end", "over"]),
        ("date=eb2022", ["exact", "open-start", "over"]),
        ("date=ne2020", ["open-end", "open-start", "over"]),
    ],
)
def test_periods_compare_as_ranges(
    sqlite_store: SqlStore, definitions: Definitions, query: str, found: list[str]
) -> None:
    """The prefixes of http://hl7.org/fhir/R4/search.html#prefix on Periods with and without both ends."""
    periods = {
        "exact": {"start": "2020-01-01", "end": "2020-12-31"},
        "open-end": {"start": "2020-06-01"},
        "open-start": {"end": "2020-06-01"},
        "over": {"start": "2019-06-01", "end": "2021-06-01"},
    }
    encounters = [{"resourceType": "Encounter", "id": name, "period": p} for name, p in periods.items()]
    sqlite_store.put(Constraint.system(""), encounters, now=0)

    assert sorted(_search(sqlite_store, definitions, "Encounter", query)) == found


def test_a_selective_criterion_leads_before_a_common_one(store: SqlStore, definitions: Definitions) -> None:
    """The order of the criteria changes nothing in the answer."""
    observations = [make_observation(f"o{n}", subject={"reference": f"Patient/p{n}"}) for n in range(30)]
    store.put(Constraint.system(""), observations, now=0)

    answers = [
        _search(store, definitions, "Observation", query)
        for query in ("code=4548-4&patient=p7", "patient=p7&code=4548-4", "date=2024&patient=p7&status=final")
    ]

    assert answers == [["o7"]] * 3


def test_a_prefix_is_no_pattern(store: SqlStore, definitions: Definitions) -> None:
    names = ["100%", "100x", "a_b", "axb", "\U0010fffd"]
    patients = [make_patient(f"p{n}", name=[{"family": name}]) for n, name in enumerate(names)]
    store.put(Constraint.system(""), patients, now=0)

    answers = [
        _search(store, definitions, "Patient", f"family{modifier}={value}")
        for modifier, value in (("", "100%25"), (":contains", "0%25"), (":contains", "_"), ("", "a_"))
    ]

    assert answers == [["p0"], ["p0"], ["p2"], ["p2"]]
    assert re.fullmatch(r"p\d", _search(store, definitions, "Patient", "family=%F4%8F%BF%BD")[0])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("_lastUpdated=2020", ["during", "first", "last"]),
        ("_lastUpdated=ne2020", ["after", "before"]),
        ("_lastUpdated=gt2020", ["after"]),
        ("_lastUpdated=sa2020", ["after"]),
        ("_lastUpdated=ge2020", ["after", "during", "first", "last"]),
        ("_lastUpdated=lt2020", ["before"]),
        ("_lastUpdated=eb2020", ["before"]),
        ("_lastUpdated=le2020", ["before", "during", "first", "last"]),
        ("_lastUpdated=lt2020,gt2020", ["after", "before"]),
        ("_lastUpdated=ge2020-06-01T00:00:00Z&_lastUpdated=lt2021", ["during", "last"]),
    ],
)
def test_the_time_of_the_last_change_compares_at_the_edges(
    store: SqlStore, definitions: Definitions, query: str, found: list[str]
) -> None:
    moments = {
        "before": 1_577_836_799_999_999,
        "first": 1_577_836_800_000_000,
        "during": 1_600_000_000_000_000,
        "last": 1_609_459_199_999_999,
        "after": 1_609_459_200_000_000,
    }
    for name, moment in moments.items():
        store.put(Constraint.system(""), [make_patient(name)], now=moment)

    assert sorted(_search(store, definitions, "Patient", query)) == found


def test_a_constraint_may_lead_and_still_be_narrowed(store: SqlStore, definitions: Definitions) -> None:
    """A scope's criterion with fewer matches than the query's is walked first; both hold."""
    parser = SearchParser(definitions, base_url=BASE)
    observations = [
        make_observation(f"o{n}", subject={"reference": f"Patient/p{n % 3}"}, status="final" if n % 2 else "amended")
        for n in range(12)
    ]
    store.put(Constraint.system(""), observations, now=0)
    criteria = parser.scope_criteria("Observation", [("patient", "p1")])
    assert criteria is not None

    query = parser.query("Observation", [("code", "4548-4"), ("status", "final")]).query
    page = store.search(Constraint("", (criteria,)), query)

    assert [match.id for match in page.matches] == ["o1", "o7"]
