"""What `_include` and `_revinclude` add to a page: the resources that its matches refer to, and that refer to them.

Each type's constraint is part of the statement, before its LIMIT (leak L5); a type that is not reached is not read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, select

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import Include
from authserver.fhir.store import tables
from authserver.fhir.store.criteria import Compiler, Parameters
from authserver.fhir.store.port import Stored
from authserver.fhir.store.queries import COLUMNS, CURRENT, stored

MAX_INCLUDED: Final = 1_000
"""Most resources that are included on one page."""
MAX_ROUNDS: Final = 4
"""Most steps that `:iterate` goes on from the matches."""


class Inclusion:
    """The includes of one search over one connection."""

    def __init__(
        self, connection: Connection, parameters: Parameters, constraint: Constraint, includes: Sequence[Include]
    ) -> None:
        self._connection = connection
        self._parameters = parameters
        self._constraint = constraint
        self._includes = includes

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
        refers = and_(columns.rid.in_(rids), columns.tenant == self._constraint.tenant)
        if include.code is not None:
            refers = and_(refers, columns.param == self._parameters[include.resource_type, include.code])
        types = select(columns.target_type).distinct().where(refers).order_by(columns.target_type)
        found = self._connection.scalars(types).all() if rids else []
        return [
            self._of_type(one, self._constraint.including(one)).where(
                tables.resource.c.id.in_(select(columns.target).where(refers, columns.target_type == one))
            )
            for one in found
            if (include.target is None or one == include.target) and self._constraint.including(one).alternatives
        ]

    def _reverse(self, include: Include, level: Sequence[Stored]) -> list[Select[Any]]:
        """Return a statement for each type of the level, of the resources that refer to its resources."""
        within = self._constraint.through(include.resource_type)
        if not within.alternatives:
            return []
        ids: dict[str, list[str]] = {}
        for one in level:
            if include.target is None or one.resource_type == include.target:
                ids.setdefault(one.resource_type, []).append(one.id)
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
                        columns.tenant == self._constraint.tenant,
                        columns.param.in_(params),
                        columns.target.in_(targets),
                        columns.target_type == name,
                    )
                )
            )
            for name, targets in sorted(ids.items())
        ]

    def _of_type(self, resource_type: str, within: Constraint) -> Select[Any]:
        compiler = Compiler(self._parameters, resource_type, within)
        return (
            select(*COLUMNS)
            .join_from(tables.resource, tables.version, CURRENT)
            .where(compiler.current())
            # An expression: the order of rid must not lead, it would walk the whole type for a few look-ups by id.
            .order_by(tables.resource.c.rid + 0)
        )
