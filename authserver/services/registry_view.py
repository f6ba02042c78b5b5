"""What of the registry is shown: current versions, former ones, pages of history, searches."""

from collections.abc import Sequence
from dataclasses import dataclass

from authserver.errors import NotFound, ResourceError
from authserver.protocol.history_query import HistoryQuery, Place
from authserver.protocol.registry_search import RegistrySearch
from authserver.services.ports import HistoryPosition, ResourceStore, StoredResource


class Gone(ResourceError):
    """The version asked for is the deletion of the resource (FHIR R4, http.html#vread)."""

    status, issue_code, default_reason = 410, "deleted", "deleted_version"
    default_public = "This version is the deletion of the resource."


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Versions, newest first, and where the next page goes on; None on the last one."""

    versions: Sequence[StoredResource]
    next: Place | None


@dataclass(frozen=True, slots=True)
class RegistryView:
    """Reads of the registry's resources. No answer holds a secret: the store keeps it beside the versions."""

    store: ResourceStore

    def version(self, resource_type: str, resource_id: str, version_id: int) -> StoredResource:
        """Return one version; raises NotFound, or Gone for a deletion."""
        found = self.store.version(resource_type, resource_id, version_id)
        if found is None:
            raise NotFound(detail=f"{resource_type}/{resource_id}/_history/{version_id}")
        if found.deleted:
            raise Gone(detail=f"{resource_type}/{resource_id}/_history/{version_id}")
        return found

    def history(self, resource_type: str, resource_id: str | None, query: HistoryQuery) -> HistoryPage:
        """Return a page of history, of one resource or of the type; raises NotFound for an id never used."""
        count, after = query.page.count, query.after
        found = self.store.versions(
            resource_type,
            resource_id,
            limit=count + 1,
            offset=query.page.offset if after is None else 0,
            since=query.since,
            before=None if after is None else HistoryPosition(after.last_updated, after.id, after.version_id),
        )
        if not found and resource_id is not None and not self.store.versions(resource_type, resource_id, limit=1):
            raise NotFound(detail=f"{resource_type}/{resource_id}")
        shown = found[:count]
        goes_on = len(found) > count
        return HistoryPage(
            shown, Place(shown[-1].last_updated, shown[-1].version_id, shown[-1].id) if goes_on else None
        )

    def search(self, resource_type: str, search: RegistrySearch) -> list[StoredResource]:
        """Return every current resource that matches, in the order of the search."""
        if search.ids is None:
            return search.matching(self.store.current(resource_type))
        named = (self.store.get(resource_type, resource_id) for resource_id in sorted(search.ids))
        return search.matching(stored for stored in named if stored is not None)
