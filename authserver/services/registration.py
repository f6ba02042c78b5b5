"""Register Clients and AccessPolicies: read, judge, store a version. What is not valid changes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from authserver.errors import AuthServerError, BadRequest, InvalidResource, Issue, NotFound, VersionConflict
from authserver.protocol import audit_diff
from authserver.protocol import client as client_protocol
from authserver.protocol import policy as policy_protocol
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.client import ClientRules
from authserver.protocol.render import instant
from authserver.services.audit_trail import AuditTrail
from authserver.services.ports import (
    ACCESS_POLICY,
    CLIENT,
    UNLINKED,
    AuditLog,
    ChangeRecord,
    ResourceStore,
    SecretHasher,
    StoredResource,
)
from authserver.services.registry import policy_link

ROOT = "root"
_NOT_STORED = ("id", "resourceType", "meta", "secret")


@dataclass(frozen=True, slots=True)
class _Reading:
    """What put() stores beside the body."""

    links: tuple[str, ...] = ()
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """The registry's use cases. `actor` is the id of the client that makes the change, for the record."""

    store: ResourceStore
    hasher: SecretHasher
    audit_log: AuditLog
    rules: ClientRules
    audit: AuditTrail

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
    ) -> StoredResource:
        """Store a new version of a valid resource and return it; `now` in microseconds.

        `revoke_tokens` ends every access token of the client with the same write, for a change of keys after a
        loss (threat C14). Raises InvalidResource with every finding, or VersionConflict.
        """
        with refused_to(actor):
            reading = self._client(resource_id, body) if resource_type == CLIENT else self._policy(resource_id, body)
            before = self.store.get(resource_type, resource_id)
            stored = self.store.put(
                resource_type,
                resource_id,
                {name: value for name, value in body.items() if name not in _NOT_STORED},
                now=now,
                if_match=if_match,
                secret_hash=None if reading.secret is None else self.hasher.hash(reading.secret),
                links=reading.links,
                revoke_tokens=revoke_tokens,
                audit=self.change_record(actor, now, secret_changed=reading.secret is not None, revoked=revoke_tokens),
            )
        self._record("resource_put", stored, actor)
        if before is not None and before.generation == stored.generation and _keys(before) != _keys(stored):
            self.audit_log.record("client_keys_changed", client_id=stored.id, actor=actor, revoked=revoke_tokens)
        return stored

    def create(
        self, resource_type: str, resource_id: str, body: Mapping[str, Any], *, actor: str, now: int
    ) -> StoredResource:
        """Store the first version of a new resource; raises VersionConflict when the id is in use."""
        if self.store.get(resource_type, resource_id) is not None:
            raise VersionConflict(detail=f"{resource_type}/{resource_id} exists")
        return self.put(resource_type, resource_id, body, actor=actor, now=now)

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
        audit = self.change_record(actor, now)
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
            audit = self._deletion(actor, now)
            stored = self.store.delete(resource_type, resource_id, now=now, if_match=if_match, audit=audit)
        if stored is not None:
            self._record("resource_deleted", stored, actor)
        return stored

    def change_record(
        self, actor: str, now: int, *, secret_changed: bool = False, revoked: bool = False
    ) -> ChangeRecord | None:
        """Return what makes the audit record of a new version: what it changed, without any secret."""
        if not self.audit.is_on:
            return None

        def made(before: StoredResource | None, after: StoredResource) -> AuditRecord:
            old = {} if before is None else before.body
            facts: dict[str, object] = {
                "version_id": after.version_id,
                "changes": audit_diff.changes(old, after.body, secret_changed=secret_changed),
            }
            if revoked:
                facts["tokens_revoked"] = True
            event = "resource_created" if before is None else "resource_updated"
            return self.audit.of_this_request(_changed(event, actor, after, now=now, facts=facts))

        return made

    def _deletion(self, actor: str, now: int) -> ChangeRecord | None:
        """Return what makes the audit record of a deletion."""
        if not self.audit.is_on:
            return None

        def made(_before: StoredResource | None, last: StoredResource) -> AuditRecord:
            facts = {"version_id": last.version_id, "changes": audit_diff.changes(last.body, {})}
            return self.audit.of_this_request(_changed("resource_deleted", actor, last, now=now, facts=facts))

        return made

    def _client(self, client_id: str, body: Mapping[str, Any]) -> _Reading:
        client_protocol.from_resource(body, client_id=client_id, rules=self.rules)
        return _Reading(secret=body.get("secret"))

    def _policy(self, policy_id: str, body: Mapping[str, Any]) -> _Reading:
        read = policy_protocol.from_resource(body, policy_id=policy_id)
        registered = {client_id: self.store.get(CLIENT, client_id) for client_id in sorted(read.clients)}
        unknown = [client_id for client_id, stored in registered.items() if stored is None]
        if unknown:
            names = ", ".join(unknown)
            raise InvalidResource((Issue("AccessPolicy.link", f"no such Client: {names}", "not-found"),))
        links = tuple(policy_link(s.id, s.generation) for s in registered.values() if s is not None)
        return _Reading(links=links or (UNLINKED,))

    def _record(self, event: str, stored: StoredResource, actor: str) -> None:
        self.audit_log.record(
            event, resource=f"{stored.resource_type}/{stored.id}", version_id=stored.version_id, actor=actor
        )


def _changed(event: str, actor: str, stored: StoredResource, *, now: int, facts: Mapping[str, object]) -> AuditRecord:
    entity, tenant = f"{stored.resource_type}/{stored.id}", stored.body.get("tenant")
    own = tenant if stored.resource_type == CLIENT else None
    return AuditRecord(event, now, agent=actor, entity=entity, tenant=own, facts=facts)


@contextmanager
def refused_to(actor: str) -> Iterator[None]:
    """Let a refusal say whom it was told: this proven client."""
    try:
        yield
    except AuthServerError as error:
        error.client_id = actor
        raise


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
        audit = registration.change_record("first-start", now, secret_changed=True)
        root = store.put(CLIENT, ROOT, body, now=now, secret_hash=hasher.hash(secret), links=(), audit=audit)
        registration.audit_log.record("root_secret_set", version_id=root.version_id)
    # A root that was deleted is registered anew as another client, to which its former policy does not apply.
    candidates = store.linked(ACCESS_POLICY, (UNLINKED, policy_link(ROOT, root.generation)))
    if all(policy.id != ROOT for policy in candidates):
        allow = {"engine": "allow", "link": [{"id": ROOT, "resourceType": CLIENT}]}
        registration.put(ACCESS_POLICY, ROOT, allow, actor="first-start", now=now)
