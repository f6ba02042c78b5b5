"""Compile criteria to SQL over the index tables. Queries and scopes pass through the same functions."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, exists, false, func, not_, or_, select, true

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import (
    Criterion,
    DateCriterion,
    DateValue,
    IdCriterion,
    IndexedCriterion,
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
from authserver.fhir.store import tables

Condition = ColumnElement[bool]
# Greater than every character that a folded text can have.
_LAST_CHARACTER = "\U0010ffff"


class Compiler:
    """Compiles criteria on one resource type in one tenant; `parameters` is (type, code) -> number."""

    def __init__(self, parameters: Mapping[tuple[str, str], int], resource_type: str, tenant: str) -> None:
        self._parameters = parameters
        self._resource_type = resource_type
        self._tenant = tenant

    def allowed(self, constraint: Constraint) -> Condition:
        """Return the condition that the constraint puts on a row of `fhir_resource`, its tenant included."""
        tenant = tables.resource.c.tenant == constraint.tenant
        if constraint.is_everything:
            return tenant
        alternatives = [and_(*map(self.holds, criteria)) for criteria in constraint.alternatives]
        return and_(tenant, or_(false(), *alternatives))

    def holds(self, criterion: Criterion) -> Condition:
        """Return the condition that the criterion puts on a row of `fhir_resource`."""
        if isinstance(criterion, IdCriterion):
            return tables.resource.c.id.in_(criterion.ids)
        if isinstance(criterion, LastUpdatedCriterion):
            return _last_updated(criterion)
        table, matches = self._indexed(criterion)
        # The leading index may be the same table: correlate with the resource only. OFFSET 0 keeps PostgreSQL
        # from turning the probe of few candidates into a join over every match in the store.
        rows = select(1).select_from(table).where(matches, table.c.rid == tables.resource.c.rid)
        found = exists(rows.correlate(tables.resource).offset(0))
        negated = isinstance(criterion, TokenCriterion) and criterion.negated
        return not_(found) if negated else found

    def candidates(self, criterion: IndexedCriterion | LastUpdatedCriterion) -> Select[Any]:
        """Return the select of the rid of each index row that matches; a resource may come more than once."""
        if isinstance(criterion, LastUpdatedCriterion):
            columns = tables.resource.c
            same_type = and_(columns.tenant == self._tenant, columns.resource_type == self._resource_type)
            # The order makes the database use the index by time.
            return select(columns.rid).where(same_type, _last_updated(criterion)).order_by(columns.last_updated)
        table, matches = self._indexed(criterion)
        return select(table.c.rid).where(matches)

    def _indexed(self, criterion: IndexedCriterion) -> tuple[Table, Condition]:
        table, matches = _matches(criterion)
        param = self._parameters[self._resource_type, criterion.code]
        return table, and_(table.c.tenant == self._tenant, table.c.param == param, matches)


def is_ordered(criterion: Criterion) -> bool:
    """Say whether the criterion's index rows come in the order of rid: one value, compared for equality."""
    if isinstance(criterion, TokenCriterion):
        return not criterion.negated and len(criterion.values) == 1
    return isinstance(criterion, ReferenceCriterion) and len(criterion.values) == 1


def _last_updated(criterion: LastUpdatedCriterion) -> Condition:
    return or_(*(_moment(value, tables.resource.c.last_updated) for value in criterion.values))


def _moment(value: DateValue, moment: ColumnElement[Any]) -> Condition:
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


def _matches(criterion: IndexedCriterion) -> tuple[Table, Condition]:
    match criterion:
        case TokenCriterion(_, tokens):
            return tables.token, or_(*map(_token, tokens))
        case ReferenceCriterion(_, references):
            return tables.reference, or_(*map(_reference, references))
        case StringCriterion(_, texts, mode):
            return tables.string, or_(*(_string(text, mode) for text in texts))
        case DateCriterion(_, dates):
            columns = tables.date.c
            return tables.date, or_(*(_date(value, columns.start, columns.end) for value in dates))
        case QuantityCriterion(_, quantities):
            return tables.quantity, or_(*map(_quantity, quantities))


def _token(value: TokenValue) -> Condition:
    columns = tables.token.c
    code = true() if value.code is None else columns.code == value.code
    return code if value.system is None else and_(code, columns.system == value.system)


def _reference(value: ReferenceValue) -> Condition:
    columns = tables.reference.c
    target = columns.target == value.target
    return target if value.resource_type is None else and_(target, columns.target_type == value.resource_type)


def _string(text: str, mode: StringMode) -> Condition:
    columns = tables.string.c
    if mode == "exact":
        return columns.exact == text
    if mode == "contains":
        return columns.folded.contains(text, autoescape=True)
    return and_(columns.folded >= text, columns.folded < text + _LAST_CHARACTER)


def _date(value: DateValue, start: ColumnElement[Any], end: ColumnElement[Any]) -> Condition:
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


def _quantity(value: QuantityValue) -> Condition:
    columns = tables.quantity.c
    conditions = [_number(value, columns.low, columns.high)]
    if value.system is not None:
        conditions.append(columns.system == value.system)
    if value.unit is not None:
        unit = columns.code == value.unit
        conditions.append(unit if value.system else or_(unit, columns.unit == value.unit))
    return and_(*conditions)


def _number(value: QuantityValue, low: ColumnElement[Any], high: ColumnElement[Any]) -> Condition:
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


def count_up_to(candidates: Select[Any], limit: int) -> ColumnElement[int]:
    """Return, as a column, how many candidates there are, counted no further than the limit."""
    return select(func.count()).select_from(candidates.limit(limit).subquery()).scalar_subquery()
