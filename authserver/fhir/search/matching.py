"""Say whether a resource fulfils criteria, by the values that the extractor reads out of it: no store, no SQL.

The same rules as `store/comparisons.py`; a test keeps the two equal. Chains and `_has` need other resources and are not
decided here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.fhir.definitions.converters import Row
from authserver.fhir.definitions.extraction import Extractor, Rows
from authserver.fhir.search.ast import (
    CompositeCriterion,
    Criterion,
    DateCriterion,
    DateValue,
    IdCriterion,
    LastUpdatedCriterion,
    MissingCriterion,
    OwnCriterion,
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

_TENTH = 0.1


@dataclass(frozen=True, slots=True)
class Facts:
    """What criteria ask of one version of a resource: its id, the time of its change (microseconds), its values."""

    id: str
    last_updated: int
    rows: Rows

    @classmethod
    def of(cls, resource: Mapping[str, Any], *, last_updated: int, extractor: Extractor) -> "Facts":
        """Read the facts out of a resource."""
        return cls(resource["id"], last_updated, extractor.rows(resource))

    def values(self, table: str, code: str) -> Iterator[Row]:
        """Yield the values of a parameter."""
        return (row[1:] for row in self.rows[table] if row[0] == code)


def matches_any(alternatives: Iterable[tuple[Criterion, ...]], facts: Facts) -> bool:
    """Say whether all criteria of one of the alternatives hold; a criterion not decided here never does."""
    return any(all(_decided(criterion, facts) for criterion in criteria) for criteria in alternatives)


def _decided(criterion: Criterion, facts: Facts) -> bool:
    return isinstance(criterion, OwnCriterion) and holds(criterion, facts)


def holds(criterion: OwnCriterion, facts: Facts) -> bool:
    """Say whether the criterion holds."""
    match criterion:
        case IdCriterion(ids):
            return facts.id in ids
        case LastUpdatedCriterion(dates):
            moment = (facts.last_updated, facts.last_updated + 1)
            return any(_date(value, moment) for value in dates)
        case MissingCriterion(code, table, missing):
            return missing != any(True for _ in facts.values(table, code))
        case TokenCriterion(code, tokens, negated):
            return negated != any(_token(value, row) for row in facts.values("token", code) for value in tokens)
        case ReferenceCriterion(code, targets):
            return any(_reference(value, row) for row in facts.values("reference", code) for value in targets)
        case StringCriterion(code, texts, mode):
            return any(_string(text, row, mode) for row in facts.values("string", code) for text in texts)
        case DateCriterion(code, dates):
            return any(_date(value, row) for row in facts.values("date", code) for value in dates)
        case QuantityCriterion(code, quantities):
            return any(_quantity(value, row) for row in facts.values("quantity", code) for value in quantities)
        case CompositeCriterion(code, tuples):
            return any(_composite(row, *parts) for row in facts.values("composite", code) for parts in tuples)


def approximate_dates(value: DateValue) -> tuple[int, int]:
    """Return the range that `ap` overlaps: what was written, and as much again on both sides.

    R4 leaves the width to the server; a width that depends on today would make pages of one search disagree.
    """
    width = value.end - value.start
    return value.start - width, value.end + width


def approximate_numbers(value: QuantityValue) -> tuple[float, float]:
    """Return the range that `ap` overlaps: 10 % on both sides (http://hl7.org/fhir/R4/search.html#prefix)."""
    width = abs(value.number) * _TENTH
    return value.number - width, value.number + width


def _token(value: TokenValue, row: Row) -> bool:
    code, system = row
    return (value.code is None or value.code == code) and (value.system is None or value.system == system)


def _reference(value: ReferenceValue, row: Row) -> bool:
    target, target_type = row
    return value.target == target and (value.resource_type is None or value.resource_type == target_type)


def _string(text: str, row: Row, mode: StringMode) -> bool:
    folded, exact = row
    if mode == "exact":
        return bool(exact == text)
    return text in folded if mode == "contains" else bool(folded.startswith(text))


def _date(value: DateValue, row: Row) -> bool:
    start, end = row
    within: bool = start >= value.start and start < value.end and end <= value.end
    match value.prefix:
        case "eq" | "ne":
            return within == (value.prefix == "eq")
        case "gt" | "ge":
            return bool(end > value.end) or (value.prefix == "ge" and within)
        case "lt" | "le":
            return bool(start < value.start) or (value.prefix == "le" and within)
        case "sa":
            return bool(start >= value.end)
        case "eb":
            return bool(end <= value.start)
        case "ap":
            earliest, latest = approximate_dates(value)
            return bool(start < latest and end > earliest)


def _quantity(value: QuantityValue, row: Row) -> bool:
    low, high, code, system, unit = row
    if value.system is not None and system != value.system:
        return False
    if value.unit is not None and value.unit not in ((code,) if value.system else (code, unit)):
        return False
    return _number(value, low, high)


def _number(value: QuantityValue, low: float, high: float) -> bool:
    within = low >= value.low and high < value.high
    match value.prefix:
        case "eq" | "ne":
            return within == (value.prefix == "eq")
        case "gt":
            return high > value.number
        case "ge":
            return high > value.number or within
        case "lt":
            return low < value.number
        case "le":
            return low < value.number or within
        case "sa":
            return low > value.number
        case "eb":
            return high < value.number
        case "ap":
            least, most = approximate_numbers(value)
            return low <= most and high >= least


def _composite(row: Row, first: TokenValue, second: PartValue, third: PartValue | None = None) -> bool:
    code, _, system, *parts, low3, high3 = row
    if not _token(first, (code, system)) or not _second(second, parts):
        return False
    return not isinstance(third, QuantityValue) or _number(third, low3, high3)


def _second(value: PartValue, parts: list[Any]) -> bool:
    code, system, unit, low, high, start, end = parts
    match value:
        case TokenValue():
            return _token(value, (code, system))
        case ReferenceValue():
            return _reference(value, (code, system))
        case StringValue(text):
            return bool(code.startswith(text))
        case DateValue():
            return _date(value, (start, end))
        case QuantityValue():
            return _quantity(value, (low, high, code, system, unit))
