"""Compare values with the columns of the index tables, as R4's prefixes, units and systems say.

Source: http://hl7.org/fhir/R4/search.html; `matching.py` says the same of values in memory.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, and_, false, not_, or_, true

from authserver.fhir.search.ast import (
    CompositeCriterion,
    DateCriterion,
    DateValue,
    IndexedCriterion,
    LastUpdatedCriterion,
    PartValue,
    QuantityCriterion,
    QuantityValue,
    ReferenceCriterion,
    ReferenceValue,
    StringCriterion,
    StringMode,
    StringValue,
    TokenCriterion,
    TokenValue,
)
from authserver.fhir.search.matching import approximate_dates, approximate_numbers
from authserver.fhir.store import tables

Condition = ColumnElement[bool]
Column = ColumnElement[Any]
# Greater than every character that a folded text can have.
_LAST_CHARACTER = "\U0010ffff"


def last_updated(criterion: LastUpdatedCriterion, moment: Column) -> Condition:
    """Return the condition on a moment; the index by time serves it."""
    return or_(*(_moment(value, moment) for value in criterion.values))


def indexed(criterion: IndexedCriterion) -> tuple[Table, Condition]:
    """Return the index table of the criterion and the condition on its rows, but for tenant and parameter."""
    match criterion:
        case TokenCriterion(_, tokens):
            columns = tables.token.c
            return tables.token, _any(_token(value, columns.code, columns.system) for value in tokens)
        case ReferenceCriterion(_, references):
            return tables.reference, _references(references)
        case StringCriterion(_, texts, mode):
            return tables.string, _any(_string(text, mode) for text in texts)
        case DateCriterion(_, dates):
            columns = tables.date.c
            return tables.date, _any(_date(value, columns.start, columns.end) for value in dates)
        case QuantityCriterion(_, quantities):
            return tables.quantity, _any(_quantity(value, tables.quantity) for value in quantities)
        case CompositeCriterion(_, tuples):
            return tables.composite, _any(_composite(*parts) for parts in tuples)


def _any(conditions: Any) -> Condition:
    return or_(false(), *conditions)


def _composite(first: TokenValue, second: PartValue, third: PartValue | None = None) -> Condition:
    columns = tables.composite.c
    conditions = [_token(first, columns.code, columns.system), _second(second)]
    if isinstance(third, QuantityValue):
        conditions.append(_number(third, columns.low3, columns.high3))
    return and_(*conditions)


def _second(value: PartValue) -> Condition:
    columns = tables.composite.c
    match value:
        case TokenValue():
            return _token(value, columns.code2, columns.system2)
        case ReferenceValue():
            return _reference(value, columns.code2, columns.system2)
        case StringValue(text):
            return _starts(columns.code2, text)
        case DateValue():
            return _date(value, columns.start2, columns.end2)
        case QuantityValue():
            return _quantity(value, tables.composite, suffix="2")


def _moment(value: DateValue, moment: Column) -> Condition:
    """Compare as _date() does, where the resource's range is one microsecond; the index by time serves these."""
    match value.prefix:
        case "eq":
            return and_(moment >= value.start, moment < value.end)
        case "ne":
            return or_(moment < value.start, moment >= value.end)
        case "gt" | "sa":
            return moment >= value.end
        case "lt" | "eb":
            return moment < value.start
        case "ge":
            return moment >= value.start
        case "le":
            return moment < value.end
        case "ap":
            start, end = approximate_dates(value)
            return and_(moment >= start, moment < end)


def _token(value: TokenValue, code: Column, system: Column) -> Condition:
    same = true() if value.code is None else code == value.code
    return same if value.system is None else and_(same, system == value.system)


def _references(values: tuple[ReferenceValue, ...]) -> Condition:
    """Return the condition for any of the values, one list of targets for each type."""
    columns = tables.reference.c
    if len(values) == 1:
        return _reference(values[0], columns.target, columns.target_type)
    by_type: dict[str | None, list[str]] = {}
    for value in values:
        by_type.setdefault(value.resource_type, []).append(value.target)
    return _any(
        columns.target.in_(targets) if name is None else and_(columns.target.in_(targets), columns.target_type == name)
        for name, targets in by_type.items()
    )


def _reference(value: ReferenceValue, target: Column, target_type: Column) -> Condition:
    same = target == value.target
    return same if value.resource_type is None else and_(same, target_type == value.resource_type)


def _string(text: str, mode: StringMode) -> Condition:
    columns = tables.string.c
    if mode == "exact":
        return columns.exact == text
    if mode == "contains":
        return columns.folded.contains(text, autoescape=True)
    return _starts(columns.folded, text)


def _starts(folded: Column, text: str) -> Condition:
    return and_(folded >= text, folded < text + _LAST_CHARACTER)


def _date(value: DateValue, start: Column, end: Column) -> Condition:
    """Compare as http://hl7.org/fhir/R4/search.html#prefix says; `start` and `end` are the resource's."""
    within = and_(start >= value.start, start < value.end, end <= value.end)
    match value.prefix:
        case "eq":
            return within
        case "ne":
            return not_(within)
        case "gt":
            return end > value.end
        case "lt":
            return start < value.start
        case "ge":
            return or_(end > value.end, within)
        case "le":
            return or_(start < value.start, within)
        case "sa":
            return start >= value.end
        case "eb":
            return end <= value.start
        case "ap":
            earliest, latest = approximate_dates(value)
            return and_(start < latest, end > earliest)


def _quantity(value: QuantityValue, table: FromClause, *, suffix: str = "") -> Condition:
    low, high, code, system, unit = (table.c[name + suffix] for name in ("low", "high", "code", "system", "unit"))
    conditions = [_number(value, low, high)]
    if value.system is not None:
        conditions.append(system == value.system)
    if value.unit is not None:
        same = code == value.unit
        conditions.append(same if value.system else or_(same, unit == value.unit))
    return and_(*conditions)


def _number(value: QuantityValue, low: Column, high: Column) -> Condition:
    within = and_(low >= value.low, high < value.high)
    match value.prefix:
        case "eq":
            return within
        case "ne":
            return not_(within)
        case "gt" | "sa":
            return (high if value.prefix == "gt" else low) > value.number
        case "lt" | "eb":
            return (low if value.prefix == "lt" else high) < value.number
        case "ge":
            return or_(high > value.number, within)
        case "le":
            return or_(low < value.number, within)
        case "ap":
            least, most = approximate_numbers(value)
            return and_(low <= most, high >= least)
