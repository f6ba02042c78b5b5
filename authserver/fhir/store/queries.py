"""Build the statements of reading and searching: which index leads, which conditions follow.

A search leads by the index of its most selective criterion, when one is selective or comes in the order
of the result; otherwise it walks the resources of the type in order and asks each criterion of each.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, func, select

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import (
    Criterion,
    IdCriterion,
    IndexedCriterion,
    LastUpdatedCriterion,
    TokenCriterion,
)
from authserver.fhir.store import tables
from authserver.fhir.store.criteria import Compiler, Parameters, count_up_to, is_ordered
from authserver.fhir.store.port import Stored
from authserver.fhir.store.tenants import rank

# A criterion with fewer index rows than this may lead although they have to be sorted. The count and the
# search see one state of the database, so the limit cuts nothing off.
_SELECTIVE = 1_000

COLUMNS = (
    tables.resource.c.rid,
    tables.resource.c.resource_type,
    tables.resource.c.id,
    tables.resource.c.version_id,
    tables.resource.c.last_updated,
    tables.version.c.body,
    tables.resource.c.tenant,
)
CURRENT = and_(
    tables.version.c.rid == tables.resource.c.rid,
    tables.version.c.version_id == tables.resource.c.version_id,
)

Leader = IndexedCriterion | LastUpdatedCriterion


def read_statement(
    parameters: Parameters, constraint: Constraint, *, resource_type: str, resource_id: str
) -> Select[Any]:
    """Return the one statement of a read: hidden and absent take the same path."""
    compiler = Compiler(parameters, resource_type, constraint)
    statement = (
        select(*COLUMNS)
        .join_from(tables.resource, tables.version, CURRENT)
        .where(
            compiler.allowed(),
            tables.resource.c.resource_type == resource_type,
            tables.resource.c.id == resource_id,
            tables.resource.c.deleted == false(),
        )
    )
    if constraint.view is None:
        return statement
    return statement.order_by(rank(tables.resource.c.tenant, constraint.tenants)).limit(1)


def stored(row: Row[Any]) -> Stored:
    """Return a row of these statements as a value."""
    return Stored(row.rid, row.resource_type, row.id, row.version_id, row.last_updated, bytes(row.body), row.tenant)


class Matches:
    """The matches of criteria on one type under one constraint: the leader is chosen once."""

    def __init__(
        self,
        connection: Connection,
        parameters: Parameters,
        constraint: Constraint,
        *,
        resource_type: str,
        criteria: Sequence[Criterion],
    ) -> None:
        self._resource_type = resource_type
        self._criteria = criteria
        self._compiler = Compiler(parameters, resource_type, constraint)
        self._leader = _leader(connection, self._compiler, _leading(constraint, criteria))

    def in_order(self, *, after: int = 0) -> Select[Any]:
        """Return the select of each match's rid behind the position, in order; its last FROM is `fhir_resource`."""
        resource = tables.resource
        rid: ColumnElement[int] = resource.c.rid
        if self._leader is None:
            page = select(rid)
        elif is_ordered(self._leader):
            # Matches of one value lie in the order of rid: the page is their beginning, read without sorting.
            candidates = self._compiler.candidates(self._leader)
            rid = candidates.selected_columns.rid
            page = candidates.distinct().join(resource, resource.c.rid == rid)
        else:
            few = self._compiler.candidates(self._leader).limit(_SELECTIVE).subquery()
            rid = few.c.rid
            page = select(rid).distinct().join(resource, resource.c.rid == rid)
        for criterion in self._criteria:
            if criterion is not self._leader:
                page = page.where(self._compiler.holds(criterion))
        return page.where(self._compiler.current(), rid > after).order_by(rid)

    def rids(self, *, among: Select[Any] | None = None) -> Select[Any]:
        """Return the select of each match's rid, once, in no order; only those `among` these rids if they are given."""
        found = self.in_order().order_by(None)
        return found if among is None else found.where(tables.resource.c.rid.in_(among))

    @property
    def walks(self) -> bool:
        """Say whether no index leads: every resource of the type would be asked."""
        return self._leader is None and not any(isinstance(one, IdCriterion) for one in self._criteria)

    def count(self) -> Select[Any]:
        """Return the select of the number of all matches."""
        return select(func.count()).select_from(self.rids().subquery())


def _leading(constraint: Constraint, criteria: Sequence[Criterion]) -> list[Leader]:
    """Return the criteria that could lead: each holds for every match, and has an index of its matches.

    They are the query's, and the constraint's if it has no choice. An id leads by itself.
    """
    narrowing = constraint.alternatives[0] if len(constraint.alternatives) == 1 else ()
    every = (*criteria, *narrowing)
    if any(isinstance(criterion, IdCriterion) for criterion in every):
        return []
    return [criterion for criterion in every if isinstance(criterion, Leader) and not _is_negated(criterion)]


def _is_negated(criterion: Criterion) -> bool:
    return isinstance(criterion, TokenCriterion) and criterion.negated


def _leader(connection: Connection, compiler: Compiler, criteria: Sequence[Leader]) -> Leader | None:
    """Choose the criterion to lead by counting a bounded number of each one's matches."""
    if not criteria or (len(criteria) == 1 and is_ordered(criteria[0])):
        return criteria[0] if criteria else None
    counts = connection.execute(
        select(*(count_up_to(compiler.candidates(criterion), _SELECTIVE) for criterion in criteria))
    ).one()
    for count, position in sorted(zip(counts, range(len(criteria)), strict=True)):
        if count < _SELECTIVE or is_ordered(criteria[position]):
            return criteria[position]
    return None
