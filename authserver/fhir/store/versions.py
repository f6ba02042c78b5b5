"""Read versions: the one that is named, or all of a resource, a type or a tenant, newest first.

Old versions have no index rows, so each is held against the constraint by `search/matching.py`, on its own content.
That takes time, so where nothing is there something else is held against it: hidden and absent take the same path
(threat H01).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, false, func, select, tuple_

from authserver.fhir import exact_json
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.search.matching import Facts, matches_any
from authserver.fhir.store import tables
from authserver.fhir.store.port import HistoryPage, HistoryQuery, Stored, Version

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

    def one(
        self, constraint: Constraint, resource_type: str, resource_id: str, *, version_id: int | None
    ) -> Version | None:
        """Return the version, or the current one even if it is a deletion; None when the constraint hides it."""
        wanted = tables.resource.c.version_id if version_id is None else version_id
        statement = _versions(constraint, (resource_type,), resource_id).where(tables.version.c.version_id == wanted)
        row = self.connection.execute(statement).one_or_none()
        if row is not None and self._reached(constraint, row):
            return _version(row)
        self._look_elsewhere(constraint, resource_type, absent=row is None)
        return None

    def history(self, constraints: Mapping[str, Constraint], query: HistoryQuery) -> HistoryPage:
        """Return one page; `constraints` has one of each type, all of one tenant."""
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
            rows = self.connection.execute(_history(constraints, query, after).limit(_BATCH)).all()
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
        if constraint.is_everything:
            return True
        body, moment = (row.body_before, row.updated_before) if row.deleted else (row.body, row.last_updated)
        if not body:
            return False
        return self._matches(constraint, body, moment)

    def _matches(self, constraint: Constraint, body: bytes, moment: int) -> bool:
        facts = Facts.of(exact_json.loads(bytes(body)), last_updated=moment, extractor=self.extractor)
        return matches_any(constraint.alternatives, facts)

    def _look_elsewhere(self, constraint: Constraint, resource_type: str, *, absent: bool) -> None:
        """Read a version of the type; where nothing was there hold it against the constraint, as what is hidden was."""
        if constraint.is_everything:
            return
        row = self.connection.execute(_any_version(constraint, resource_type)).one_or_none()
        if row is not None and absent:
            self._matches(constraint, row.body, row.last_updated)


def _history(constraints: Mapping[str, Constraint], query: HistoryQuery, after: int | None) -> Select[Any]:
    (constraint, *_) = constraints.values()
    statement = _versions(constraint, query.resource_types, query.resource_id)
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


def _versions(constraint: Constraint, resource_types: Sequence[str], resource_id: str | None) -> Select[Any]:
    """Select versions with what they are of; `body_before` is what a deletion deleted."""
    resource, version = tables.resource, tables.version
    before = and_(version.c.deleted, _before.c.rid == version.c.rid, _before.c.version_id == version.c.version_id - 1)
    statement = (
        select(
            version,
            resource.c.resource_type,
            resource.c.id,
            _before.c.body.label("body_before"),
            func.coalesce(_before.c.last_updated, version.c.last_updated).label("updated_before"),
        )
        .join_from(version, resource, version.c.rid == resource.c.rid)
        .outerjoin(_before, before)
        .where(resource.c.tenant == constraint.tenant, resource.c.resource_type.in_(resource_types))
    )
    return statement if resource_id is None else statement.where(resource.c.id == resource_id)


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


def _position(row: Row[Any]) -> int:
    position: int = row.rid << _VERSION_BITS | row.version_id
    return position


def _version(row: Row[Any]) -> Version:
    stored = Stored(row.rid, row.resource_type, row.id, row.version_id, row.last_updated, bytes(row.body))
    return Version(stored, row.method, deleted=row.deleted)
