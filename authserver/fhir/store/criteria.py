"""Compile criteria to SQL over the index tables. Queries and scopes pass through the same functions."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
)

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import (
    ChainCriterion,
    Criterion,
    HasCriterion,
    IdCriterion,
    IndexedCriterion,
    LastUpdatedCriterion,
    MissingCriterion,
    PositionCriterion,
    ReferenceCriterion,
    TokenCriterion,
)
from authserver.fhir.store import tables
from authserver.fhir.store.comparisons import Condition, indexed, last_updated
from authserver.fhir.store.tenants import in_tenants, rank

Parameters = Mapping[tuple[str, str], int]
_ONE: Final[ColumnElement[int]] = literal_column("1")


class Compiler:
    """Compiles criteria on one resource type under one constraint.

    `parameters` is (type, code) -> number; `row` the table or alias of `fhir_resource` that conditions are about.
    """

    def __init__(
        self,
        parameters: Parameters,
        resource_type: str,
        constraint: Constraint,
        *,
        row: FromClause = tables.resource,
    ) -> None:
        self._parameters = parameters
        self._resource_type = resource_type
        self._constraint = constraint
        self._row = row

    def allowed(self) -> Condition:
        """Return the condition that the constraint puts on the row, its tenant included."""
        tenant = self._of_tenant()
        if self._constraint.is_everything:
            return tenant
        alternatives = [and_(*map(self.holds, criteria)) for criteria in self._constraint.alternatives]
        return and_(tenant, or_(false(), *alternatives))

    def leads(self, tenant: ColumnElement[str], *outer: FromClause) -> list[Condition]:
        """Return the conditions under which a reference out of this tenant that names the row leads to the row.

        It leads to what is its tenant's own, else to what the nearest tenant above shares (leak L11), of what the
        constraint reaches. There is none to ask where only one tenant is reached. `outer` is where the column is from.
        """
        if self._constraint.view is None:
            return []
        own = self._row.c.tenant == tenant
        lenders = [name for name, _ in self._constraint.view.lenders]
        row = tables.resource.alias()
        other = Compiler(self._parameters, self._resource_type, self._constraint, row=row)
        nearer = and_(other._lends_to(tenant), rank(row.c.tenant, lenders) > rank(self._row.c.tenant, lenders))
        there = select(_ONE).select_from(row).where(other.current(), row.c.id == self._row.c.id)
        before = exists(there.where(or_(row.c.tenant == tenant, nearer)).correlate(self._row, *outer).offset(0))
        return [or_(own, and_(self._lends_to(tenant), not_(before)))]

    def current(self) -> Condition:
        """Return the condition that the row is a resource of the type that is not deleted, and is allowed."""
        same_type = self._row.c.resource_type == self._resource_type
        return and_(same_type, self._row.c.deleted == false(), self.allowed())

    def holds(self, criterion: Criterion) -> Condition:
        """Return the condition that the criterion puts on the row."""
        match criterion:
            case IdCriterion(ids):
                return self._row.c.id.in_(ids)
            case PositionCriterion(position):
                return self._row.c.rid == position
            case LastUpdatedCriterion():
                return last_updated(criterion, self._row.c.last_updated)
            case MissingCriterion(code, kind, missing):
                index = tables.INDEX_TABLES[kind]
                found = self._probe(index, self._param(self._resource_type, code, index))
                return not_(found) if missing else found
            case ChainCriterion():
                return or_(*(self._refers(criterion.code, target, one) for target, one in criterion.targets))
            case HasCriterion():
                return self._is_referred_to(criterion)
        table, matches = self._indexed(criterion)
        found = self._probe(table, matches)
        return not_(found) if isinstance(criterion, TokenCriterion) and criterion.negated else found

    def candidates(self, criterion: IndexedCriterion | LastUpdatedCriterion) -> Select[Any]:
        """Return the select of the rid of each index row that matches; a resource may come more than once."""
        if isinstance(criterion, LastUpdatedCriterion):
            columns = tables.resource.c
            same_type = and_(self._in_tenant(tables.resource), columns.resource_type == self._resource_type)
            # The order makes the database use the index by time.
            moment = columns.last_updated
            return select(columns.rid).where(same_type, last_updated(criterion, moment)).order_by(moment)
        table, matches = self._indexed(criterion)
        return select(table.c.rid).where(self._in_tenant(table), matches)

    def _probe(self, table: FromClause, matches: Condition) -> Condition:
        """Return the condition that an index row of the row's matches.

        The leading index may be the same table: correlate with the resource only. OFFSET 0 keeps PostgreSQL
        from turning the probe of few candidates into a join over every match in the store. The row's tenant is its
        index rows' too (see allowed()); named once more, it would offer the planner the index by value, where every
        probe walks all matches.
        """
        rows = select(_ONE).select_from(table).where(table.c.rid == self._row.c.rid, matches)
        return exists(rows.correlate(self._row).offset(0))

    def _refers(self, code: str, target_type: str, criterion: Criterion) -> Condition:
        """Return the condition that the row refers to a resource of the type that is reached and fulfils it."""
        reference, target = tables.reference.alias(), tables.resource.alias()
        within = self._constraint.through(target_type)
        other = Compiler(self._parameters, target_type, within, row=target)
        there = select(_ONE).select_from(target).where(other.current(), target.c.id == reference.c.target)
        there = there.where(*other.leads(reference.c.tenant, reference))
        fulfils = exists(there.where(other.holds(criterion)).correlate(reference).offset(0))
        typed = reference.c.target_type == target_type
        return self._probe(reference, and_(self._param(self._resource_type, code, reference), typed, fulfils))

    def _is_referred_to(self, criterion: HasCriterion) -> Condition:
        """Return the condition that a resource that is reached refers to the row and fulfils the criterion."""
        reference, source = tables.reference.alias(), tables.resource.alias()
        within = self._constraint.through(criterion.resource_type)
        other = Compiler(self._parameters, criterion.resource_type, within, row=source)
        there = select(_ONE).select_from(source).where(other.current(), source.c.rid == reference.c.rid)
        fulfils = exists(there.where(other.holds(criterion.criterion)).correlate(reference).offset(0))
        rows = (
            select(_ONE)
            .select_from(reference)
            .where(
                self._in_tenant(reference),
                self._param(criterion.resource_type, criterion.code, reference),
                reference.c.target == self._row.c.id,
                reference.c.target_type == self._resource_type,
                *self.leads(reference.c.tenant, reference),
                fulfils,
            )
        )
        return exists(rows.correlate(self._row).offset(0))

    def _indexed(self, criterion: IndexedCriterion) -> tuple[Table, Condition]:
        table, matches = indexed(criterion)
        return table, and_(self._param(self._resource_type, criterion.code, table), matches)

    def _in_tenant(self, table: FromClause) -> Condition:
        return in_tenants(table.c.tenant, self._constraint)

    def _of_tenant(self) -> Condition:
        """Return the condition that the row is of a tenant of which all is reached, or is shared by one that lends."""
        view, tenant = self._constraint.view, self._row.c.tenant
        if view is None:
            return tenant == self._constraint.tenant
        lent = and_(tenant.in_(view.lent), self.holds(view.hierarchy.shared))
        return or_(tenant.in_(view.whole), lent) if view.lent else tenant.in_(view.whole)

    def _lends_to(self, tenant: ColumnElement[str]) -> Condition:
        """Return the condition that the row is shared by a tenant above this one."""
        view = self._constraint.view
        assert view is not None
        above = (and_(self._row.c.tenant == one, tenant.in_(names)) for one, names in view.lenders)
        return and_(or_(false(), *above), self.holds(view.hierarchy.shared))

    def _param(self, resource_type: str, code: str, table: FromClause) -> Condition:
        return table.c.param == self._parameters[resource_type, code]


def is_ordered(criterion: Criterion) -> bool:
    """Say whether the criterion's index rows come in the order of rid: one value, compared for equality."""
    if isinstance(criterion, TokenCriterion):
        return not criterion.negated and len(criterion.values) == 1
    return isinstance(criterion, ReferenceCriterion) and len(criterion.values) == 1


def count_up_to(candidates: Select[Any], limit: int) -> ColumnElement[int]:
    """Return, as a column, how many candidates there are, counted no further than the limit."""
    return select(func.count()).select_from(candidates.limit(limit).subquery()).scalar_subquery()
