"""What one process works with: the adapters, and the use cases that are wired over them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from authserver.adapters.audit_log import carried_request_id
from authserver.protocol import jose
from authserver.protocol.jose import SignatureCheck
from authserver.services.access_evaluation import AccessEvaluation
from authserver.services.api_keys import ApiKeys
from authserver.services.at_hand import (
    Nearby,
    Present,
)
from authserver.services.audit_reading import AuditReading
from authserver.services.audit_trail import AuditStore, AuditTrail, AuditUpkeep
from authserver.services.authorization import Authorization
from authserver.services.claim_queue import ClaimQueue
from authserver.services.client_key_uses import ClientKeyUses
from authserver.services.diagnosis import Diagnosis
from authserver.services.dynamic_registration import DynamicRegistration
from authserver.services.forward_auth import ForwardAuth
from authserver.services.key_health import KeyHealth, Unwatched
from authserver.services.limits import Limits
from authserver.services.live_tokens import LiveTokens
from authserver.services.notes import KeyUseStore, SpendingBoard
from authserver.services.policy_decisions import DecisionLog, Decisions, DecisionStore
from authserver.services.policy_trial import PolicyTrial
from authserver.services.ports import (
    AuditLog,
    Changes,
    JwksSource,
    JwksWatch,
    ReceiptLog,
    ReceiptStore,
    ReplayGuard,
    ResourceStore,
    RevocationList,
    SecretHasher,
    Signer,
)
from authserver.services.readiness import Readiness
from authserver.services.receipts import Receipts
from authserver.services.registration import Registration
from authserver.services.token_introspection import TokenIntrospection
from authserver.services.token_issuance import TokenIssuance
from authserver.services.validation import Validation


class Stores(Protocol):
    """One database's stores, however they are kept."""

    @property
    def resources(self) -> ResourceStore:
        """Clients and policies."""

    @property
    def nearby(self) -> Nearby:
        """Clients and policies, as far as reading them takes no waiting."""

    @property
    def replay_guard(self) -> ReplayGuard:
        """Used assertions."""

    @property
    def revocations(self) -> RevocationList:
        """Revoked access tokens."""

    @property
    def receipts(self) -> ReceiptStore:
        """Why requests were refused."""

    @property
    def key_uses(self) -> KeyUseStore:
        """When API keys were last used."""

    @property
    def client_key_uses(self) -> KeyUseStore:
        """When the keys of clients were last used."""

    @property
    def spendings(self) -> SpendingBoard:
        """What the processes let callers spend."""

    @property
    def decisions(self) -> DecisionStore:
        """What the policies decided."""

    @property
    def audit(self) -> AuditStore:
        """What was decided, as a chain of records."""

    @property
    def changes(self) -> Changes:
        """In which state the registry is."""

    @property
    def claims(self) -> ClaimQueue:
        """The jtis that are claimed together."""

    def ping(self) -> None:
        """Raise StorageUnavailable when the database does not answer."""

    def close(self) -> None:
        """Let go of the database."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters that one process works with."""

    stores: Stores
    signer: Signer
    jwks_source: JwksSource
    hasher: SecretHasher
    audit_log: AuditLog
    receipt_log: ReceiptLog
    decision_log: DecisionLog
    check_signature: SignatureCheck = jose.check_signature
    jwks_watch: JwksWatch = field(default_factory=Unwatched)
    request_id: Callable[[], str | None] = carried_request_id


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, wired."""

    registration: Registration
    issuance: TokenIssuance
    introspection: TokenIntrospection
    authorization: Authorization
    diagnosis: Diagnosis
    receipts: Receipts
    forward_auth: ForwardAuth
    dynamic_registration: DynamicRegistration
    readiness: Readiness
    api_keys: ApiKeys
    limits: Limits
    validation: Validation
    key_health: KeyHealth
    client_key_uses: ClientKeyUses
    live_tokens: LiveTokens
    policy_trial: PolicyTrial
    decisions: Decisions
    access_evaluation: AccessEvaluation
    audit: "Audit"
    at_hand: "AtHand"


@dataclass(frozen=True, slots=True)
class Audit:
    """What records, what is done beside it, and what reads."""

    trail: AuditTrail
    upkeep: AuditUpkeep
    reading: AuditReading


@dataclass(frozen=True, slots=True)
class AtHand:
    """The use cases of the fast paths once more, over what this process knows without waiting; for one thread."""

    present: Present
    issuance: TokenIssuance
    introspection: TokenIntrospection
    authorization: Authorization
