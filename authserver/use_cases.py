"""The use cases, wired from settings and adapters: once over what asks, once over what is at hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from authserver import clock
from authserver.adapters.audit_log import carried_request_id
from authserver.protocol import jose
from authserver.protocol.assertion import Expected
from authserver.protocol.client import ClientRules
from authserver.protocol.jose import SignatureCheck
from authserver.protocol.jwks_url import JwksUrlRules
from authserver.protocol.key_policy import KeyRules
from authserver.services.at_hand import (
    HasherAtHand,
    JwksAtHand,
    KeptRevocations,
    Present,
    ReplayGuardAtHand,
    RevocationsAtHand,
)
from authserver.services.audit_reading import AuditReading
from authserver.services.audit_trail import AuditStore, AuditTrail, AuditUpkeep
from authserver.services.authorization import Authorization
from authserver.services.claim_queue import ClaimQueue
from authserver.services.client_authentication import ClientAuthentication
from authserver.services.diagnosis import Diagnosis
from authserver.services.dynamic_registration import DynamicRegistration
from authserver.services.forward_auth import ForwardAuth
from authserver.services.guess_limit import GuessLimit
from authserver.services.key_alarm import AlarmingJwks
from authserver.services.ports import (
    AuditLog,
    Changes,
    JwksSource,
    ReceiptLog,
    ReceiptStore,
    ReplayGuard,
    ResourceStore,
    RevocationList,
    SecretHasher,
    Signer,
)
from authserver.services.readiness import Readiness, a_key_signs, database_reads, database_writes
from authserver.services.receipts import Receipts
from authserver.services.registration import Registration
from authserver.services.registry import RegistrationsAtHand, Registry
from authserver.services.token_introspection import TokenIntrospection
from authserver.services.token_issuance import IssuanceRules, TokenIssuance
from authserver.settings import Settings


class Stores(Protocol):
    """One database's stores, however they are kept."""

    @property
    def resources(self) -> ResourceStore:
        """Clients and policies."""

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
    check_signature: SignatureCheck = jose.check_signature
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


def build_services(settings: Settings, parts: Parts) -> Services:
    """Wire the use cases from settings and adapters."""
    rules, stores = client_rules(settings), parts.stores
    registry = Registry(stores.resources, stores.changes, rules=rules, audit_log=parts.audit_log)
    revocations = KeptRevocations(stores.revocations, stores.changes)
    audit = _audit(settings, parts, registry)
    introspection = TokenIntrospection(
        registry,
        parts.signer,
        revocations,
        parts.audit_log,
        audit.trail,
        issuer=settings.issuer,
        wildcard_types=settings.wildcard,
        guesses=GuessLimit(limit=settings.introspection_guesses),
    )
    authentication = _authentication(settings, parts, registry)
    registration = Registration(stores.resources, parts.hasher, parts.audit_log, rules, audit.trail)
    issuance = TokenIssuance(authentication, parts.signer, parts.audit_log, _issuance_rules(settings), audit.trail)
    audiences = frozenset({settings.issuer, settings.fhir_base_url})
    authorization = Authorization(registry, introspection, authentication, parts.hasher, audiences=audiences)
    return Services(
        registration=registration,
        issuance=issuance,
        diagnosis=Diagnosis(issuance),
        receipts=Receipts(parts.receipt_log, keep=settings.receipt_days * 86_400),
        introspection=introspection,
        authorization=authorization,
        forward_auth=ForwardAuth(introspection, settings.forward_audiences, settings.forward_fhir_bases),
        dynamic_registration=DynamicRegistration(
            registration, parts.audit_log, active=settings.registered_clients_active
        ),
        readiness=readiness(parts),
        audit=audit,
        at_hand=_at_hand(issuance, authorization, registry=registry, revocations=revocations, changes=stores.changes),
    )


def _audit(settings: Settings, parts: Parts, registry: Registry) -> Audit:
    store = parts.stores.audit
    trail = AuditTrail(store if settings.audit else None, registry, parts.request_id)
    upkeep = AuditUpkeep(trail, parts.signer, parts.audit_log, settings.audit_retention_days)
    return Audit(trail, upkeep, AuditReading(store, trail))


def readiness(parts: Parts, *, ticks: Callable[[], float] = clock.ticks) -> Readiness:
    """Return what /readyz answers by: every part that fails closed; the keys of clients are each client's own."""
    stores = parts.stores
    checks = [database_reads(stores.ping), database_writes(stores.replay_guard), a_key_signs(parts.signer)]
    return Readiness(checks, ticks=ticks)


def _authentication(settings: Settings, parts: Parts, registry: Registry) -> ClientAuthentication:
    audiences = frozenset({settings.issuer, settings.token_url, *settings.audience_aliases})
    return ClientAuthentication(
        registry,
        AlarmingJwks(parts.jwks_source, parts.audit_log),
        parts.stores.replay_guard,
        expected=Expected(settings.issuer, audiences),
        algorithms=settings.assertion_algorithms,
        check_signature=parts.check_signature,
    )


def _at_hand(
    issuance: TokenIssuance,
    authorization: Authorization,
    *,
    registry: Registry,
    revocations: KeptRevocations,
    changes: Changes,
) -> AtHand:
    """Return the same use cases over ports that never wait: not one rule is written twice."""
    present = Present(changes)
    registrations = RegistrationsAtHand(registry, present)
    introspection = replace(
        authorization.introspection, registry=registrations, revocations=RevocationsAtHand(revocations, present)
    )
    authentication = replace(
        issuance.authentication,
        registry=registrations,
        jwks_source=JwksAtHand(issuance.authentication.jwks_source),
        replay_guard=ReplayGuardAtHand(),
    )
    return AtHand(
        present,
        replace(issuance, authentication=authentication),
        introspection,
        replace(
            authorization,
            registry=registrations,
            introspection=introspection,
            authentication=authentication,
            hasher=HasherAtHand(authorization.hasher),
        ),
    )


def client_rules(settings: Settings) -> ClientRules:
    """Return what the settings say about registrations."""
    return ClientRules(
        jwks_urls=JwksUrlRules.from_allow_list(settings.jwks_allow, development=settings.dev),
        max_token_lifetime=settings.max_token_lifetime,
        algorithms=settings.assertion_algorithms,
        keys=KeyRules(any_odd_exponent=settings.any_odd_rsa_exponent, publicly_known=settings.dev),
    )


def _issuance_rules(settings: Settings) -> IssuanceRules:
    return IssuanceRules(settings.issuer, settings.fhir_base_url, settings.wildcard, settings.scope_required)
