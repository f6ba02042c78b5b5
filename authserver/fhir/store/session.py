"""Read and write inside one transaction. What a constraint hides is absent; what it would hide is not written.

Each write takes the caller's Constraint and holds it against the stored state and the new one, by the same SQL.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update

from authserver.errors import Forbidden, NotFound
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.store import tables
from authserver.fhir.store.criteria import Compiler, Parameters
from authserver.fhir.store.port import FhirReads, Page, Stored, Written
from authserver.fhir.store.writing import Writer, check

# Every write begins with it, so it is not put together anew for each.
_HELD: Final = (
    select(tables.resource)
    .where(tables.resource.c.tenant == bindparam("tenant"))
    .where(tables.resource.c.resource_type == bindparam("type"), tables.resource.c.id == bindparam("id"))
    .with_for_update()
)


class OutsideScope(Forbidden):
    """The resource would be one that the caller's scopes do not cover; the caller sent it, so it may know."""

    default_reason = "outside_scope"
    default_public = "The resource, as it would be stored, is outside the access token's scopes."


@dataclass(frozen=True, slots=True)
class SqlSession:
    """A FhirSession over one connection; `reads` is the store, bound to that connection."""

    reads: FhirReads
    connection: Connection
    extractor: Extractor
    parameters: Parameters

    def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
        """See FhirSession."""
        self._lock(constraint, resource_type, resource_id)
        return self.reads.read(constraint, resource_type, resource_id)

    def search(self, constraint: Constraint, query: SearchQuery) -> Page:
        """See FhirSession."""
        if self.connection.dialect.name == "postgresql":
            # Two conditional writers of one type take turns, or both would find nothing. SQLite has one writer.
            # In a hierarchy all tenants of one tree do: what one of them makes another one may find.
            tenant = constraint.view.root if constraint.view is not None else constraint.tenant
            name = f"{tenant}/{query.resource_type}".encode()
            key = int.from_bytes(hashlib.sha256(name).digest()[:8], "big", signed=True)
            self.connection.execute(select(func.pg_advisory_xact_lock(key)))
        return self.reads.search(constraint, query)

    def reached(self, constraint: Constraint, resource_type: str, ids: Collection[str]) -> frozenset[str]:
        """See FhirSession."""
        columns = tables.resource.c
        statement = select(columns.id).where(
            Compiler(self.parameters, resource_type, constraint).current(), columns.id.in_(ids)
        )
        return frozenset(self.connection.scalars(statement))

    def put(self, constraint: Constraint, resource: Mapping[str, Any], *, method: str, now: int) -> Written:
        """See FhirSession."""
        check([resource], self.reads.resource_types)
        resource_type, resource_id = resource["resourceType"], resource["id"]
        known = self._lock(constraint, resource_type, resource_id)
        lives = known is not None and not known["deleted"]
        if lives and not constraint.is_everything and self.reads.read(constraint, resource_type, resource_id) is None:
            raise NotFound(detail="the constraint hides the stored state")
        if not lives and method != "POST" and not constraint.is_everything:
            raise NotFound(detail="a constraint with criteria creates nothing by name")
        writer = Writer(self.extractor, self.parameters, constraint.tenant, now, method=method)
        result = writer.put_one(self.connection, resource, known)
        # What reaches everything reaches what it made: only a narrower constraint has to be asked.
        stored = result.made if constraint.is_everything else None
        stored = stored or self.reads.read(constraint, resource_type, resource_id)
        if stored is None:
            raise OutsideScope
        return Written(stored, created=not lives, changed=result.changed)

    def delete(self, constraint: Constraint, resource_type: str, resource_id: str, *, now: int) -> Stored | None:
        """See FhirSession."""
        stored = self.read(constraint, resource_type, resource_id)
        if stored is None:
            return None
        version_id = stored.version_id + 1
        columns = tables.resource.c
        self.connection.execute(
            update(tables.resource)
            .where(columns.rid == stored.position)
            .values(version_id=version_id, last_updated=now, deleted=True, digest=b"")
        )
        for table in tables.INDEX_TABLES.values():
            self.connection.execute(delete(table).where(table.c.rid == stored.position))
        row = {"rid": stored.position, "version_id": version_id, "last_updated": now, "deleted": True, "body": b""}
        self.connection.execute(insert(tables.version), [{**row, "method": "DELETE"}])
        return Stored(stored.position, resource_type, resource_id, version_id, now, b"", stored.tenant)

    def _lock(self, constraint: Constraint, resource_type: str, resource_id: str) -> RowMapping | None:
        """Hold the resource until the transaction ends; return its row, of a deleted one too."""
        held = {"tenant": constraint.tenant, "type": resource_type, "id": resource_id}
        return self.connection.execute(_HELD, held).mappings().one_or_none()
