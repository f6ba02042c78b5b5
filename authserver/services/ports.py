"""What the use cases need from the outside world, as narrow Protocols. Adapters implement them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from authserver.protocol.audit_record import AuditChoice, AuditRecord
from authserver.protocol.jwks import JwkSet
from authserver.services.resource_store import ACCESS_POLICY as ACCESS_POLICY
from authserver.services.resource_store import API_KEY as API_KEY
from authserver.services.resource_store import CLIENT as CLIENT
from authserver.services.resource_store import UNLINKED as UNLINKED
from authserver.services.resource_store import AlreadyExists as AlreadyExists
from authserver.services.resource_store import ChangeRecord as ChangeRecord
from authserver.services.resource_store import HistoryPosition as HistoryPosition
from authserver.services.resource_store import ResourceStore as ResourceStore
from authserver.services.resource_store import StoredResource as StoredResource

MAX_RECEIPTS = 100_000
MAX_DECISIONS = 20_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """Why a request was refused. `id` is the X-Request-Id of the answer; `at` and `until` are epoch seconds.

    `client_id` is whom the request was about, proven or only claimed. Holds no assertion, no token and no secret.
    """

    id: str
    at: int
    until: int
    path: str
    status: int
    error: str
    reason: str
    detail: str
    client_id: str | None = None


class ReplayGuard(Protocol):
    """Remembers which assertions were used (RFC 7523 section 3, jti)."""

    def claim(self, client_id: str, jti: str, *, until: int, audit: AuditChoice | None = None) -> bool:
        """Claim the jti for this client by one atomic insert; False when it was claimed before.

        What `audit` makes of the outcome is recorded in the same transaction.

        `until` (epoch seconds) is the last moment at which an assertion with this jti could be accepted; the claim
        outlives it. Raises StorageUnavailable when it cannot be said for sure: also (`clock_set_back`) when a purge
        has forgotten claims up to a later moment, which only a clock set back can bring about (threat B14).
        """

    def was_claimed(self, client_id: str, jti: str) -> bool:
        """Say whether the jti was claimed, claiming nothing; for an explanation, never for a decision."""

    def purge(self, *, before: int) -> int:
        """Forget claims whose `until` is before the given second, in small batches; return how many."""


@dataclass(frozen=True, slots=True)
class Revocations:
    """A piece of the list of revocations: the jtis revoked after some state of the registry, each with its `until`.

    It is complete up to the state `number`. Revocations with an `until` before `forgotten` may have been purged, so a
    token that expires before that second is to be taken for revoked.
    """

    revoked: Mapping[str, int]
    number: int
    forgotten: int


class RevocationList(Protocol):
    """Revoked access tokens by jti; rows live no longer than the token would have."""

    def revoke(self, jti: str, *, until: int, audit: AuditRecord | None = None) -> None:
        """Revoke the token with this jti; `until` is its exp (epoch seconds). Twice is as once, but for the record."""

    def is_revoked(self, jti: str, *, expires_at: int) -> bool:
        """Say whether the token with this jti and exp was revoked; one whose revocation may be forgotten was."""

    def purge(self, *, before: int) -> int:
        """Forget revocations of tokens that expired before the given second; return how many."""

    def since(self, number: int) -> Revocations:
        """Return what was revoked after this state of the registry (see Changes)."""


class Changes(Protocol):
    """In which state the registry and the revocations are: a number that grows with every change of either.

    Who reads the number N finds in the database every change up to N.
    """

    def number(self) -> int:
        """Ask the database for the present number; raises StorageUnavailable."""

    def at_hand(self) -> int | None:
        """Return a number that was the present one at most half a second ago, waiting for nothing; None without one.

        A change that this process made is in it at once.
        """


class ReceiptStore(Protocol):
    """Receipts of refusals, by request id; a bounded number, each until its `until`."""

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Keep these receipts, durable before it returns; one with an id that is there already changes nothing.

        Above the store's limit the oldest are forgotten. Raises StorageUnavailable.
        """

    def get(self, receipt_id: str) -> Receipt | None:
        """Return the receipt; None when there is none, or none any more."""

    def purge(self, *, before: int) -> int:
        """Forget receipts whose `until` is before the given second; return how many."""


class ReceiptLog(Protocol):
    """Where refusals are noted beside the requests: it returns at once and may drop what comes too fast."""

    def note(self, receipt: Receipt) -> None:
        """Note the receipt, to be kept shortly; never fails and never waits for the database."""

    def find(self, receipt_id: str) -> Receipt | None:
        """Return the receipt, kept already or only noted; None when there is none."""


class JwksSource(Protocol):
    """Where a client's public keys come from when it registered a `jwks_uri`."""

    def keys(self, jwks_uri: str, *, kid: str, now: int, since: int = 0, source: str | None = None) -> JwkSet:
        """Return the key set, fresh by the owner's Cache-Control.

        When the fresh set lacks `kid`, one refetch is made unless the address is cooling down. `since` grows
        with each change of the client (Client.changed_at): what was fetched for a smaller one is not used. `source`
        (see protocol.source_address) is who pays for a fetch until proven() is called; None pays nothing. Raises
        JwksUnavailable, and nothing else, when no fresh set can be had.
        """

    def held(self, jwks_uri: str, *, kid: str, since: int = 0) -> JwkSet | None:
        """Return the fresh set when it is there and has the kid, asking nobody and waiting for nothing; else None."""

    def proven(self, jwks_uri: str, *, source: str | None) -> None:
        """Tell that an assertion from this source was verified by a key of the address, so the fetch was right."""


@dataclass(frozen=True, slots=True)
class JwksSnapshot:
    """What is known of one address, for the operator. Times are epoch seconds, None when it never happened.

    `fetches` counts requests sent or refused by this server's own limits; `failures` those in a row.
    `fresh_seconds` is how long the held set, `keys`, may still be used, 0 and None when there is none.
    """

    last_fetch: int | None = None
    last_success: int | None = None
    failing_since: int | None = None
    last_reason: str | None = None
    fetches: int = 0
    failures: int = 0
    fresh_seconds: float = 0.0
    keys: JwkSet | None = field(default=None, repr=False, compare=False)


class JwksWatch(Protocol):
    """What a process knows of the addresses of keys, without asking anybody."""

    def snapshot(self, jwks_uri: str) -> JwksSnapshot | None:
        """Return what is known of the address, None when nothing is."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What an operator may see of a published key; `created_at`, when it was announced, in epoch seconds."""

    kid: str
    algorithm: str
    created_at: int
    active: bool


class Signer(Protocol):
    """The server's own keys."""

    def list_keys(self) -> Sequence[KeyInfo]:
        """Return what may be shown of every published key, in the order in which they sign."""

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Return a compact JWS with `alg`, `kid` and `typ` in its header."""

    def verify(self, token: str, *, typ: str) -> Mapping[str, Any] | None:
        """Return the claims if one of our published keys signed the token with this `typ`, else None.

        Knows signatures only; time, issuer and audience are the caller's to check.
        """

    def key_set(self) -> object:
        """Return an object that is the same one as long as the published keys are the same."""

    def public_jwks(self) -> Mapping[str, Any]:
        """Return `{"keys": [...]}` with every published public key: kty, kid, use, alg."""


class SecretHasher(Protocol):
    """Hashes client secrets and checks them."""

    def hash(self, secret: str) -> str:
        """Return a salted hash of the secret, for storage."""

    def verify(self, secret: str, secret_hash: str | None) -> bool:
        """Say whether the secret fits the hash; None costs the same time and is False."""

    def remembers(self, secret: str, secret_hash: str | None) -> bool:
        """Say whether this process knows already that the secret fits; takes no time, and False means nothing."""


class AuditLog(Protocol):
    """Where decisions are recorded for the operator. Never gets a secret, an assertion or a token."""

    def record(self, event: str, **facts: object) -> None:
        """Record one event with its facts; the adapter adds time and request id."""
