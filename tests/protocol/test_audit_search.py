"""Search parameters of the audit: what they mean, and what is refused. Row X25."""

from datetime import UTC, datetime
from typing import Any

import pytest

from authserver.errors import BadRequest, NotSupported
from authserver.protocol import audit_search
from authserver.protocol.audit_event import DCM, EVENTS
from authserver.protocol.audit_search import AuditQuery


def at(*parts: int) -> int:
    """Return a moment in microseconds."""
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 10**6)  # type: ignore[misc] # year, month, day, ...


DAY = (at(2027, 1, 15), at(2027, 1, 16))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2027", at(2027, 1, 1), at(2028, 1, 1)),
        ("2027-02", at(2027, 2, 1), at(2027, 3, 1)),
        ("2027-12", at(2027, 12, 1), at(2028, 1, 1)),
        ("2027-01-15", *DAY),
        ("2027-01-15T08:30", at(2027, 1, 15, 8, 30), at(2027, 1, 15, 8, 31)),
        ("2027-01-15T08:30:05Z", at(2027, 1, 15, 8, 30, 5), at(2027, 1, 15, 8, 30, 6)),
        ("2027-01-15T08:30:05+01:00", at(2027, 1, 15, 7, 30, 5), at(2027, 1, 15, 7, 30, 6)),
        ("2027-01-15T08:30:05 01:00", at(2027, 1, 15, 7, 30, 5), at(2027, 1, 15, 7, 30, 6)),
        ("2027-01-15T08:30:05.5", at(2027, 1, 15, 8, 30, 5, 500_000), at(2027, 1, 15, 8, 30, 5, 600_000)),
        ("2027-01-15T08:30:05.123456Z", at(2027, 1, 15, 8, 30, 5, 123_456), at(2027, 1, 15, 8, 30, 5, 123_457)),
    ],
)
def test_a_date_of_any_precision_is_a_range(text: str, start: int, end: int) -> None:
    """http://hl7.org/fhir/R4/search.html#date: UTC where there is no zone; a plus may arrive as a space."""
    assert audit_search.date_range(text) == (start, end)


@pytest.mark.parametrize(
    "text", ["", "x", "27", "2027-13", "2027-02-30", "2027-01-15T25:00", "9999", "2027-01-15T08:30:05.1234567", "٢٠٢٧"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        audit_search.date_range(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2027-01-15", {"since": DAY[0], "before": DAY[1]}),
        ("eq2027-01-15", {"since": DAY[0], "before": DAY[1]}),
        ("ge2027-01-15", {"since": DAY[0]}),
        ("gt2027-01-15", {"since": DAY[1]}),
        ("sa2027-01-15", {"since": DAY[1]}),
        ("le2027-01-15", {"before": DAY[1]}),
        ("lt2027-01-15", {"before": DAY[0]}),
        ("eb2027-01-15", {"before": DAY[0]}),
        ("ne2027-01-15", {"without": (DAY,)}),
    ],
)
def test_a_prefix_says_on_which_side(value: str, expected: dict[str, Any]) -> None:
    assert audit_search.parse([("date", value)]) == AuditQuery(**expected)


def test_dates_narrow_each_other() -> None:
    pairs = [("date", "ge2027-01-01"), ("date", "lt2027-02"), ("date", "ge2026"), ("date", "lt2028")]

    assert audit_search.parse(pairs) == AuditQuery(since=at(2027, 1, 1), before=at(2027, 2, 1))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], {}),
        ([("type", "rest")], {"events": frozenset({"resource_created", "resource_updated", "resource_deleted"})}),
        ([("type", "rest"), ("subtype", "create")], {"events": frozenset({"resource_created"})}),
        ([("subtype", "create,update")], {"events": frozenset({"resource_created", "resource_updated"})}),
        ([("subtype", "urn:ihe:event-type-code|ITI-71")], {"events": frozenset({"token_issued", "token_refused"})}),
        ([("subtype", "other|ITI-71")], {"events": frozenset()}),
        ([("type", f"{DCM}|"), ("subtype", "search")], {"events": frozenset({"audit_read"})}),
        ([("outcome", "0,8")], {"outcomes": frozenset({0, 8})}),
        ([("outcome", "0,8"), ("outcome", "8,12")], {"outcomes": frozenset({8})}),
        ([("agent", "Client/acme")], {"agent": "acme"}),
        ([("agent:identifier", "acme")], {"agent": "acme"}),
        ([("entity:identifier", "Client/acme")], {"entity": "Client/acme"}),
        ([("policy", "urn:ietf:params:oauth:jti:1.a")], {"jti": "1.a"}),
        ([("policy", "1.a")], {"jti": "1.a"}),
        ([("_id", "7"), ("_cursor", "9"), ("_sort", "-date")], {"sequence": 7, "after": 9}),
        ([("_count", "0")], {"count": 1}),
        ([("_count", "9999")], {"count": 500}),
    ],
)
def test_parameters_narrow_the_search(pairs: list[tuple[str, str]], expected: dict[str, Any]) -> None:
    assert audit_search.parse(pairs, tenant="t") == AuditQuery(tenant="t", **expected)


def test_outcomes_that_exclude_each_other_find_nothing() -> None:
    assert audit_search.parse([("outcome", "0"), ("outcome", "4")]).outcomes == frozenset()
    assert audit_search.parse([("outcome", "0"), ("outcome", "4"), ("outcome", "8")]).outcomes == frozenset()


@pytest.mark.parametrize("pair", [("_id", "1" * 19), ("_id", "²"), ("_count", "-1"), ("_cursor", "x"), ("outcome", "")])
def test_a_value_that_cannot_be_meant_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(BadRequest):
        audit_search.parse([pair])


def test_a_parameter_that_is_not_searched_by_is_refused() -> None:
    with pytest.raises(NotSupported):
        audit_search.parse([("patient", "1")])
    with pytest.raises(NotSupported):
        audit_search.parse([("_sort", "date")])
    with pytest.raises(BadRequest):
        audit_search.parse([("agent", "a"), ("agent", "b")])


def test_every_event_is_found_by_its_type_and_subtype() -> None:
    for event, kind in EVENTS.items():
        pairs = [("type", kind.type.code), ("subtype", f"{kind.subtype.system}|{kind.subtype.code}")]
        assert event in (audit_search.parse(pairs).events or ())
