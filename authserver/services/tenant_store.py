"""The registry as a tenant's administrator sees it: what belongs to others is not there.

A Client belongs to the tenant that it names, an AccessPolicy to the tenant of all the clients that it is linked to; one
without links is nobody's. A deletion belongs to whom the version before it belonged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from authserver.errors import VersionConflict
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.registry_search import reference
from authserver.services.ports import (
    CLIENT,
    UNLINKED,
    AlreadyExists,
    ChangeRecord,
    HistoryPosition,
    ResourceStore,
    StoredResource,
)

_BATCH = 200


@dataclass(frozen=True, slots=True)
class TenantStore:
    """ResourceStore of one tenant over that of all; see the port."""

    store: ResourceStore
    tenant: str

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return the current version of a resource of the tenant."""
        found = self.store.get(resource_type, resource_id)
        return found if found is not None and self._owns(found) else None

    def current(self, resource_type: str) -> Sequence[StoredResource]:
        """Return every resource of the tenant, ordered by id."""
        return [found for found in self.store.current(resource_type) if self._owns(found)]

    def linked(self, resource_type: str, links: Sequence[str]) -> Sequence[StoredResource]:
        """Return what is filed under the links, others' too: it says who may do what, and is shown to nobody."""
        return self.store.linked(resource_type, links)

    def history(self, resource_type: str, resource_id: str) -> Sequence[StoredResource]:
        """Return every version of the resource that was the tenant's."""
        return [version for version in self.store.history(resource_type, resource_id) if self._owns(version)]

    def version(self, resource_type: str, resource_id: str, version_id: int) -> StoredResource | None:
        """Return the version, if it was the tenant's."""
        found = self.store.version(resource_type, resource_id, version_id)
        return found if found is not None and self._owns(found) else None

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
        """Return a page of the tenant's history."""
        every = self._all_versions(resource_type, resource_id, since, before)
        return list(islice((version for version in every if self._owns(version)), offset, offset + limit))

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
        """Store a version of what is the tenant's, or of an id that is free; raises AlreadyExists for others'."""
        taken = self.store.get(resource_type, resource_id)
        if taken is not None and not self._owns(taken):
            if if_match is not None:
                raise VersionConflict(detail=f"{resource_type}/{resource_id} is another tenant's")
            raise AlreadyExists(detail=f"{resource_type}/{resource_id} is another tenant's")
        return self.store.put(
            resource_type,
            resource_id,
            body,
            now=now,
            # Judged and stored must be the same version: it may become another tenant's in between.
            if_match=taken.version_id if taken is not None and if_match is None and not only_new else if_match,
            secret_hash=secret_hash,
            links=links,
            revoke_tokens=revoke_tokens,
            only_new=only_new or (taken is None and if_match is None),
            audit=audit,
        )

    def revoke_tokens(self, resource_type: str, resource_id: str, *, audit: AuditRecord | None = None) -> int | None:
        """Start a new token generation of a client of the tenant."""
        mine = self.get(resource_type, resource_id) is not None
        return self.store.revoke_tokens(resource_type, resource_id, audit=audit) if mine else None

    def delete(
        self,
        resource_type: str,
        resource_id: str,
        *,
        now: int,
        if_match: int | None = None,
        audit: ChangeRecord | None = None,
    ) -> StoredResource | None:
        """Delete what is the tenant's; anything else is not there."""
        mine = self.get(resource_type, resource_id)
        if mine is None:
            if if_match is not None:
                raise VersionConflict(detail=f"{resource_type}/{resource_id} is not there for {self.tenant}")
            return None
        version = mine.version_id if if_match is None else if_match
        return self.store.delete(resource_type, resource_id, now=now, if_match=version, audit=audit)

    def _owns(self, stored: StoredResource) -> bool:
        if stored.deleted:
            former = self.store.version(stored.resource_type, stored.id, stored.version_id - 1)
            return former is not None and self._owns(former)
        if stored.resource_type == CLIENT:
            return stored.body.get("tenant") == self.tenant
        links = [reference(link) for link in stored.body.get("link", ())]
        return bool(links) and all(self._is_own_client(link) for link in links)

    def _is_own_client(self, link: str) -> bool:
        resource_type, _, resource_id = link.partition("/")
        found = self.store.get(CLIENT, resource_id) if resource_type == CLIENT else None
        return found is not None and found.body.get("tenant") == self.tenant

    def _all_versions(
        self, resource_type: str, resource_id: str | None, since: int | None, before: HistoryPosition | None
    ) -> Iterator[StoredResource]:
        while True:
            found = self.store.versions(resource_type, resource_id, limit=_BATCH, since=since, before=before)
            yield from found
            if len(found) < _BATCH:
                return
            before = HistoryPosition(found[-1].last_updated, found[-1].id, found[-1].version_id)
