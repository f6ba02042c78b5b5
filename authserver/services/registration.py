"""Register Clients and AccessPolicies: read, judge, store a version. What is not valid changes nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from authserver.errors import BadRequest, InvalidResource, Issue, NotFound
from authserver.protocol import client as client_protocol
from authserver.protocol import policy as policy_protocol
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.client import Client, ClientRules
from authserver.protocol.instants import instant
from authserver.services.audit_trail import AuditTrail
from authserver.services.ports import (
    ACCESS_POLICY,
    CLIENT,
    UNLINKED,
    AuditLog,
    ResourceStore,
    SecretHasher,
    StoredResource,
)
from authserver.services.registration_audit import change_record, deletion_record, refused_to
from authserver.services.registry import policy_link
from authserver.services.tenant_store import TenantStore

ROOT = "root"
_NOT_STORED = ("id", "resourceType", "meta", "secret")


@dataclass(frozen=True, slots=True)
class _Reading:
    """What put() stores beside the body."""

    links: tuple[str, ...] = ()
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """The registry's use cases. `actor` is the id of the client that makes the change, for the record.

    With a `tenant` everything is about that tenant's resources alone; what belongs to others is not there.
    """

    store: ResourceStore
    hasher: SecretHasher
    audit_log: AuditLog
    rules: ClientRules
    audit: AuditTrail
    tenant: str | None = None

    def seen_by(self, caller: Client) -> Self:
        """Return the registry as this caller may see and change it: all of it, or its own tenant's part."""
        if caller.tenant is None:
            return self
        return replace(self, store=TenantStore(self.store, caller.tenant), tenant=caller.tenant)

    def get(self, resource_type: str, resource_id: str) -> StoredResource:
        """Return the current version; raises NotFound."""
        stored = self.store.get(resource_type, resource_id)
        if stored is None:
            raise NotFound(detail=f"{resource_type}/{resource_id}")
        return stored

    def current(self, resource_type: str) -> Sequence[StoredResource]:
        """Return every resource of the type, ordered by id."""
        return self.store.current(resource_type)

    def put(
        self,
        resource_type: str,
        resource_id: str,
        body: Mapping[str, Any],
        *,
        actor: str,
        now: int,
        if_match: int | None = None,
        revoke_tokens: bool = False,
        only_new: bool = False,
    ) -> StoredResource:
        """Store a new version of a valid resource and return it; `now` in microseconds.

        `revoke_tokens` ends every access token of the client with the same write, for a change of keys after a
        loss (threat C14). Raises InvalidResource with every finding, VersionConflict, or AlreadyExists if `only_new`.
        """
        with refused_to(actor):
            reading = self._read(resource_type, resource_id, body)
            before = self.store.get(resource_type, resource_id)
            secret_changed = reading.secret is not None
            stored = self.store.put(
                resource_type,
                resource_id,
                _kept(body),
                now=now,
                if_match=if_match,
                secret_hash=None if reading.secret is None else self.hasher.hash(reading.secret),
                links=reading.links,
                revoke_tokens=revoke_tokens,
                only_new=only_new,
                audit=change_record(self.audit, actor, now, secret_changed=secret_changed, revoked=revoke_tokens),
            )
        self._record("resource_put", stored, actor)
        if before is not None and before.generation == stored.generation and _keys(before) != _keys(stored):
            self.audit_log.record("client_keys_changed", client_id=stored.id, actor=actor, revoked=revoke_tokens)
        return stored

    def create(
        self, resource_type: str, resource_id: str, body: Mapping[str, Any], *, actor: str, now: int
    ) -> StoredResource:
        """Store the first version of a new resource; raises AlreadyExists when the id is in use, InvalidResource."""
        if client_protocol.RESOURCE_ID.fullmatch(resource_id) is None:
            raise InvalidResource((Issue(f"{resource_type}.id", "an id is 1 to 64 of A-Z a-z 0-9 - .", "value"),))
        return self.put(resource_type, resource_id, body, actor=actor, now=now, only_new=True)

    def revoke_tokens(self, client_id: str, *, actor: str, now: int) -> None:
        """End every access token of the client at once, by one write (row X46). Raises NotFound.

        `now` in microseconds.
        """
        stored = self.store.get(CLIENT, client_id)
        tenant = None if stored is None else stored.body.get("tenant")
        made = AuditRecord("client_tokens_revoked", now, agent=actor, entity=f"{CLIENT}/{client_id}", tenant=tenant)
        generation = self.store.revoke_tokens(CLIENT, client_id, audit=self.audit.optional(made))
        if generation is None:
            raise NotFound(detail=f"{CLIENT}/{client_id}")
        self.audit_log.record("client_tokens_revoked", client_id=client_id, generation=generation, actor=actor)

    def flush_keys(self, client_id: str, *, actor: str, now: int) -> StoredResource:
        """Forget, in every process, what was fetched of the client's keys (threat C11); `now` in microseconds.

        The client gets a new version, equal to the former, which every process sees at its next request. Raises
        NotFound, BadRequest for a client without a jwks_uri, VersionConflict when it was changed meanwhile.
        """
        before = self.get(CLIENT, client_id)
        if before.body.get("jwks_uri") is None:
            raise BadRequest(
                "This client registered no jwks_uri: PUT it with other keys instead.", reason="no_jwks_uri"
            )
        moment = max(now, before.last_updated + 1)
        audit = change_record(self.audit, actor, now)
        stored = self.store.put(
            CLIENT, client_id, before.body, now=moment, if_match=before.version_id, links=(), audit=audit
        )
        self.audit_log.record("client_keys_flushed", client_id=client_id, version_id=stored.version_id, actor=actor)
        return stored

    def delete(
        self, resource_type: str, resource_id: str, *, actor: str, now: int, if_match: int | None = None
    ) -> StoredResource | None:
        """Delete and return the last version; None when there was none. Raises VersionConflict."""
        with refused_to(actor):
            audit = deletion_record(self.audit, actor, now)
            stored = self.store.delete(resource_type, resource_id, now=now, if_match=if_match, audit=audit)
        if stored is not None:
            self._record("resource_deleted", stored, actor)
        return stored

    def check(
        self,
        resource_type: str,
        resource_id: str,
        body: Mapping[str, Any],
        *,
        pending: frozenset[str] = frozenset(),
    ) -> None:
        """Judge a resource as put() would, storing nothing; raises InvalidResource with every finding.

        `pending` are ids of clients that a policy may name although they are not registered yet.
        """
        self._read(resource_type, resource_id, body, pending)

    def is_current(self, resource_type: str, resource_id: str, body: Mapping[str, Any]) -> bool:
        """Say whether put() would store what is stored: the same body and secret, and links to clients as they live.

        Raises InvalidResource.
        """
        reading, stored = self._read(resource_type, resource_id, body), self.store.get(resource_type, resource_id)
        if stored is None or _canonical(stored.body) != _canonical(_kept(body)):
            return False
        if reading.secret is not None and not self.hasher.verify(reading.secret, stored.secret_hash):
            return False
        found = (self.store.linked(resource_type, (link,)) for link in reading.links)
        return all(any(one.id == resource_id for one in filed) for filed in found)

    def _read(
        self, resource_type: str, resource_id: str, body: Mapping[str, Any], pending: frozenset[str] = frozenset()
    ) -> _Reading:
        if resource_type == CLIENT:
            return self._client(resource_id, body)
        return self._policy(resource_id, body, pending)

    def _require_own(self, path: str, *, own: bool) -> None:
        """Keep a tenant's administrator to its tenant: neither for others nor for everybody."""
        if self.tenant is not None and not own:
            raise InvalidResource((Issue(path, f"must be of your own tenant, {self.tenant}", "business-rule"),))

    def _client(self, client_id: str, body: Mapping[str, Any]) -> _Reading:
        client_protocol.from_resource(body, client_id=client_id, rules=self.rules)
        self._require_own("Client.tenant", own=body.get("tenant") == self.tenant)
        return _Reading(secret=body.get("secret"))

    def _policy(self, policy_id: str, body: Mapping[str, Any], pending: frozenset[str]) -> _Reading:
        read = policy_protocol.from_resource(body, policy_id=policy_id)
        registered = {client_id: self.store.get(CLIENT, client_id) for client_id in sorted(read.clients)}
        unknown = [client_id for client_id, stored in registered.items() if stored is None and client_id not in pending]
        if unknown:
            names = ", ".join(unknown)
            raise InvalidResource((Issue("AccessPolicy.link", f"no such Client: {names}", "not-found"),))
        links = tuple(policy_link(s.id, s.generation) for s in registered.values() if s is not None)
        # A link to an operation makes the policy a candidate for every client.
        filed = (*links, UNLINKED) if read.operations or not links else links
        self._require_own("AccessPolicy.link", own=UNLINKED not in filed)
        return _Reading(links=filed)

    def _record(self, event: str, stored: StoredResource, actor: str) -> None:
        self.audit_log.record(
            event, resource=f"{stored.resource_type}/{stored.id}", version_id=stored.version_id, actor=actor
        )


def _kept(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a body is stored as its owner wrote it."""
    return {name: value for name, value in body.items() if name not in _NOT_STORED}


def _canonical(body: Mapping[str, Any]) -> str:
    """Return the same text for the same JSON, whatever the order of its members; true is not 1."""
    return json.dumps(body, sort_keys=True)


def _keys(stored: StoredResource) -> tuple[object, object]:
    """Return what says by which keys a client proves itself."""
    return stored.body.get("jwks_uri"), stored.body.get("jwks")


def representation(stored: StoredResource) -> dict[str, Any]:
    """Return the resource as it is shown: its owner's members, our identity and meta, never a secret."""
    return {
        "resourceType": stored.resource_type,
        "id": stored.id,
        **stored.body,
        "meta": {"versionId": str(stored.version_id), "lastUpdated": instant(stored.last_updated)},
    }


def ensure_root(registration: Registration, *, secret: str, now: int) -> None:
    """Make sure that the client `root` proves itself by this secret, and that a policy allows it everything.

    What is there stays as it is, but for the secret, which the operator's environment decides. `now` in microseconds.
    """
    store, hasher = registration.store, registration.hasher
    root = store.get(CLIENT, ROOT)
    if root is None or not hasher.verify(secret, root.secret_hash):
        body = {"active": True, "name": "the operator", "grant_types": ["basic"]} if root is None else root.body
        audit = change_record(registration.audit, "first-start", now, secret_changed=True)
        root = store.put(CLIENT, ROOT, body, now=now, secret_hash=hasher.hash(secret), links=(), audit=audit)
        registration.audit_log.record("root_secret_set", version_id=root.version_id)
    # A root that was deleted is registered anew as another client, to which its former policy does not apply.
    candidates = store.linked(ACCESS_POLICY, (UNLINKED, policy_link(ROOT, root.generation)))
    if all(policy.id != ROOT for policy in candidates):
        allow = {"engine": "allow", "link": [{"id": ROOT, "resourceType": CLIENT}]}
        registration.put(ACCESS_POLICY, ROOT, allow, actor="first-start", now=now)
