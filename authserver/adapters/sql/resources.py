"""The ResourceStore over SQL: a row that points at the current version, and every version ever stored.

A change reads that row locked, so changes of one resource happen one after the other.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, bindparam, delete, insert, select, update

from authserver.adapters.sql import audit_chain
from authserver.adapters.sql.changes import SqlChanges, count_change
from authserver.adapters.sql.database import Database, insert_if_absent
from authserver.adapters.sql.tables import resource, resource_link, resource_version
from authserver.adapters.sql.versions import page_of_history, stored
from authserver.errors import VersionConflict
from authserver.protocol.audit_record import AuditRecord
from authserver.services.ports import UNLINKED, AlreadyExists, ChangeRecord, HistoryPosition, StoredResource

_CURRENT = (
    select(resource_version, resource.c.secret_hash, resource.c.token_generation)
    .join_from(
        resource,
        resource_version,
        and_(
            resource_version.c.resource_type == resource.c.resource_type,
            resource_version.c.id == resource.c.id,
            resource_version.c.version_id == resource.c.version_id,
        ),
    )
    .where(resource.c.deleted.is_(False))
)
_NEXT_TOKEN_GENERATION = (
    update(resource)
    .where(resource.c.resource_type == bindparam("of_type"), resource.c.id == bindparam("of_id"))
    .where(resource.c.deleted.is_(False))
    .values(token_generation=resource.c.token_generation + 1)
    .returning(resource.c.token_generation)
)
# Built once: making a statement costs more than running it.
_LINKED = _CURRENT.where(
    resource.c.resource_type == bindparam("of_type"),
    resource.c.id.in_(
        select(resource_link.c.id).where(
            resource_link.c.resource_type == bindparam("of_type"),
            resource_link.c.link.in_(bindparam("of_links", expanding=True)),
        )
    ),
).order_by(resource.c.id)
_ONE_VERSION = select(resource_version).where(
    resource_version.c.resource_type == bindparam("of_type"),
    resource_version.c.id == bindparam("of_id"),
    resource_version.c.version_id == bindparam("of_version"),
)
_CURRENT_BY_ID = _CURRENT.where(resource.c.resource_type == bindparam("of_type"), resource.c.id == bindparam("of_id"))


@dataclass(frozen=True, slots=True)
class _Change:
    """One change to be made: which resource, how (PUT or DELETE), with what, when (microseconds)."""

    resource_type: str
    id: str
    method: str
    body: str
    now: int
    if_match: int | None
    secret_hash: str | None = None
    links: frozenset[str] = frozenset()
    revoke_tokens: bool = False
    only_new: bool = False


class SqlResourceStore:
    """ResourceStore (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database, changes: SqlChanges) -> None:
        self._database, self._changes = database, changes

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return the current version with its secret hash, or None."""
        named = {"of_type": resource_type, "of_id": resource_id}
        with self._database.reading() as connection:
            row = connection.execute(_CURRENT_BY_ID, named).first()
        return None if row is None else stored(row, row.token_generation, secret_hash=row.secret_hash)

    def current(self, resource_type: str) -> Sequence[StoredResource]:
        """Return every current resource of the type, ordered by id."""
        statement = _CURRENT.where(resource.c.resource_type == resource_type).order_by(resource.c.id)
        with self._database.reading() as connection:
            return [stored(row, row.token_generation) for row in connection.execute(statement)]

    def linked(self, resource_type: str, links: Sequence[str]) -> Sequence[StoredResource]:
        """Return, ordered by id, the current resources filed under any of the links."""
        named = {"of_type": resource_type, "of_links": list(links)}
        with self._database.reading() as connection:
            return [stored(row, row.token_generation) for row in connection.execute(_LINKED, named)]

    def history(self, resource_type: str, resource_id: str) -> Sequence[StoredResource]:
        """Return every version, newest first."""
        with self._database.reading() as connection:
            return [stored(row) for row in connection.execute(page_of_history(resource_type, resource_id))]

    def version(self, resource_type: str, resource_id: str, version_id: int) -> StoredResource | None:
        """Return this version, or None; see the port."""
        named = {"of_type": resource_type, "of_id": resource_id, "of_version": version_id}
        with self._database.reading() as connection:
            row = connection.execute(_ONE_VERSION, named).first()
        return None if row is None else stored(row)

    def versions(
        self,
        resource_type: str,
        resource_id: str | None = None,
        *,
        limit: int,
        offset: int = 0,
        since: int | None = None,
        before: HistoryPosition | None = None,
    ) -> Sequence[StoredResource]:
        """Return a page of history; see the port."""
        page = page_of_history(resource_type, resource_id, since=since, before=before).limit(limit).offset(offset)
        with self._database.reading() as connection:
            return [stored(row) for row in connection.execute(page)]

    def put(
        self,
        resource_type: str,
        resource_id: str,
        body: Mapping[str, Any],
        *,
        now: int,
        if_match: int | None = None,
        secret_hash: str | None = None,
        links: Sequence[str] = (UNLINKED,),
        revoke_tokens: bool = False,
        only_new: bool = False,
        audit: ChangeRecord | None = None,
    ) -> StoredResource:
        """Store a new version and return it; see the port."""
        change = _Change(
            resource_type,
            resource_id,
            "PUT",
            body=_json(body),
            now=now,
            if_match=if_match,
            secret_hash=secret_hash,
            links=frozenset(links),
            revoke_tokens=revoke_tokens,
            only_new=only_new,
        )
        with self._changing() as (connection, records):
            before = _locked(connection, change) or _created(connection, change)
            _require_version(before, change)
            written = _write(connection, change, before)
            if audit is not None:
                last = None if before.deleted else _version(connection, change, before.version_id)
                records.append(audit(last, written))
        if not before.deleted:
            self._changes.spread()
        return written

    def delete(
        self,
        resource_type: str,
        resource_id: str,
        *,
        now: int,
        if_match: int | None = None,
        audit: ChangeRecord | None = None,
    ) -> StoredResource | None:
        """Delete and return the last version before it; None when there was none."""
        change = _Change(resource_type, resource_id, "DELETE", "{}", now, if_match)
        with self._changing() as (connection, records):
            before = _locked(connection, change)
            _require_version(before, change)
            if before is None or before.deleted:
                return None
            last = _version(connection, change, before.version_id)
            _write(connection, change, before)
            if audit is not None:
                records.append(audit(last, last))
        self._changes.spread()
        return last

    def revoke_tokens(self, resource_type: str, resource_id: str, *, audit: AuditRecord | None = None) -> int | None:
        """Start a new token generation by one write and return it; None when there is no such resource."""
        named = {"of_type": resource_type, "of_id": resource_id}
        with self._changing() as (connection, records):
            generation: int | None = connection.execute(_NEXT_TOKEN_GENERATION, named).scalar()
            if audit is not None and generation is not None:
                records.append(audit)
        self._changes.spread()
        return generation

    @contextmanager
    def _changing(self) -> Iterator[tuple[Connection, list[AuditRecord]]]:
        """Yield a connection inside one transaction that counts as a change of the registry, and what it records."""
        records: list[AuditRecord] = []
        with self._changes.changing(), self._database.writing() as connection:
            yield connection, records
            # Last: the count and the chain's head are one row each for all, held no longer than they have to be.
            count_change(connection)
            audit_chain.append(connection, records)


def _locked(connection: Connection, change: _Change) -> Row[Any] | None:
    """Return the row of the id, kept from other writers until the transaction ends."""
    statement = select(resource).where(_same_id(resource, change)).with_for_update()
    return connection.execute(statement).first()


def _created(connection: Connection, change: _Change) -> Row[Any]:
    """Make the row of an id never used before, as if version 0 had been deleted, and return it locked.

    When another transaction is making the same row, the insert waits for it and then does nothing.
    """
    blank = {"version_id": 0, "generation": 0, "token_generation": 0, "created_at": change.now, "deleted": True}
    values = {"resource_type": change.resource_type, "id": change.id, **blank}
    connection.execute(insert_if_absent(resource, connection.dialect), values)
    statement = select(resource).where(_same_id(resource, change)).with_for_update()
    return connection.execute(statement).one()


def _require_version(before: Row[Any] | None, change: _Change) -> None:
    if change.only_new and before is not None and not before.deleted:
        raise AlreadyExists(detail=f"{change.resource_type}/{change.id}")
    if change.if_match is None:
        return
    current = None if before is None or before.deleted else before.version_id
    if current != change.if_match:
        raise VersionConflict(detail=f"{change.resource_type}/{change.id}: {current} is not {change.if_match}")


def _version(connection: Connection, change: _Change, version_id: int) -> StoredResource:
    named = {"of_type": change.resource_type, "of_id": change.id, "of_version": version_id}
    return stored(connection.execute(_ONE_VERSION, named).one())


def _write(connection: Connection, change: _Change, before: Row[Any]) -> StoredResource:
    """Add the version, point the row at it, file the links; return the version as the history shows it."""
    starts = before.deleted  # a new life: only the count of versions goes on
    row = {
        "version_id": before.version_id + 1,
        "generation": before.generation + 1 if starts else before.generation,
        "created_at": change.now if starts else before.created_at,
    }
    ends = change.method == "DELETE"
    token_generation = before.token_generation + (1 if starts or change.revoke_tokens else 0)
    state = {
        "deleted": ends,
        "secret_hash": None if ends else change.secret_hash or before.secret_hash,
        "token_generation": token_generation,
    }
    connection.execute(update(resource).where(_same_id(resource, change)).values(**row, **state))
    version = row | {"resource_type": change.resource_type, "id": change.id, "last_updated": change.now}
    statement = insert(resource_version).values(**version, method=change.method, body=change.body)
    written = connection.execute(statement.returning(resource_version)).one()
    _file(connection, change)
    return stored(written, token_generation)


def _file(connection: Connection, change: _Change) -> None:
    connection.execute(delete(resource_link).where(_same_id(resource_link, change)))
    rows = [{"resource_type": change.resource_type, "id": change.id, "link": link} for link in sorted(change.links)]
    if rows:
        connection.execute(insert(resource_link), rows)


def _same_id(table: Table, change: _Change) -> ColumnElement[bool]:
    return and_(table.c.resource_type == change.resource_type, table.c.id == change.id)


def _json(body: Mapping[str, Any]) -> str:
    """Write the body in ASCII, members in the order given: text that every database takes, lone surrogates too."""
    return json.dumps(body, separators=(",", ":"), allow_nan=False)
