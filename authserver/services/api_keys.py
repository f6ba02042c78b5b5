"""Make, list, rotate and revoke API keys (row X31). A key is shown once; what is stored of it is a hash."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authserver.errors import BadRequest, InvalidResource, Issue, NotFound
from authserver.protocol import api_key
from authserver.protocol.client import Client
from authserver.protocol.instants import instant
from authserver.services.audit_trail import AuditTrail
from authserver.services.key_uses import KeyUses
from authserver.services.ports import API_KEY, AuditLog, ResourceStore, StoredResource
from authserver.services.registration_audit import change_record
from authserver.services.registry import Registrations, policy_link

DAY = 86_400
_MICROSECONDS = 1_000_000


def _random_text(length: int) -> str:
    return "".join(secrets.choice(api_key.ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key at the one moment at which it is known: `text` is the key itself."""

    stored: StoredResource
    text: str


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The use cases. `actor` is the id of the client that makes the change, for the record; `now` in microseconds."""

    store: ResourceStore
    registry: Registrations
    uses: KeyUses
    audit_log: AuditLog
    audit: AuditTrail
    max_days: int
    wildcard_types: frozenset[str] | None = None
    random_text: Callable[[int], str] = _random_text

    def create(self, body: Mapping[str, Any], *, actor: str, now: int) -> MadeKey:
        """Make a key for a registered client; raises InvalidResource with every finding."""
        asked = api_key.parse_request(body, max_days=self.max_days)
        client = self.registry.client(asked.client_id)
        if client is None:
            raise InvalidResource((Issue("ApiKey.client", "no such Client", "not-found"),))
        described: dict[str, Any] = {
            "client": client.id,
            "clientGeneration": client.generation,
            "environment": asked.environment,
            "scope": list(api_key.check_scope(asked.scope, client, wildcard_types=self.wildcard_types)),
            "days": asked.days or self.max_days,
            "createdBy": actor,
        }
        if asked.name is not None:
            described["name"] = asked.name
        # 71 random bits: an id comes twice in no lifetime of a registry, so nobody's key is overwritten.
        return self._store_new(self.random_text(api_key.ID_LENGTH), described, client, actor=actor, now=now)

    def rotate(self, key_id: str, *, actor: str, now: int) -> MadeKey:
        """Give the key another secret and its whole time anew; the former secret is dead when this answers.

        Raises NotFound, BadRequest for a revoked key or one of a client that is gone, VersionConflict when it was
        changed meanwhile.
        """
        before = self.get(key_id)
        client = self.registry.client(before.body["client"])
        if "revoked" in before.body:
            raise BadRequest("This API key was revoked: create another one.", reason="api_key_revoked")
        if client is None or client.generation != before.body["clientGeneration"]:
            raise BadRequest("The client of this API key is gone.", reason="api_key_client")
        return self._store_new(key_id, before.body, client, actor=actor, now=now, if_match=before.version_id)

    def revoke(self, key_id: str, *, actor: str, now: int) -> StoredResource:
        """End the key for good and return it; once it is revoked it stays so. Raises NotFound, VersionConflict."""
        before = self.get(key_id)
        if "revoked" in before.body:
            return before
        body = {**before.body, "revoked": now // _MICROSECONDS}
        links = (self._link(before),)
        audit = change_record(self.audit, actor, now)
        stored = self.store.put(API_KEY, key_id, body, now=now, if_match=before.version_id, links=links, audit=audit)
        self._record("api_key_revoked", stored, actor)
        return stored

    def get(self, key_id: str) -> StoredResource:
        """Return the key, revoked ones too; raises NotFound."""
        stored = self.store.get(API_KEY, key_id)
        if stored is None:
            raise NotFound(detail=f"{API_KEY}/{key_id}")
        return stored

    def current(self, client_id: str | None = None) -> Sequence[StoredResource]:
        """Return every key ordered by id, revoked ones too; with a `client_id` those of its present registration."""
        if client_id is None:
            return self.store.current(API_KEY)
        client = self.registry.client(client_id)
        return [] if client is None else self.store.linked(API_KEY, (policy_link(client.id, client.generation),))

    def shown(self, found: Sequence[StoredResource], *, now: int) -> list[dict[str, Any]]:
        """Return the keys as they may be shown: never a secret, nor a hash; `now` in epoch seconds."""
        used = self.uses.last_used([stored.id for stored in found])
        return [_representation(stored, used.get(stored.id), now) for stored in found]

    def _store_new(
        self,
        key_id: str,
        described: Mapping[str, Any],
        client: Client,
        *,
        actor: str,
        now: int,
        if_match: int | None = None,
    ) -> MadeKey:
        issued = now // _MICROSECONDS
        days = min(described["days"], self.max_days)
        text = api_key.compose(described["environment"], key_id, self.random_text(api_key.SECRET_LENGTH))
        stored = self.store.put(
            API_KEY,
            key_id,
            {**described, "days": days, "issued": issued, "expires": issued + days * DAY},
            now=now,
            if_match=if_match,
            secret_hash=api_key.digest(text),
            links=(policy_link(client.id, client.generation),),
            audit=change_record(self.audit, actor, now, secret_changed=True),
        )
        self._record("api_key_created" if if_match is None else "api_key_rotated", stored, actor)
        return MadeKey(stored, text)

    def _link(self, stored: StoredResource) -> str:
        return policy_link(stored.body["client"], stored.body["clientGeneration"])

    def _record(self, event: str, stored: StoredResource, actor: str) -> None:
        self.audit_log.record(
            event, api_key=stored.id, client_id=stored.body["client"], version_id=stored.version_id, actor=actor
        )


def _representation(stored: StoredResource, last_used: int | None, now: int) -> dict[str, Any]:
    body = stored.body
    shown = {
        "resourceType": API_KEY,
        "id": stored.id,
        **{
            name: body[name] for name in ("client", "environment", "name", "scope", "days", "createdBy") if name in body
        },
        "status": "revoked" if "revoked" in body else "expired" if now >= body["expires"] else "active",
        "issued": instant(body["issued"] * _MICROSECONDS),
        "expires": instant(body["expires"] * _MICROSECONDS),
        "meta": {"versionId": str(stored.version_id), "lastUpdated": instant(stored.last_updated)},
    }
    moments = {"revoked": body.get("revoked"), "lastUsed": last_used}
    return shown | {name: instant(at * _MICROSECONDS) for name, at in moments.items() if at is not None}
