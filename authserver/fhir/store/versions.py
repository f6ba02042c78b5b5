"""Read versions: the one that is named, or all of a resource, a type or a tenant, newest first.

Old versions have no index rows, so each is held against the constraint by `search/matching.py`, on its own content.
That takes time, so where nothing is there something else is held against it: hidden and absent take the same path
(threat H01).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, exists, false, func, or_, select, tuple_

from authserver.fhir import exact_json
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.search.matching import Facts, holds, matches_any
from authserver.fhir.store import tables
from authserver.fhir.store.comparisons import Condition, indexed
from authserver.fhir.store.criteria import Parameters
from authserver.fhir.store.port import HistoryPage, HistoryQuery, Stored, Version
from authserver.fhir.store.queries import read_statement

MAX_SCANNED = 10_000
"""Versions that one request looks at; a page that they do not fill ends there, with a link to the next."""

_BATCH = 200
_VERSION_BITS = 24
_before = tables.version.alias("content_before")
_ORDER = (tables.version.c.last_updated, tables.version.c.rid, tables.version.c.version_id)


@dataclass(frozen=True, slots=True)
class VersionReader:
    """Reads versions over one connection."""

    connection: Connection
    extractor: Extractor
    parameters: Parameters

    def one(
        self, constraint: Constraint, resource_type: str, resource_id: str, *, version_id: int | None
    ) -> Version | None:
        """Return the version, or the current one even if it is a deletion; None when the constraint hides it."""
        wanted = tables.resource.c.version_id if version_id is None else version_id
        constraint = self._named(constraint, resource_type, resource_id)
        statement = self._versions(constraint, (resource_type,), resource_id)
        row = self.connection.execute(statement.where(tables.version.c.version_id == wanted)).one_or_none()
        if row is not None and self._reached(constraint, row):
            return _version(row)
        self._look_elsewhere(constraint, resource_type, absent=row is None)
        return None

    def history(self, constraints: Mapping[str, Constraint], query: HistoryQuery) -> HistoryPage:
        """Return one page; `constraints` has one of each type, all of one tenant and view."""
        if query.resource_id is not None:
            named = {name: self._named(one, name, query.resource_id) for name, one in constraints.items()}
            return self._page(named, query)
        return self._page(constraints, query)

    def _page(self, constraints: Mapping[str, Constraint], query: HistoryQuery) -> HistoryPage:
        found: list[Version] = []
        total = self._total(constraints, query)
        if total == 0:
            return HistoryPage((), None, 0)
        position, last = query.after, query.after
        for scanned, row in enumerate(self._rows(constraints, query)):
            if scanned == MAX_SCANNED:
                return HistoryPage(tuple(found), position, total)
            position = _position(row)
            if not self._reached(constraints[row.resource_type], row):
                continue
            # Only a version that is seen makes another page: a link to nothing would tell of what is hidden.
            if len(found) == query.count:
                return HistoryPage(tuple(found), last, total)
            found.append(_version(row))
            last = position
        return HistoryPage(tuple(found), None, total)

    def _rows(self, constraints: Mapping[str, Constraint], query: HistoryQuery) -> Iterator[Row[Any]]:
        after = query.after
        while True:
            rows = self.connection.execute(self._history(constraints, query, after).limit(_BATCH)).all()
            yield from rows
            if len(rows) < _BATCH:
                return
            after = _position(rows[-1])

    def _total(self, constraints: Mapping[str, Constraint], query: HistoryQuery) -> int | None:
        """Count a resource's versions; those of a type or of everything are too many to look at."""
        if query.resource_id is None:
            return None
        every = HistoryQuery(query.resource_types, query.resource_id, query.since, query.until)
        reached = [self._reached(constraints[row.resource_type], row) for row in self._rows(constraints, every)]
        if not any(reached):
            (resource_type,) = query.resource_types
            self._look_elsewhere(constraints[resource_type], resource_type, absent=not reached)
        return sum(reached)

    def _reached(self, constraint: Constraint, row: Row[Any]) -> bool:
        """Say whether the constraint reaches the version; a deletion is seen by who sees what was deleted."""
        # With one tenant the statement has decided that.
        owned = constraint.view is None or constraint.reaches_all_of(row.tenant)
        if constraint.is_everything and owned:
            return True
        body, moment = (row.body_before, row.updated_before) if row.deleted else (row.body, row.last_updated)
        if not body:
            return False
        return self._matches(constraint, body, moment, shared=not owned)

    def _matches(self, constraint: Constraint, body: bytes, moment: int, *, shared: bool = False) -> bool:
        """Say whether the content is within the constraint, and `shared` where that is asked for."""
        facts = Facts.of(exact_json.loads(bytes(body)), last_updated=moment, extractor=self.extractor)
        return matches_any(constraint.alternatives, facts) and (not shared or _is_shared(constraint, facts))

    def _look_elsewhere(self, constraint: Constraint, resource_type: str, *, absent: bool) -> None:
        """Read a version of the type; where nothing was there hold it against the constraint, as what is hidden was."""
        if constraint.is_everything:
            return
        row = self.connection.execute(_any_version(constraint, resource_type)).one_or_none()
        if row is not None and absent:
            self._matches(constraint, row.body, row.last_updated)

    def _named(self, constraint: Constraint, resource_type: str, resource_id: str) -> Constraint:
        """Return the constraint on the tenant that the name means: of a resource that is there, else of one that was.

        What is there is found by the read of a resource, so that its versions are those of what a read answers.
        """
        if constraint.view is None:
            return constraint
        statement = read_statement(self.parameters, constraint, resource_type=resource_type, resource_id=resource_id)
        current = self.connection.execute(statement).one_or_none()
        if current is not None:
            return constraint.only(current.tenant)
        every = [constraint.only(tenant) for tenant in constraint.tenants]
        return next((one for one in every if self._has_any(one, resource_type, resource_id)), every[0])

    def _has_any(self, constraint: Constraint, resource_type: str, resource_id: str) -> bool:
        rows = self.connection.execute(self._versions(constraint, (resource_type,), resource_id))
        return any(self._reached(constraint, row) for row in rows.all())

    def _history(self, constraints: Mapping[str, Constraint], query: HistoryQuery, after: int | None) -> Select[Any]:
        (constraint, *_) = constraints.values()
        statement = self._versions(constraint, query.resource_types, query.resource_id)
        moment = tables.version.c.last_updated
        if query.since is not None:
            statement = statement.where(moment >= query.since)
        if query.until is not None:
            statement = statement.where(moment < query.until)
        if after is not None:
            last = tables.version.alias("last")
            rid, version_id = after >> _VERSION_BITS, after & (1 << _VERSION_BITS) - 1
            is_last = and_(last.c.rid == rid, last.c.version_id == version_id)
            moment_of_last = select(last.c.last_updated).where(is_last).scalar_subquery()
            statement = statement.where(tuple_(*_ORDER) < tuple_(moment_of_last, rid, version_id))
        return statement.order_by(*(column.desc() for column in _ORDER))

    def _versions(self, constraint: Constraint, resource_types: Sequence[str], resource_id: str | None) -> Select[Any]:
        """Select versions with what they are of; `body_before` is what a deletion deleted."""
        resource, version = tables.resource, tables.version
        deleted = and_(version.c.deleted, _before.c.rid == version.c.rid)
        statement = (
            select(
                version,
                resource.c.resource_type,
                resource.c.id,
                resource.c.tenant,
                _before.c.body.label("body_before"),
                func.coalesce(_before.c.last_updated, version.c.last_updated).label("updated_before"),
            )
            .join_from(version, resource, version.c.rid == resource.c.rid)
            .outerjoin(_before, and_(deleted, _before.c.version_id == version.c.version_id - 1))
            .where(self._of_tenant(constraint, resource_types), resource.c.resource_type.in_(resource_types))
        )
        return statement if resource_id is None else statement.where(resource.c.id == resource_id)

    def _of_tenant(self, constraint: Constraint, resource_types: Sequence[str]) -> Condition:
        """Return the condition that the tenant is reached, or lends the resource as it is now.

        What is no longer shared, or deleted, takes its former versions along.
        """
        resource, view = tables.resource.c, constraint.view
        if view is None:
            return resource.tenant == constraint.tenant
        table, matches = indexed(view.hierarchy.shared)
        params = [self.parameters[name, view.hierarchy.shared.code] for name in resource_types]
        tags = select(table.c.rid).where(table.c.rid == resource.rid, table.c.param.in_(params), matches)
        shared = exists(tags.correlate(tables.resource).offset(0))
        return or_(resource.tenant.in_(view.whole), and_(resource.tenant.in_(view.lent), shared))


def _any_version(constraint: Constraint, resource_type: str) -> Select[Any]:
    """Select one version of the type that is no deletion, whichever the index has first."""
    resource, version = tables.resource, tables.version
    return (
        select(version.c.body, version.c.last_updated)
        .join_from(resource, version, version.c.rid == resource.c.rid)
        .where(resource.c.tenant == constraint.tenant, resource.c.resource_type == resource_type)
        .where(version.c.deleted == false())
        .limit(1)
    )


def _is_shared(constraint: Constraint, facts: Facts) -> bool:
    return constraint.view is not None and holds(constraint.view.hierarchy.shared, facts)


def _position(row: Row[Any]) -> int:
    position: int = row.rid << _VERSION_BITS | row.version_id
    return position


def _version(row: Row[Any]) -> Version:
    stored = Stored(row.rid, row.resource_type, row.id, row.version_id, row.last_updated, bytes(row.body), row.tenant)
    return Version(stored, row.method, deleted=row.deleted)
