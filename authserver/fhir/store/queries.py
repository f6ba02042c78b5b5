"""Build the statements of reading and searching: which index leads, which conditions follow.

A search leads by the index of its most selective criterion, when one is selective or comes in the order
of the result; otherwise it walks the resources of the type in order and asks each criterion of each.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, and_, false, select

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import Criterion, IdCriterion, LastUpdatedCriterion, SearchQuery, TokenCriterion
from authserver.fhir.store import tables
from authserver.fhir.store.criteria import Compiler, count_up_to, is_ordered

# A criterion with fewer matches than this may lead although its matches have to be sorted.
_SELECTIVE = 1_000

_COLUMNS = (
    tables.resource.c.rid,
    tables.resource.c.resource_type,
    tables.resource.c.id,
    tables.resource.c.version_id,
    tables.resource.c.last_updated,
    tables.version.c.body,
)
_CURRENT = and_(
    tables.version.c.rid == tables.resource.c.rid,
    tables.version.c.version_id == tables.resource.c.version_id,
)

Parameters = Mapping[tuple[str, str], int]


def read_statement(
    parameters: Parameters, constraint: Constraint, *, resource_type: str, resource_id: str
) -> Select[Any]:
    """Return the one statement of a read: hidden and absent take the same path."""
    compiler = Compiler(parameters, resource_type, constraint.tenant)
    return (
        select(*_COLUMNS)
        .join_from(tables.resource, tables.version, _CURRENT)
        .where(
            compiler.allowed(constraint),
            tables.resource.c.resource_type == resource_type,
            tables.resource.c.id == resource_id,
            tables.resource.c.deleted == false(),
        )
    )


def search_statement(
    connection: Connection, parameters: Parameters, constraint: Constraint, *, query: SearchQuery
) -> Select[Any]:
    """Return the statement of a search; it yields one row more than a page holds when there are more."""
    compiler = Compiler(parameters, query.resource_type, constraint.tenant)
    leader = _leader(connection, compiler, query)
    page = _page(compiler, query, leader).where(compiler.allowed(constraint))
    for criterion in query.criteria:
        if criterion is not leader:
            page = page.where(compiler.holds(criterion))
    rids = page.limit(query.count + 1).subquery()
    return (
        select(*_COLUMNS)
        .join_from(rids, tables.resource, tables.resource.c.rid == rids.c.rid)
        .join(tables.version, _CURRENT)
        .order_by(rids.c.rid)
    )


def _page(compiler: Compiler, query: SearchQuery, leader: Criterion | None) -> Select[Any]:
    resource = tables.resource
    same_type = and_(resource.c.resource_type == query.resource_type, resource.c.deleted == false())
    if leader is None or isinstance(leader, IdCriterion | LastUpdatedCriterion):
        return select(resource.c.rid).where(same_type, resource.c.rid > query.after).order_by(resource.c.rid)
    table, candidates = compiler.candidates(leader)
    return (
        candidates.distinct()
        .join(resource, resource.c.rid == table.c.rid)
        .where(same_type, table.c.rid > query.after)
        .order_by(table.c.rid)
    )


def _leader(connection: Connection, compiler: Compiler, query: SearchQuery) -> Criterion | None:
    """Choose the criterion to lead by counting a bounded number of each one's matches."""
    if any(isinstance(criterion, IdCriterion) for criterion in query.criteria):
        return None
    indexed = [
        criterion
        for criterion in query.criteria
        if not isinstance(criterion, IdCriterion | LastUpdatedCriterion)
        and not (isinstance(criterion, TokenCriterion) and criterion.negated)
    ]
    if len(indexed) == 1 and is_ordered(indexed[0]):
        return indexed[0]
    if not indexed:
        return None
    counts = connection.execute(
        select(*(count_up_to(compiler.candidates(criterion)[1], _SELECTIVE) for criterion in indexed))
    ).one()
    ranked = sorted(zip(counts, range(len(indexed)), strict=True))
    for count, position in ranked:
        if count < _SELECTIVE or is_ordered(indexed[position]):
            return indexed[position]
    return None
