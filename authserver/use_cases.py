"""The use cases, wired from settings and adapters: once over what asks, once over what is at hand."""

from collections.abc import Callable
from dataclasses import replace

from authserver import clock
from authserver.parts import AtHand, Audit, Parts, Services, Stores
from authserver.protocol import policy_lint
from authserver.protocol.assertion import Expected
from authserver.protocol.client import MIN_SECRET_LENGTH, ClientRules
from authserver.protocol.jwks_url import JwksUrlRules
from authserver.protocol.key_policy import KeyRules
from authserver.services.access_evaluation import AccessEvaluation
from authserver.services.api_keys import ApiKeys
from authserver.services.at_hand import (
    HasherAtHand,
    JwksAtHand,
    KeptRevocations,
    Present,
    ReplayGuardAtHand,
    RevocationsAtHand,
)
from authserver.services.audit_reading import AuditReading
from authserver.services.audit_trail import AuditTrail, AuditUpkeep
from authserver.services.authorization import Authorization
from authserver.services.client_authentication import ClientAuthentication
from authserver.services.client_key_uses import ClientKeyUses
from authserver.services.diagnosis import Diagnosis
from authserver.services.dynamic_registration import DynamicRegistration
from authserver.services.forward_auth import ForwardAuth
from authserver.services.guess_limit import GuessLimit
from authserver.services.key_alarm import AlarmingJwks
from authserver.services.key_health import KeyHealth
from authserver.services.key_uses import KeyUses
from authserver.services.limit_exchange import LimitExchange
from authserver.services.limits import LimitRules, Limits
from authserver.services.live_tokens import LiveTokens
from authserver.services.metering import Meter, NoMeter
from authserver.services.policy_decisions import Decisions, Samples
from authserver.services.policy_trial import PolicyTrial
from authserver.services.ports import (
    Changes,
)
from authserver.services.readiness import Readiness, a_key_signs, database_reads, database_writes
from authserver.services.receipts import Receipts
from authserver.services.registration import Registration
from authserver.services.registry import RegistrationsAtHand, Registry
from authserver.services.token_introspection import TokenIntrospection
from authserver.services.token_issuance import IssuanceRules, TokenIssuance
from authserver.services.validation import Validation
from authserver.settings import Settings


def build_services(settings: Settings, parts: Parts, *, meter: Meter | None = None) -> Services:
    """Wire the use cases from settings and adapters; what they count themselves goes to the meter."""
    rules, stores = client_rules(settings), parts.stores
    registry = Registry(stores.resources, stores.changes, nearby=stores.nearby, rules=rules, audit_log=parts.audit_log)
    revocations = KeptRevocations(stores.revocations, stores.changes)
    audit = _audit(settings, parts, registry)
    api_keys = _api_keys(settings, parts, registry, trail=audit.trail)
    decisions = Decisions(parts.decision_log, stores.decisions, settings.receipt_days * 86_400, Samples())
    introspection = _introspection(
        settings, parts, registry, revocations=revocations, api_keys=api_keys, decisions=decisions, audit=audit.trail
    )
    limits = Limits(_limit_rules(settings))
    key_uses = ClientKeyUses(stores.client_key_uses)
    authentication = _authentication(settings, parts, registry, limits=limits, uses=key_uses, meter=meter)
    registration = Registration(stores.resources, parts.hasher, parts.audit_log, rules, audit.trail)
    issuance = TokenIssuance(authentication, parts.signer, parts.audit_log, _issuance_rules(settings), audit.trail)
    authorization = _authorization(settings, parts, introspection, authentication=authentication)
    return Services(
        registration=registration,
        issuance=issuance,
        diagnosis=Diagnosis(issuance),
        receipts=Receipts(parts.receipt_log, keep=settings.receipt_days * 86_400),
        introspection=introspection,
        authorization=authorization,
        api_keys=api_keys,
        limits=limits,
        forward_auth=ForwardAuth(introspection, settings.forward_audiences, settings.forward_fhir_bases),
        dynamic_registration=_dynamic_registration(settings, parts, registration),
        readiness=readiness(parts),
        validation=Validation(authentication.jwks_source, policy_advice=policy_lint.warnings),
        key_health=KeyHealth(authentication.jwks_source, parts.jwks_watch, key_uses),
        client_key_uses=key_uses,
        live_tokens=LiveTokens(stores.audit, audit.trail, introspection, settings.max_token_lifetime),
        policy_trial=PolicyTrial(registry, rules, settings.forward_fhir_bases),
        decisions=decisions,
        access_evaluation=_access_evaluation(settings, introspection),
        audit=audit,
        at_hand=_at_hand(issuance, authorization, registry=registry, revocations=revocations, changes=stores.changes),
    )


def _access_evaluation(settings: Settings, introspection: TokenIntrospection) -> AccessEvaluation:
    base = (settings.forward_fhir_bases or ("",))[0]
    return AccessEvaluation(introspection, base, audience=settings.fhir_base_url)


def _dynamic_registration(settings: Settings, parts: Parts, registration: Registration) -> DynamicRegistration:
    return DynamicRegistration(registration, parts.audit_log, active=settings.registered_clients_active)


def _introspection(
    settings: Settings,
    parts: Parts,
    registry: Registry,
    *,
    revocations: KeptRevocations,
    api_keys: ApiKeys,
    decisions: Decisions,
    audit: AuditTrail,
) -> TokenIntrospection:
    return TokenIntrospection(
        registry,
        parts.signer,
        revocations,
        parts.audit_log,
        audit,
        issuer=settings.issuer,
        wildcard_types=settings.wildcard,
        guesses=GuessLimit(limit=settings.introspection_guesses),
        decisions=decisions,
        audience=(settings.fhir_base_url,),
        key_uses=api_keys.uses,
        revoke_key=lambda key_id, now: _revoke_key(api_keys, key_id, now),
    )


def _api_keys(settings: Settings, parts: Parts, registry: Registry, *, trail: AuditTrail) -> ApiKeys:
    return ApiKeys(
        parts.stores.resources,
        registry,
        KeyUses(parts.stores.key_uses),
        parts.audit_log,
        trail,
        max_days=settings.api_key_days,
        wildcard_types=settings.wildcard,
    )


def _revoke_key(api_keys: ApiKeys, key_id: str, now: int) -> None:
    api_keys.revoke(key_id, actor="auth-revoke", now=now * 1_000_000)


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


def _authentication(
    settings: Settings, parts: Parts, registry: Registry, *, limits: Limits, uses: ClientKeyUses, meter: Meter | None
) -> ClientAuthentication:
    audiences = frozenset({settings.issuer, settings.token_url, *settings.audience_aliases})
    return ClientAuthentication(
        registry,
        AlarmingJwks(parts.jwks_source, parts.audit_log),
        parts.stores.replay_guard,
        expected=Expected(settings.issuer, audiences),
        algorithms=settings.assertion_algorithms,
        check_signature=parts.check_signature,
        limits=limits,
        key_uses=uses,
        meter=meter or NoMeter(),
    )


def _authorization(
    settings: Settings, parts: Parts, introspection: TokenIntrospection, *, authentication: ClientAuthentication
) -> Authorization:
    registry, limits = authentication.registry, authentication.limits
    audiences = frozenset({settings.issuer, settings.fhir_base_url})
    return Authorization(registry, introspection, authentication, parts.hasher, audiences=audiences, limits=limits)


def _limit_rules(settings: Settings) -> LimitRules:
    return LimitRules(settings.client_rate, settings.client_failures, settings.source_failures)


def limit_exchange(services: Services, stores: Stores, *, member: str) -> LimitExchange:
    """Return what lets the limits of this process, `member` to the others, know what all processes let be spent."""
    return LimitExchange(services.limits, stores.spendings, member=member)


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
            limits=Limits(LimitRules()),  # who answers from it counts; a refusal is made, and counted, elsewhere
        ),
    )


def client_rules(settings: Settings) -> ClientRules:
    """Return what the settings say about registrations."""
    return ClientRules(
        jwks_urls=JwksUrlRules.from_allow_list(settings.jwks_allow, development=settings.dev),
        max_token_lifetime=settings.max_token_lifetime,
        algorithms=settings.assertion_algorithms,
        min_secret_length=1 if settings.dev else MIN_SECRET_LENGTH,
        keys=KeyRules(any_odd_exponent=settings.any_odd_rsa_exponent, publicly_known=settings.dev),
    )


def _issuance_rules(settings: Settings) -> IssuanceRules:
    return IssuanceRules(settings.issuer, settings.fhir_base_url, settings.wildcard, settings.scope_required)
