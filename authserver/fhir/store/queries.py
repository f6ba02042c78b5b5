"""Build the statements of reading and searching: which index leads, which conditions follow.

A search leads by the index of its most selective criterion, when one is selective or comes in the order
of the result; otherwise it walks the resources of the type in order and asks each criterion of each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, false, select

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import (
    IdCriterion,
    IndexedCriterion,
    LastUpdatedCriterion,
    SearchQuery,
    TokenCriterion,
)
from authserver.fhir.store import tables
from authserver.fhir.store.criteria import Compiler, count_up_to, is_ordered
from authserver.fhir.store.port import Stored

# A criterion with fewer index rows than this may lead although they have to be sorted. The count and the
# search see one state of the database, so the limit cuts nothing off.
_SELECTIVE = 1_000

_COLUMNS = (
    tables.resource.c.rid,
    tables.resource.c.resource_type,
    tables.resource.c.id,
    tables.resource.c.version_id,
    tables.resource.c.last_updated,
    tables.version.c.body,
)
CURRENT = and_(
    tables.version.c.rid == tables.resource.c.rid,
    tables.version.c.version_id == tables.resource.c.version_id,
)

Parameters = Mapping[tuple[str, str], int]
Leader = IndexedCriterion | LastUpdatedCriterion


def read_statement(
    parameters: Parameters, constraint: Constraint, *, resource_type: str, resource_id: str
) -> Select[Any]:
    """Return the one statement of a read: hidden and absent take the same path."""
    compiler = Compiler(parameters, resource_type, constraint.tenant)
    return (
        select(*_COLUMNS)
        .join_from(tables.resource, tables.version, CURRENT)
        .where(
            compiler.allowed(constraint),
            tables.resource.c.resource_type == resource_type,
            tables.resource.c.id == resource_id,
            tables.resource.c.deleted == false(),
        )
    )


def stored(row: Row[Any]) -> Stored:
    """Return a row of these statements as a value."""
    return Stored(row.rid, row.resource_type, row.id, row.version_id, row.last_updated, bytes(row.body))


def search_statement(
    connection: Connection, parameters: Parameters, constraint: Constraint, *, query: SearchQuery
) -> Select[Any]:
    """Return the statement of a search; it yields one row more than a page holds when there are more."""
    compiler = Compiler(parameters, query.resource_type, constraint.tenant)
    leader = _leader(connection, compiler, _leading(constraint, query))
    page = _page(compiler, query, leader).where(compiler.allowed(constraint))
    for criterion in query.criteria:
        if criterion is not leader:
            page = page.where(compiler.holds(criterion))
    rids = page.limit(query.count + 1).subquery()
    return (
        select(*_COLUMNS)
        .join_from(rids, tables.resource, tables.resource.c.rid == rids.c.rid)
        .join(tables.version, CURRENT)
        .order_by(rids.c.rid)
    )


def _page(compiler: Compiler, query: SearchQuery, leader: Leader | None) -> Select[Any]:
    resource = tables.resource
    same_type = and_(resource.c.resource_type == query.resource_type, resource.c.deleted == false())
    if leader is None:
        return select(resource.c.rid).where(same_type, resource.c.rid > query.after).order_by(resource.c.rid)
    candidates = compiler.candidates(leader)
    if is_ordered(leader):
        # Matches of one value lie in the order of rid: the page is their beginning, read without sorting.
        rid = candidates.selected_columns.rid
        page = candidates.distinct()
    else:
        few = candidates.limit(_SELECTIVE).subquery()
        rid = few.c.rid
        page = select(rid).distinct()
    return page.join(resource, resource.c.rid == rid).where(same_type, rid > query.after).order_by(rid)


def _leading(constraint: Constraint, query: SearchQuery) -> list[Leader]:
    """Return the criteria that could lead: each holds for every match, and has an index of its matches.

    They are the query's, and the constraint's if it has no choice. An id leads by itself.
    """
    narrowing = constraint.alternatives[0] if len(constraint.alternatives) == 1 else ()
    criteria = (*query.criteria, *narrowing)
    if any(isinstance(criterion, IdCriterion) for criterion in criteria):
        return []
    return [
        criterion
        for criterion in criteria
        if not isinstance(criterion, IdCriterion) and not (isinstance(criterion, TokenCriterion) and criterion.negated)
    ]


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
