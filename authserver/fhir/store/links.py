"""Candidates first: turn a chain or `_has` into the few resources that it leads to, when they are few.

A planner that joins the whole of two indexes takes its time; this asks the far side first, in a bounded statement, and
leaves the probe of `criteria.py` for what is not selective there.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import (
    ChainCriterion,
    Criterion,
    HasCriterion,
    IdCriterion,
    ReferenceCriterion,
    ReferenceValue,
)
from authserver.fhir.store import tables
from authserver.fhir.store.criteria import Parameters
from authserver.fhir.store.queries import Matches

_FEW = 1_000
"""Resources of the far side up to which they are named in the statement of the near one."""


class Links:
    """Resolves criteria over one connection, under one constraint."""

    def __init__(self, connection: Connection, parameters: Parameters, constraint: Constraint) -> None:
        self._connection = connection
        self._parameters = parameters
        self._constraint = constraint

    def resolved(self, resource_type: str, criteria: Iterable[Criterion]) -> tuple[Criterion, ...]:
        """Return the criteria, each chain and `_has` with few candidates as the references or ids that it means.

        Over several tenants they stay as they are: there an id alone does not say which resource is meant.
        """
        if self._constraint.view is not None:
            return tuple(criteria)
        return tuple(self._resolve(resource_type, criterion) for criterion in criteria)

    def _resolve(self, resource_type: str, criterion: Criterion) -> Criterion:
        if isinstance(criterion, ChainCriterion):
            return self._chain(criterion)
        if isinstance(criterion, HasCriterion):
            return self._has(resource_type, criterion)
        return criterion

    def _chain(self, chain: ChainCriterion) -> Criterion:
        found: list[ReferenceValue] = []
        for target_type, criterion in chain.targets:
            rids = self._few(target_type, criterion)
            if rids is None or len(found) + len(rids) > _FEW:
                return chain
            found.extend(ReferenceValue(one, target_type) for one in self._ids(rids))
        return ReferenceCriterion(chain.code, tuple(found))

    def _has(self, resource_type: str, has: HasCriterion) -> Criterion:
        rids = self._few(has.resource_type, has.criterion)
        if rids is None:
            return has
        columns = tables.reference.c
        statement = (
            select(columns.target)
            .distinct()
            .where(
                columns.rid.in_(rids),
                columns.param == self._parameters[has.resource_type, has.code],
                columns.target_type == resource_type,
            )
        )
        return IdCriterion(tuple(sorted(self._connection.scalars(statement))))

    def _few(self, resource_type: str, criterion: Criterion) -> Sequence[int] | None:
        """Return the rids of the resources that are reached and fulfil the criterion, None when they are many."""
        within = self._constraint.through(resource_type)
        if not within.alternatives:
            return []
        matches = Matches(
            self._connection,
            self._parameters,
            within,
            resource_type=resource_type,
            criteria=self.resolved(resource_type, (criterion,)),
        )
        rids = self._connection.scalars(matches.in_order().limit(_FEW + 1)).all()
        return rids if len(rids) <= _FEW else None

    def _ids(self, rids: Sequence[int]) -> Sequence[str]:
        columns = tables.resource.c
        return self._connection.scalars(select(columns.id).where(columns.rid.in_(rids))).all() if rids else []
