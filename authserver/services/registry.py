"""The registered clients and policies as compiled values. A version never changes, so its compiled value is kept."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

from authserver.errors import InvalidResource
from authserver.protocol import api_key as api_key_protocol
from authserver.protocol import client as client_protocol
from authserver.protocol import policy as policy_protocol
from authserver.protocol import strict_json
from authserver.protocol.api_key import ApiKey
from authserver.protocol.client import RESOURCE_ID, Client, ClientRules
from authserver.protocol.policy import AccessPolicy
from authserver.protocol.render import encode
from authserver.services.at_hand import Kept, Nearby, NotAtHand, Present
from authserver.services.ports import (
    ACCESS_POLICY,
    API_KEY,
    CLIENT,
    UNLINKED,
    AuditLog,
    Changes,
    ResourceStore,
    StoredResource,
)

MAX_KEPT = 10_000
_NOTHING = encode(
    {
        "type": "bulk-api-client",
        "active": True,
        "grant_types": ["client_credentials"],
        "scope": [f"system/{name}.rs" for name in ("Patient", "Observation", "Encounter", "Condition", "Device")],
        "auth": {"client_credentials": {"access_token_expiration": 300, "token_format": "jwt"}},
        "jwks": {"keys": [{"kty": "RSA", "n": "-" * 342, "e": "AQAB", "kid": "-" * 43, "use": "sig", "alg": "RS384"}]},
    }
)
"""The body of a client as they usually are."""


class Registrations(Protocol):
    """The registered clients and policies, compiled."""

    def client(self, client_id: str) -> Client | None:
        """Return the registered client, active or not; None when there is none that this server can work with."""

    def policies_for(self, client: Client) -> Sequence[AccessPolicy]:
        """Return the candidates for this client, ordered by id: the unlinked policies and those linked to it."""

    def api_key(self, key_id: str) -> ApiKey | None:
        """Return the API key with this id, good for something or not; None when there is none."""


class Registry:
    """Registrations that asks the store for the current version first, each time."""

    def __init__(
        self,
        store: ResourceStore,
        changes: Changes,
        *,
        nearby: Nearby,
        rules: ClientRules,
        audit_log: AuditLog,
        max_kept: int = MAX_KEPT,
    ) -> None:
        self._store, self._nearby = store, nearby
        self._rules, self._audit_log, self._max_kept = rules, audit_log, max_kept
        self._clients: OrderedDict[object, Client | None] = OrderedDict()
        self._lock = Lock()
        self.kept_clients: Kept[str, Client | None] = Kept(changes, size=max_kept)
        self.kept_policies: Kept[str, Sequence[AccessPolicy]] = Kept(changes, size=max_kept)
        self.kept_keys: Kept[str, ApiKey | None] = Kept(changes, size=max_kept)

    def client(self, client_id: str) -> Client | None:
        """Return the registered client; see Registrations."""
        return self.kept_clients.read(client_id, lambda: self._client(client_id))

    def keep_nearby(self, client_id: str) -> None:
        """Keep the registered client if it can be read without waiting; see Nearby."""
        self.kept_clients.read(client_id, lambda: self._nearby_client(client_id))

    def policies_for(self, client: Client) -> Sequence[AccessPolicy]:
        """Return the candidates for this client; see Registrations."""
        link = policy_link(client.id, client.generation)
        return self.kept_policies.read(link, lambda: self._policies(link))

    def api_key(self, key_id: str) -> ApiKey | None:
        """Return the API key; see Registrations."""
        return self.kept_keys.read(key_id, lambda: self._api_key(key_id))

    def _api_key(self, key_id: str) -> ApiKey | None:
        stored = self._store.get(API_KEY, key_id)
        if stored is None or stored.secret_hash is None:
            return None
        return api_key_protocol.from_stored(
            stored.body, key_id=stored.id, version=stored.version_id, digest=stored.secret_hash
        )

    def _client(self, client_id: str) -> Client | None:
        # What is no id is in no store; it may hold characters that a database refuses with an error.
        stored = self._store.get(CLIENT, client_id) if RESOURCE_ID.fullmatch(client_id) else None
        if stored is None:
            self._open_nothing(client_id)
            return None
        return self._compiled(stored)

    def _nearby_client(self, client_id: str) -> Client | None:
        stored = self._nearby.get(CLIENT, client_id) if RESOURCE_ID.fullmatch(client_id) else None
        return None if stored is None else self._compiled(stored)

    def _compiled(self, stored: StoredResource) -> Client | None:
        version = (stored.id, stored.generation, stored.version_id, stored.secret_hash, stored.token_generation)
        with self._lock:
            if version in self._clients:
                return self._clients[version]
        compiled = self._compile(stored)
        with self._lock:
            self._clients[version] = compiled
            if len(self._clients) > self._max_kept:
                self._clients.popitem(last=False)
        return compiled

    def _open_nothing(self, client_id: str) -> None:
        """Do what opening a found resource costs: parse a body, make the value, look it up (threat E07)."""
        body = strict_json.loads(_NOTHING, max_depth=8)
        stored = StoredResource(CLIENT, client_id, 0, 0, {"body": body}, 0, 0)
        with self._lock:
            self._clients.get((stored.id, stored.generation, stored.version_id, None, stored.token_generation))

    def _policies(self, link: str) -> Sequence[AccessPolicy]:
        found = (self._policy(stored) for stored in self._store.linked(ACCESS_POLICY, (UNLINKED, link)))
        compiled = [policy for policy in found if policy is not None]
        if not any(policy.clients and policy.operations for policy in compiled):
            return compiled
        # Found for its operations, a policy may name a former life of this client's id: that link holds no more (G10).
        linked = {stored.id for stored in self._store.linked(ACCESS_POLICY, (link,))}
        return [policy if policy.id in linked else replace(policy, clients=frozenset()) for policy in compiled]

    def _policy(self, stored: StoredResource) -> AccessPolicy | None:
        try:
            return policy_protocol.from_resource(stored.body, policy_id=stored.id, version=stored.version_id)
        except InvalidResource as error:
            # Policies only ever allow, so one that this version cannot read is left out (threat G07: deny and alarm).
            self._audit_log.record("policy_unusable", policy=stored.id, detail=error.detail)
            return None

    def _compile(self, stored: StoredResource) -> Client | None:
        try:
            return client_protocol.from_resource(
                stored.body,
                client_id=stored.id,
                rules=self._rules,
                generation=stored.generation,
                token_generation=stored.token_generation,
                secret_hash=stored.secret_hash,
                changed_at=stored.last_updated,
                stored=True,
            )
        except InvalidResource as error:
            # Registered under other settings (development mode, a longer lifetime): refused until it is corrected.
            self._audit_log.record("client_unusable", client_id=stored.id, detail=error.detail)
            return None


@dataclass(frozen=True, slots=True)
class RegistrationsAtHand:
    """Registrations for a caller who must not wait; raises NotAtHand for what is neither kept nor near."""

    registry: Registry
    present: Present

    def client(self, client_id: str) -> Client | None:
        """Return the registered client; one that is not registered is never at hand."""
        kept = self.registry.kept_clients
        try:
            return kept.get(client_id, self.present)
        except NotAtHand:
            self.registry.keep_nearby(client_id)
        return kept.get(client_id, self.present)

    def policies_for(self, client: Client) -> Sequence[AccessPolicy]:
        """Return the candidates for this client."""
        link = policy_link(client.id, client.generation)
        return self.registry.kept_policies.get(link, self.present)

    def api_key(self, key_id: str) -> ApiKey | None:
        """Return the API key; one that does not exist is never at hand."""
        return self.registry.kept_keys.get(key_id, self.present)


def policy_link(client_id: str, generation: int) -> str:
    """Return the key that a policy linked to this life of a client is filed under: a new life inherits none."""
    return f"Client/{client_id}/{generation}"
