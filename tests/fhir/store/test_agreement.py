"""The same criteria as SQL and in memory: a property over generated resources and criteria."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.matching import Facts, holds, matches_any
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.port import HistoryQuery
from authserver.fhir.store.sql_store import SqlStore
from authserver.fhir.tenancy import TenantHierarchy
from tests.fhir.builders import BASE, demo_resources, make_observation, make_patient

NOW = 1_700_000_000_000_000
_CODES, _SYSTEMS = ["a", "b", "A", "é"], ["urn:x", "urn:y", ""]
_DATES = ["2019", "2020", "2020-02", "2020-02-29", "2020-02-29T12:00:00Z", "2020-02-29T12:00:00.5+01:00", "2021-12-31"]
_NUMBERS = ["1", "1.0", "1.5", "-2", "100", "0"]
_PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


def _corpus() -> Iterator[dict[str, Any]]:
    """Observations with every combination that the criteria below can tell apart, more or less."""
    concepts: list[Any] = [{"text": "only"}] + [
        {"coding": [{"code": code, **({"system": system} if system else {})}]} for code in _CODES for system in _SYSTEMS
    ]
    dates: list[dict[str, Any]] = [{"effectiveDateTime": date} for date in _DATES]
    dates += [{"effectivePeriod": {"start": "2019-06", "end": "2020-06"}}, {"effectivePeriod": {"start": "2020-02"}}]
    dates += [{"effectivePeriod": {"end": "2020-02"}}, {}]
    values: list[dict[str, Any]] = [
        {"valueQuantity": {"value": float(number), "unit": "mg", "code": "a", "system": "urn:x"}} for number in _NUMBERS
    ]
    values += [{"valueString": "Élan vital"}, {"valueDateTime": "2020-02"}, {"valueCodeableConcept": concepts[1]}, {}]
    subjects: list[dict[str, Any]] = [
        {"subject": {"reference": "Patient/a"}}, {"subject": {"reference": "Group/a"}},
        {"subject": {"identifier": {"system": "urn:x", "value": "a"}}}, {"subject": {"reference": "urn:x"}},
    ]  # fmt: skip
    for number in range(120):
        yield {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "code": concepts[number % len(concepts)],
            "component": [{"code": concepts[number % 5], **values[number % 3]}],
            **dates[number % len(dates)],
            **values[number % len(values)],
            **subjects[number % len(subjects)],
        }


CORPUS = list(_corpus())

_tokens = st.builds(
    lambda system, bar, code: f"{system}|{code}" if bar else code,
    st.sampled_from(_SYSTEMS), st.booleans(), st.sampled_from(_CODES),
)  # fmt: skip
_dates = st.builds(str.__add__, st.sampled_from(_PREFIXES), st.sampled_from(_DATES))
_numbers = st.builds(str.__add__, st.sampled_from(_PREFIXES), st.sampled_from(_NUMBERS))
_quantities = st.builds(str.__add__, _numbers, st.sampled_from(["", "||mg", "||a", "|urn:x|a", "|urn:y|a", "|urn:x|"]))
_references = st.sampled_from(["a", "Patient/a", "Group/a", "b", "urn:x", f"{BASE}/Patient/a"])


def _list(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, min_size=1, max_size=3).map(",".join)


_texts = _list(st.sampled_from(["elan", "Élan vital", "VIT", "%", "x"]))
_composites = ["code-value-quantity", "component-code-value-quantity", "combo-code-value-quantity"]


def _both(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("$".join)


_VALUES: list[tuple[list[str], st.SearchStrategy[str]]] = [
    (["code", "code:not", "component-code", "combo-code", "subject:identifier"], _list(_tokens)),
    (["date", "value-date", "_lastUpdated"], _list(_dates)),
    (["value-quantity", "component-value-quantity"], _list(_quantities)),
    (["subject", "patient"], _list(st.sampled_from(["a", "Patient/a", "b"]))),
    (["subject"], _list(_references)),
    (["subject:Group"], st.just("a")),
    (["value-string", "value-string:exact", "value-string:contains"], _texts),
    (["code:missing", "date:missing", "patient:missing", "value-string:missing"], st.sampled_from(["true", "false"])),
    (_composites, _list(_both(_tokens, _quantities))),
    (["code-value-date"], _both(_tokens, _dates)),
    (["code-value-string"], _both(_tokens, st.sampled_from(["el", "x"]))),
    (["code-value-concept"], _both(_tokens, _tokens)),
    (["_id"], _list(st.sampled_from(["o1", "o2", "nobody"]))),
]
_pairs = st.one_of(*(st.tuples(st.sampled_from(names), value) for names, value in _VALUES))


@pytest.fixture(scope="module")
def filled(demo_store: SqlStore) -> SqlStore:
    """The demo store of each kind of database, with the corpus in a tenant of its own."""
    demo_store.put(Constraint.system("corpus"), CORPUS, now=NOW)
    return demo_store


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(_pairs, min_size=1, max_size=3))
def test_sql_and_matcher_agree(filled: SqlStore, definitions: Definitions, pairs: list[tuple[str, str]]) -> None:
    """A criterion means the same in a store and of a version at hand (fhir-enforcement, "Model")."""
    parser, extractor = SearchParser(definitions, base_url=BASE), Extractor(definitions)
    query = parser.query("Observation", [*pairs, ("_count", "1000")]).query

    found = {match.id for match in filled.search(Constraint.system("corpus"), query).matches}

    expected = {
        resource["id"]
        for resource in CORPUS
        if matches_any((query.criteria,), Facts.of(resource, last_updated=NOW, extractor=extractor))
    }
    assert found == expected


FAMILY = TenantHierarchy.of({"low": "middle", "beside": "middle", "middle": "high"}, tag_system="urn:tenant")
RELATIVES = ("high", "middle", "beside", "low")


@pytest.fixture(scope="module")
def family(demo_store: SqlStore) -> SqlStore:
    """The corpus spread over four relatives and a stranger, every third resource shared."""
    for place, name in enumerate((*RELATIVES, "stranger")):
        resources = [
            {**one, **({"meta": {"tag": [{"system": "urn:tenant", "code": "shared"}]}} if number % 3 == 0 else {})}
            for number, one in enumerate(CORPUS)
            if number % 5 == place
        ]
        demo_store.put(Constraint.system(name), resources, now=NOW)
    return demo_store


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tenant=st.sampled_from([*RELATIVES, "stranger"]),
    letter=st.sampled_from("rsud"),
    pairs=st.lists(_pairs, min_size=1, max_size=2),
)
def test_sql_and_matcher_agree_on_relatives(
    family: SqlStore, definitions: Definitions, tenant: str, letter: str, pairs: list[tuple[str, str]]
) -> None:
    """Row X24: a search by SQL and a history by the matcher reach the same, over several tenants too."""
    parser = SearchParser(definitions, base_url=BASE)
    criteria = parser.query("Observation", pairs).query.criteria
    constraint = Constraint(tenant, (criteria,), view=FAMILY.view(tenant, letter=letter))
    everything = parser.query("Observation", [("_count", "1000")]).query

    found = {match.id for match in family.search(constraint, everything).matches}
    history = family.history({"Observation": constraint}, HistoryQuery(("Observation",), count=1_000))

    assert {version.stored.id for version in history.versions} == found
    own = _reached(constraint, tenant, Extractor(definitions))
    assert found == own


def _reached(constraint: Constraint, tenant: str, extractor: Extractor) -> set[str]:
    """What is reached, told by the rules themselves: below all, above what is shared."""
    whole, lent = (constraint.view.whole, constraint.view.lent) if constraint.view is not None else ((tenant,), ())
    names = (*RELATIVES, "stranger")
    return {
        one["id"]
        for number, one in enumerate(CORPUS)
        if names[number % 5] in whole or (names[number % 5] in lent and number % 3 == 0)
        if matches_any(constraint.alternatives, Facts.of(one, last_updated=NOW, extractor=extractor))
    }


@pytest.mark.parametrize("resource_type", ["Patient", "Encounter", "Group", "Condition", "Practitioner"])
def test_what_is_missing_is_missing_to_both(demo_store: SqlStore, definitions: Definitions, resource_type: str) -> None:
    """Every parameter of the type: those that have a value and those that have none are all the resources."""
    parser, extractor = SearchParser(definitions, base_url=BASE), Extractor(definitions)
    resources = [resource for resource in demo_resources() if resource["resourceType"] == resource_type]
    for parameter in definitions.parameters(resource_type):
        if parameter.code in ("_id", "_lastUpdated") or parameter.components:
            continue
        query = parser.query(resource_type, [(f"{parameter.code}:missing", "true"), ("_count", "1000")]).query

        found = {match.id for match in demo_store.search(Constraint.system(""), query).matches}

        (criterion,) = query.criteria
        facts = [Facts.of(resource, last_updated=NOW, extractor=extractor) for resource in resources]
        assert found == {one.id for one in facts if holds(criterion, one)}, parameter.code  # type: ignore[arg-type]


def test_what_needs_other_resources_is_never_decided_in_memory(definitions: Definitions) -> None:
    """A chain in a scope would grant nothing: it cannot get there, and would not match."""
    parser, extractor = SearchParser(definitions, base_url=BASE), Extractor(definitions)
    own, chain = (parser.criterion("Observation", *pair) for pair in (("code", "4548-4"), ("patient.name", "smi")))
    facts = Facts.of(make_observation(), last_updated=NOW, extractor=extractor)

    assert [matches_any(((one,),), facts) for one in (own, chain)] == [True, False]


def test_no_alternative_opens_nothing_and_one_without_criteria_everything(definitions: Definitions) -> None:
    """Leak L12."""
    facts = Facts.of(make_observation(), last_updated=NOW, extractor=Extractor(definitions))

    assert [matches_any(alternatives, facts) for alternatives in ((), ((),))] == [False, True]


def test_approximately_is_a_tenth_of_a_number_and_as_much_again_of_a_date(
    store: SqlStore, definitions: Definitions
) -> None:
    """http://hl7.org/fhir/R4/search.html#prefix: `ap` is for the server to define; docs/fhir-search.md does."""
    parser = SearchParser(definitions, base_url=BASE)
    numbers = [make_observation(f"v{n}", valueQuantity={"value": n}) for n in (89, 90, 110, 111)]
    births = [make_patient(f"p{year}", birthDate=f"{year}-06-01") for year in (1958, 1959, 1961, 1962)]
    store.put(Constraint.system(""), [*numbers, *births], now=0)

    answers = [
        [match.id for match in store.search(Constraint.system(""), parser.query(name, [pair]).query).matches]
        for name, pair in (("Observation", ("value-quantity", "ap100")), ("Patient", ("birthdate", "ap1960")))
    ]

    assert answers == [["v90", "v110"], ["p1959", "p1961"]]
