"""Say whether a content of a resource is within a constraint: what the store asks by SQL, of extracted rows. PURE.

For versions that are no longer current, which have no index rows. A test holds both ways against each other.
"""

from collections.abc import Mapping, Set
from typing import Any

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import (
    Criterion,
    DateCriterion,
    DateValue,
    IdCriterion,
    LastUpdatedCriterion,
    QuantityCriterion,
    QuantityValue,
    ReferenceCriterion,
    ReferenceValue,
    StringCriterion,
    StringMode,
    TokenCriterion,
    TokenValue,
)

Row = tuple[Any, ...]
Rows = Mapping[str, Set[Row]]


def matches(constraint: Constraint, rows: Rows, *, resource_id: str, last_updated: int) -> bool:
    """Say whether all criteria of one alternative hold; `rows` are the Extractor's, `last_updated` in microseconds.

    The tenant is not looked at: rows have none.
    """
    return any(
        all(_holds(criterion, rows, resource_id=resource_id, last_updated=last_updated) for criterion in criteria)
        for criteria in constraint.alternatives
    )


def _holds(criterion: Criterion, rows: Rows, *, resource_id: str, last_updated: int) -> bool:
    match criterion:
        case IdCriterion(ids):
            return resource_id in ids
        case LastUpdatedCriterion(dates):
            return any(_date(value, last_updated, last_updated + 1) for value in dates)
        case TokenCriterion(code, tokens, negated):
            found = any(_token(value, row) for row in _of(rows["token"], code) for value in tokens)
            return found is not negated
        case ReferenceCriterion(code, references):
            return any(_reference(value, row) for row in _of(rows["reference"], code) for value in references)
        case StringCriterion(code, texts, mode):
            return any(_string(text, mode, row) for row in _of(rows["string"], code) for text in texts)
        case DateCriterion(code, dates):
            return any(_date(value, start, end) for start, end in _of(rows["date"], code) for value in dates)
        case QuantityCriterion(code, quantities):
            return any(_quantity(value, row) for row in _of(rows["quantity"], code) for value in quantities)
        case _:
            return False  # a kind of criterion that is not understood here opens nothing


def _of(rows: Set[Row], code: str) -> list[Row]:
    return [row[1:] for row in rows if row[0] == code]


def _token(value: TokenValue, row: Row) -> bool:
    code, system = row
    return value.code in (None, code) and value.system in (None, system)


def _reference(value: ReferenceValue, row: Row) -> bool:
    target, resource_type = row
    return value.target == target and value.resource_type in (None, resource_type)


def _string(text: str, mode: StringMode, row: Row) -> bool:
    folded, exact = row
    if mode == "exact":
        return bool(exact == text)
    return text in folded if mode == "contains" else bool(folded.startswith(text))


def _date(value: DateValue, start: int, end: int) -> bool:
    """Compare as `store/criteria.py` does."""
    within = value.start <= start < value.end and end <= value.end
    match value.prefix:
        case "eq":
            return within
        case "ne":
            return not within
        case "gt":
            return end > value.end
        case "lt":
            return start < value.start
        case "ge":
            return end > value.end or within
        case "le":
            return start < value.start or within
        case "sa":
            return start >= value.end
        case "eb":
            return end <= value.start


def _quantity(value: QuantityValue, row: Row) -> bool:
    low, high, code, system, unit = row
    if value.system is not None and system != value.system:
        return False
    units = (code,) if value.system else (code, unit)
    return value.unit in (None, *units) and _number(value, low, high)


def _number(value: QuantityValue, low: float, high: float) -> bool:
    within = low >= value.low and high < value.high
    match value.prefix:
        case "eq":
            return within
        case "ne":
            return not within
        case "gt" | "sa":
            return (high if value.prefix == "gt" else low) > value.number
        case "lt" | "eb":
            return (low if value.prefix == "lt" else high) < value.number
        case "ge":
            return high > value.number or within
        case "le":
            return low < value.number or within
