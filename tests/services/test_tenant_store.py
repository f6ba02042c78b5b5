"""A tenant's part of the registry, over the store of all. What HTTP cannot show: races, and what stays whole."""

from authserver.adapters.memory import MemoryResourceStore
from authserver.services.ports import StoredResource
from authserver.services.tenant_store import TenantStore


def test_pages_go_on_behind_many_versions_of_others() -> None:
    """X14: a page is full although more than one batch of others' versions lies between."""
    store = MemoryResourceStore()
    store.put("Client", "a", {"tenant": "a"}, now=1)
    for number in range(450):
        store.put("Client", "b", {"tenant": "b"}, now=2 + number)
    store.put("Client", "a", {"tenant": "a"}, now=1_000)

    found = TenantStore(store, "a").versions("Client", limit=10)

    assert [(version.id, version.version_id) for version in found] == [("a", 2), ("a", 1)]


def test_history_of_an_id_that_changed_hands_is_shown_by_version() -> None:
    """Row X50: each version to whom it belonged."""
    store = MemoryResourceStore()
    for number, tenant in enumerate("abba"):
        store.put("Client", "x", {"tenant": tenant}, now=number)
    store.delete("Client", "x", now=9)

    numbers = [[v.version_id for v in TenantStore(store, tenant).history("Client", "x")] for tenant in "abc"]

    assert numbers == [[5, 4, 1], [3, 2], []]


def test_what_may_be_done_is_seen_whole() -> None:
    """A policy for everybody allows a tenant's clients too, though it is not the tenant's."""
    store = MemoryResourceStore()
    store.put("AccessPolicy", "all", {"engine": "allow"}, now=1)

    assert [found.id for found in TenantStore(store, "a").linked("AccessPolicy", [""])] == ["all"]


class Moving(MemoryResourceStore):
    """A store in which the client goes to another tenant right after it was looked at."""

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return what is there, then move it."""
        found = super().get(resource_type, resource_id)
        super().put(resource_type, resource_id, {"tenant": "b"}, now=9)
        return found


def test_nothing_is_stored_over_what_became_anothers_meanwhile() -> None:
    """Judged and changed is the same version, also for an id that was free, and for a deletion."""
    refused = []
    for change in ("put", "put new", "delete"):
        store = Moving()
        if change != "put new":
            MemoryResourceStore.put(store, "Client", "x", {"tenant": "a"}, now=1)
        mine = TenantStore(store, "a")
        try:
            mine.delete("Client", "x", now=2) if change == "delete" else mine.put("Client", "x", {"tenant": "a"}, now=2)
        except Exception as error:  # noqa: BLE001 -- its type is what is asked for
            refused.append(type(error).__name__)

    assert refused == ["VersionConflict", "AlreadyExists", "VersionConflict"]
