"""What `_include` and `_revinclude` add to a page: the resources that its matches refer to, and that refer to them.

Each type's constraint is part of the statement, before its LIMIT (leak L5); a type that is not reached is not read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, exists, select

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import Include, SearchQuery
from authserver.fhir.store import tables
from authserver.fhir.store.comparisons import Condition
from authserver.fhir.store.criteria import Compiler, Parameters
from authserver.fhir.store.port import Stored
from authserver.fhir.store.queries import COLUMNS, CURRENT, stored
from authserver.fhir.store.tenants import in_tenants

MAX_INCLUDED: Final = 1_000
"""Most resources that are included on one page."""
MAX_ROUNDS: Final = 4
"""Most steps that `:iterate` goes on from the matches."""


class Inclusion:
    """The includes of one request's searches over one connection; they differ in type and alternatives alone."""

    def __init__(
        self, connection: Connection, parameters: Parameters, searches: Sequence[tuple[Constraint, SearchQuery]]
    ) -> None:
        self._connection = connection
        self._parameters = parameters
        self._constraint, query = searches[0]
        self._includes = query.includes
        self._matched = {of_type.resource_type: constraint for constraint, of_type in searches}

    def of(self, matches: Sequence[Stored]) -> tuple[tuple[Stored, ...], bool]:
        """Return what is included with these matches, each once and none of them, and whether that is all of it."""
        seen = {match.position for match in matches}
        found: list[Stored] = []
        level, includes = list(matches), list(self._includes)
        for _ in range(MAX_ROUNDS):
            new = self._round(level, includes, seen)
            found.extend(new)
            if len(found) > MAX_INCLUDED:
                return tuple(found[:MAX_INCLUDED]), False
            level, includes = new, [include for include in includes if include.iterate]
            if not new or not includes:
                return tuple(found), True
        return tuple(found), not self._round(level, includes, seen)

    def _round(self, level: Sequence[Stored], includes: Iterable[Include], seen: set[int]) -> list[Stored]:
        """Return what the includes add to the level, and remember it in `seen`."""
        new: list[Stored] = []
        for include in includes:
            for statement in self._reverse(include, level) if include.reverse else self._forward(include, level):
                for row in self._connection.execute(statement.limit(MAX_INCLUDED + 1 + len(seen))):
                    if row.rid not in seen:
                        seen.add(row.rid)
                        new.append(stored(row))
        return new

    def _forward(self, include: Include, level: Sequence[Stored]) -> list[Select[Any]]:
        """Return a statement for each type of what the level's resources refer to."""
        rids = [one.position for one in level if one.resource_type == include.resource_type]
        columns = tables.reference.c
        refers = and_(columns.rid.in_(rids), in_tenants(columns.tenant, self._constraint))
        if include.code is not None:
            refers = and_(refers, columns.param == self._parameters[include.resource_type, include.code])
        types = select(columns.target_type).distinct().where(refers).order_by(columns.target_type)
        found = self._connection.scalars(types).all() if rids else []
        return [
            self._of_type(one, self._constraint.including(one)).where(
                self._referred_to(one, and_(refers, columns.target_type == one))
            )
            for one in found
            if (include.target is None or one == include.target) and self._constraint.including(one).alternatives
        ]

    def _referred_to(self, resource_type: str, refers: Condition) -> Condition:
        """Return the condition that one of the references that are meant leads to the row."""
        resource, reference = tables.resource, tables.reference
        if self._constraint.view is None:
            return resource.c.id.in_(select(reference.c.target).where(refers))
        compiler = Compiler(self._parameters, resource_type, self._constraint.including(resource_type))
        named = and_(refers, reference.c.target == resource.c.id, *compiler.leads(reference.c.tenant, reference))
        return exists(select(reference.c.rid).where(named).correlate(resource))

    def _reverse(self, include: Include, level: Sequence[Stored]) -> list[Select[Any]]:
        """Return a statement for each type of the level, of the resources that refer to its resources."""
        within = self._constraint.through(include.resource_type)
        if not within.alternatives:
            return []
        targets: dict[str, list[Stored]] = {}
        for one in level:
            if include.target is None or one.resource_type == include.target:
                targets.setdefault(one.resource_type, []).append(one)
        params = [
            number
            for (resource_type, code), number in self._parameters.items()
            if resource_type == include.resource_type and include.code in (None, code)
        ]
        columns = tables.reference.c
        return [
            self._of_type(include.resource_type, within).where(
                tables.resource.c.rid.in_(
                    select(columns.rid).where(
                        in_tenants(columns.tenant, self._constraint),
                        columns.param.in_(params),
                        columns.target.in_([one.id for one in of_type]),
                        columns.target_type == name,
                        *self._leads_to(name, of_type),
                    )
                )
            )
            for name, of_type in sorted(targets.items())
        ]

    def _leads_to(self, resource_type: str, targets: Sequence[Stored]) -> list[Condition]:
        """Return the conditions that a reference leads to one of the targets, which it names."""
        if self._constraint.view is None:
            return []
        target, reference = tables.resource.alias(), tables.reference
        reach = self._reached_as(resource_type)
        leads = Compiler(self._parameters, resource_type, reach, row=target).leads(reference.c.tenant, reference)
        named = (target.c.rid.in_([one.position for one in targets]), target.c.id == reference.c.target)
        return [exists(select(target.c.rid).where(*named, *leads).correlate(reference))]

    def _reached_as(self, resource_type: str) -> Constraint:
        """Return the constraint by which resources of the type got on the page: as matches, or included."""
        return self._matched.get(resource_type, self._constraint.including(resource_type))

    def _of_type(self, resource_type: str, within: Constraint) -> Select[Any]:
        compiler = Compiler(self._parameters, resource_type, within)
        return (
            select(*COLUMNS)
            .join_from(tables.resource, tables.version, CURRENT)
            .where(compiler.current())
            # An expression: the order of rid must not lead, it would walk the whole type for a few look-ups by id.
            .order_by(tables.resource.c.rid + 0)
        )
