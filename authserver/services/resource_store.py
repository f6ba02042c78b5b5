"""The port of the registry's resources, Clients and AccessPolicies, with all their versions; part of services.ports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from authserver.errors import ResourceError
from authserver.protocol.audit_record import AuditRecord

CLIENT, ACCESS_POLICY, API_KEY = "Client", "AccessPolicy", "ApiKey"
UNLINKED = ""


class AlreadyExists(ResourceError):
    """A resource with this id is there; creating one never replaces it."""

    status, issue_code, default_reason = 409, "duplicate", "already_exists"
    default_public = "There is a resource with this id already."


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One version of a registered resource.

    `body` is the resource as the owner wrote it, without `meta` and without any secret. `version_id` grows
    by one with every change of the resource, a deletion included, and never starts again; `generation` is
    the life of the id it belongs to: deleting and registering anew starts the next one (row X50).
    `created_at` (of this generation) and `last_updated` are microseconds since the epoch, UTC.
    `secret_hash` is set on what get() returns, for a resource that was given one; never in the history.
    `token_generation` is the count that a client's access tokens carry (row X46): it belongs to the id, not to the
    version, and grows with each generation and each revocation of all tokens; 0 in the history.
    """

    resource_type: str
    id: str
    version_id: int
    generation: int
    body: Mapping[str, Any]
    created_at: int
    last_updated: int
    deleted: bool = False
    secret_hash: str | None = field(default=None, repr=False)
    token_generation: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class HistoryPosition:
    """A version's place in the history of a type: by moment (microseconds since the epoch), then id, then version."""

    last_updated: int
    id: str
    version_id: int


ChangeRecord = Callable[[StoredResource | None, StoredResource], AuditRecord]
"""Makes the record of a change from the versions before and after it (the last one twice, for a deletion)."""


class ResourceStore(Protocol):
    """Versioned resources (Client, AccessPolicy, ApiKey). Every change is one transaction, durable before it returns.

    What an `audit` argument makes is written in that transaction: neither is there without the other.
    """

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return the current version, or None when there is none or it is deleted."""

    def current(self, resource_type: str) -> Sequence[StoredResource]:
        """Return the current version of every resource of the type that is not deleted, ordered by id."""

    def linked(self, resource_type: str, links: Sequence[str]) -> Sequence[StoredResource]:
        """Return, ordered by id, the current resources of the type that put() filed under any of these links."""

    def history(self, resource_type: str, resource_id: str) -> Sequence[StoredResource]:
        """Return every version, newest first, deletions included (`deleted=True`, empty body)."""

    def version(self, resource_type: str, resource_id: str, version_id: int) -> StoredResource | None:
        """Return this version, a deletion too; None when there never was one."""

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
        """Return a page of history: of one resource, newest version first, or of the type, newest moment first.

        Deletions are there (`deleted=True`, empty body). `since` keeps what was changed at that moment (microseconds)
        or later; `before` begins after that place, of which one resource's history looks at the version alone.
        """

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
        """Store a new version and return it.

        `now` is in microseconds. `links` (for example `("Client/x",)`) replaces what linked() finds it by.
        `if_match` names the version that must be current (VersionConflict otherwise, also when there is
        none). `secret_hash` replaces the stored one; None keeps what is there, but a new
        generation never inherits the hash of a former one. `revoke_tokens` starts a new token generation in
        the same transaction. `only_new` raises AlreadyExists when there is a current version.
        """

    def revoke_tokens(self, resource_type: str, resource_id: str, *, audit: AuditRecord | None = None) -> int | None:
        """Start a new token generation by one write and return it; None when there is no such resource.

        The resource, its version and what is linked to it stay as they are.
        """

    def delete(
        self,
        resource_type: str,
        resource_id: str,
        *,
        now: int,
        if_match: int | None = None,
        audit: ChangeRecord | None = None,
    ) -> StoredResource | None:
        """Delete and return the last version before it; None when there was none. `if_match` as in put()."""
