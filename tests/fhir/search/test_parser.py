"""From query parameters to criteria: what is understood, and what is refused."""

import pytest

from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import (
    Criterion,
    DateCriterion,
    DateValue,
    IdCriterion,
    LastUpdatedCriterion,
    Prefix,
    QuantityCriterion,
    QuantityValue,
    ReferenceCriterion,
    ReferenceValue,
    SearchQuery,
    StringCriterion,
    TokenCriterion,
    TokenValue,
)
from authserver.fhir.search.parser import MAX_CRITERIA, SearchParser
from authserver.fhir.search.problems import MalformedParameter, UnsupportedParameter
from authserver.protocol.instants import date_range
from tests.fhir.builders import BASE


@pytest.fixture
def parser(definitions: Definitions) -> SearchParser:
    """A parser with the usual limits."""
    return SearchParser(definitions, base_url=BASE, default_count=20, max_count=100)


def _date(prefix: Prefix, text: str) -> DateValue:
    span = date_range(text)
    assert span is not None
    return DateValue(prefix, *span)


@pytest.mark.parametrize(
    ("name", "value", "criterion"),
    [
        ("code", "a", TokenCriterion("code", (TokenValue("a", None),))),
        ("code", "s|a", TokenCriterion("code", (TokenValue("a", "s"),))),
        ("code", "|a", TokenCriterion("code", (TokenValue("a", ""),))),
        ("code", "s|", TokenCriterion("code", (TokenValue(None, "s"),))),
        ("code", "a,s|b", TokenCriterion("code", (TokenValue("a", None), TokenValue("b", "s")))),
        ("code", r"a\,b\|c\\", TokenCriterion("code", (TokenValue("a,b|c\\", None),))),
        ("code:not", "a", TokenCriterion("code", (TokenValue("a", None),), negated=True)),
        ("subject", "p1", ReferenceCriterion("subject", (ReferenceValue("p1", None),))),
        ("subject", "Patient/p1", ReferenceCriterion("subject", (ReferenceValue("p1", "Patient"),))),
        ("subject:Patient", "p1", ReferenceCriterion("subject", (ReferenceValue("p1", "Patient"),))),
        ("subject", f"{BASE}/Patient/p1", ReferenceCriterion("subject", (ReferenceValue("p1", "Patient"),))),
        (
            "subject",
            "https://x.example/Patient/p1",
            ReferenceCriterion("subject", (ReferenceValue("https://x.example/Patient/p1", ""),)),
        ),
        ("date", "2020", DateCriterion("date", (_date("eq", "2020"),))),
        ("date", "ge2020-01,lt2019", DateCriterion("date", (_date("ge", "2020-01"), _date("lt", "2019")))),
        ("_id", "a,b", IdCriterion(("a", "b"))),
        ("_lastUpdated", "gt2020", LastUpdatedCriterion((_date("gt", "2020"),))),
        (
            "value-quantity",
            "le5.4|http://u|mg",
            QuantityCriterion("value-quantity", (QuantityValue("le", 5.4, 5.35, 5.45, "http://u", "mg"),)),
        ),
        (
            "value-quantity",
            "5||mg",
            QuantityCriterion("value-quantity", (QuantityValue("eq", 5.0, 4.5, 5.5, None, "mg"),)),
        ),
    ],
)
def test_values_of_an_observation(parser: SearchParser, name: str, value: str, criterion: Criterion) -> None:
    assert parser.criterion("Observation", name, value) == criterion


@pytest.mark.parametrize(
    ("name", "value", "criterion"),
    [
        ("name", "Élan", StringCriterion("name", ("elan",), "starts")),
        ("name:exact", "Élan", StringCriterion("name", ("Élan",), "exact")),
        ("name:contains", "LA", StringCriterion("name", ("la",), "contains")),
        ("_profile", "http://p", TokenCriterion("_profile", (TokenValue("http://p", None),))),
        ("organization", "o", ReferenceCriterion("organization", (ReferenceValue("o", "Organization"),))),
    ],
)
def test_values_of_a_patient(parser: SearchParser, name: str, value: str, criterion: Criterion) -> None:
    assert parser.criterion("Patient", name, value) == criterion


@pytest.mark.parametrize(
    "name",
    (
        "nonsense code: code:text code:not:not code:in code:above subject:Slot subject:Nonsense "
        "code-value-quantity:not _id:not _id:missing _lastUpdated:missing code-value-quantity:missing _has _has: "
        "_has:Observation:patient _has:Observation:patient:code _has:Provenance:target:nonsense "
        "_has:Nonsense:target:agent _text _list _filter _content _query near _lastUpdated:not "
        "_profile:above _profile:below date:exact patient.nonsense patient. "
        "patient:Group.name code.name .name patient.organization.partof.partof.name subject:Patient: patient..name "
        "_include _include:iterate _revinclude _sort _total _elements _summary value-quantity:contains"
    ).split(),
)
def test_unsupported_parameters_are_refused_by_name(parser: SearchParser, name: str) -> None:
    """Never passed through or half understood (leaks L3 and L12)."""
    with pytest.raises(UnsupportedParameter) as refused:
        parser.criterion("Observation", name, "a")

    assert refused.value.name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("code", ""),
        ("code", "a,"),
        ("code", "|"),
        ("code", "a|b|c"),
        ("code", "a\0"),
        ("code", r"\a"),
        ("code", "a" * 201),
        ("code", ",".join("a" * 101)),
        ("subject", "Practitioner/1"),
        ("subject", "a b"),
        ("subject:Patient", "Group/1"),
        ("date", "xx2020"),
        ("date", "ap"),
        ("date:missing", "yes"),
        ("subject:identifier", "|"),
        ("code-value-quantity", "4548-4"),
        ("code-value-quantity", "4548-4$"),
        ("code-value-quantity", "4548-4$gt7$8"),
        ("code-value-quantity", "4548-4$high"),
        ("patient.birthdate", "soon"),
        ("date", "2020-99"),
        ("_id", "a_b"),
        ("_lastUpdated", "yesterday"),
        ("value-quantity", "five"),
        ("value-quantity", "5|mg"),
    ],
)
def test_malformed_values_are_refused_by_name(parser: SearchParser, name: str, value: str) -> None:
    with pytest.raises(MalformedParameter) as refused:
        parser.criterion("Observation", name, value)

    assert refused.value.name == name.partition(":")[0] or refused.value.name == name


def test_a_query_is_its_criteria_and_its_page_size(parser: SearchParser) -> None:
    pairs = [("_id", "a"), ("_id", "b"), ("_count", "7"), ("_format", "json"), ("_cursor", "c")]

    parsed = parser.query("Patient", pairs)

    assert parsed.query == SearchQuery("Patient", (IdCriterion(("a",)), IdCriterion(("b",))), 7)
    assert (parsed.cursor, parsed.used) == ("c", tuple(pairs[:4]))


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("100", 100), ("101", 100), ("999999999", 100)])
def test_count_is_lowered_to_the_limit(parser: SearchParser, text: str, count: int) -> None:
    assert parser.query("Patient", [("_count", text)]).query.count == count


@pytest.mark.parametrize("text", ["-1", "", "1.5", "9999999999", "ten"])
def test_a_count_that_is_no_page_size_is_refused(parser: SearchParser, text: str) -> None:
    with pytest.raises(MalformedParameter):
        parser.query("Patient", [("_count", text)])


@pytest.mark.parametrize("name", ["_count", "_cursor", "_format"])
def test_a_repeated_control_is_refused(parser: SearchParser, name: str) -> None:
    with pytest.raises(MalformedParameter):
        parser.query("Patient", [(name, "json"), (name, "json")])


def test_xml_is_not_a_format_here(parser: SearchParser) -> None:
    with pytest.raises(UnsupportedParameter):
        parser.query("Patient", [("_format", "xml")])


def test_too_many_criteria_are_refused(parser: SearchParser) -> None:
    assert parser.query("Patient", [("_id", "a")] * MAX_CRITERIA).query.count == 20
    with pytest.raises(MalformedParameter):
        parser.query("Patient", [("_id", "a")] * (MAX_CRITERIA + 1))


def test_a_lenient_query_leaves_unsupported_parameters_out(parser: SearchParser) -> None:
    parsed = parser.query("Patient", [("nonsense", "1"), ("_id", "a")], lenient=True)

    assert parsed.query.criteria == (IdCriterion(("a",)),)
    assert parsed.used == (("_id", "a"),)


def test_a_lenient_query_does_not_forgive_malformed_values(parser: SearchParser) -> None:
    with pytest.raises(MalformedParameter):
        parser.query("Patient", [("birthdate", "soon")], lenient=True)


def test_scope_parameters_become_the_same_criteria(parser: SearchParser) -> None:
    criteria = parser.scope_criteria("Observation", {("category", "laboratory"), ("code", "a")})

    assert criteria == (
        parser.criterion("Observation", "category", "laboratory"),
        parser.criterion("Observation", "code", "a"),
    )


@pytest.mark.parametrize(
    "pair", [("nonsense", "a"), ("date", "soon"), ("code:not", "a"), ("_count", "1"), ("_sort", "code")]
)
def test_a_scope_that_is_not_understood_gives_no_criteria(parser: SearchParser, pair: tuple[str, str]) -> None:
    """Leak L12: an unknown or unparsable criterion grants nothing."""
    assert parser.scope_criteria("Observation", {("category", "laboratory"), pair}) is None
