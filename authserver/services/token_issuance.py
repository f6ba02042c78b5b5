"""Issue an access token: authenticate, decide, sign, record."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from authserver.errors import InvalidScope, InvalidTarget, OAuthError, UnauthorizedClient
from authserver.protocol import access_token, audit_record, scope_report, scopes
from authserver.protocol.audit_record import MICROSECONDS, SUCCESS, AuditChoice, AuditRecord
from authserver.protocol.client import Client
from authserver.protocol.scope_report import ScopeDecision
from authserver.protocol.scopes import ScopeSet
from authserver.protocol.token_request import CLIENT_CREDENTIALS, TokenRequest
from authserver.services.audit_trail import AuditTrail
from authserver.services.client_authentication import ClientAuthentication
from authserver.services.ports import AuditLog, Signer


@dataclass(frozen=True, slots=True)
class IssuanceRules:
    """The operator's settings for tokens. `wildcard_types`: what `*` stands for, None keeps the wildcard."""

    issuer: str
    audience: str
    wildcard_types: frozenset[str] | None
    scope_required: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What a proven client gets: the claims of its token, or a refusal."""

    client: Client
    claims: Mapping[str, Any]
    refusal: OAuthError | None = None


def _random_part() -> str:
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True)
class TokenIssuance:
    """The token endpoint's use case (RFC 6749 section 4.4 with SMART Backend Services)."""

    authentication: ClientAuthentication
    signer: Signer
    audit_log: AuditLog
    rules: IssuanceRules
    audit: AuditTrail
    new_id: Callable[[], str] = _random_part

    def issue(self, request: TokenRequest, *, now: int) -> dict[str, Any]:
        """Return the token response (row A15); raises OAuthError or Unavailable. `now` in epoch seconds."""
        proof = self.authentication.prove(request.client, now=now)
        self.authentication.limits.admit(proof.client.id)
        decision = self.decide(proof.client, request, now=now)
        audit = self.audit_choice(decision, request, now=now)
        guard, jti = self.authentication.replay_guard, proof.assertion.jti
        claimed = guard.claim(proof.client.id, jti, until=proof.assertion.until, audit=audit)
        recorded = audit is not None
        self.authentication.accept(proof, claimed=claimed, recorded=recorded)
        return self.conclude(decision, request, recorded=recorded, now=now)

    def decide(self, client: Client, request: TokenRequest, *, now: int) -> "Decision":
        """Return what a proven client gets for its request, before its jti is claimed; conclude() must follow."""
        try:
            return Decision(client, self._claims(client, self._granted(client, request.scope), request, now))
        except OAuthError as error:
            error.client_id = client.id
            return Decision(client, {}, error)

    def audit_choice(
        self, decision: "Decision", request: TokenRequest, *, now: int, number: int | None = None
    ) -> AuditChoice | None:
        """Return what is recorded with the claim of the request's jti; None when the audit is off.

        `number` is the state of the registry that the decision rests on, None for the present one.
        """
        return self.audit.choice(partial(_record, decision, request, now), number=number)

    def conclude(self, decision: "Decision", request: TokenRequest, *, recorded: bool, now: int) -> dict[str, Any]:
        """Return the token response of a decision, for the request that claimed its jti; raises its refusal.

        `recorded`: the audit has it, with the claim. Raises Unavailable when it cannot be recorded now.
        """
        if decision.refusal is not None:
            decision.refusal.recorded = recorded
            raise decision.refusal
        if not recorded:
            self.audit.record(_record(decision, request, now, None))
        client, claims = decision.client, decision.claims
        token = self.signer.sign(claims, typ=access_token.TYP)
        self.audit_log.record("token_issued", client_id=client.id, scope=claims["scope"], jti=claims["jti"])
        self.authentication.limits.served(client.id)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": client.token_lifetime,
            "scope": claims["scope"],
            "need_patient_banner": True,
        }

    def _claims(self, client: Client, granted: ScopeSet, request: TokenRequest, now: int) -> dict[str, Any]:
        return access_token.claims(
            client,
            issuer=self.rules.issuer,
            audience=self._audience(client, request),
            scope=str(granted),
            jti=access_token.new_jti(client, self.new_id()),
            now=now,
            requested_scope=self._unmet(request.scope, granted),
        )

    def _unmet(self, requested: str | None, granted: ScopeSet) -> str | None:
        """Return the requested scope where not all of it was granted."""
        if requested is None:
            return None
        asked = scopes.parse_set(requested)
        return None if scopes.within(asked, granted, wildcard_types=self.rules.wildcard_types) else requested

    def grant(self, client: Client, scope: str | None) -> str:
        """Return what a proven client is granted of the requested scope, in the canonical spelling.

        Raises UnauthorizedClient, or InvalidScope whose detail says what became of each scope (row X51).
        """
        return str(self._granted(client, scope))

    def _granted(self, client: Client, scope: str | None) -> ScopeSet:
        if CLIENT_CREDENTIALS not in client.grant_types:
            raise UnauthorizedClient(detail=f"{client.id}: grant_types lacks {CLIENT_CREDENTIALS}")
        requested = self._requested(client, scope)
        granted = scopes.grant(requested, client.scope, wildcard_types=self.rules.wildcard_types)
        if not granted:
            raise InvalidScope(detail=f"{client.id}: nothing is granted; {self._report(client, scope)}")
        if client.strict_scope and not scopes.within(requested, granted, wildcard_types=self.rules.wildcard_types):
            raise InvalidScope(
                "The request goes beyond the registered scopes, and this client asked to be refused then.",
                detail=f"{client.id}: scope_mode is strict; {self._report(client, scope)}",
                reason="scope_narrowed",
            )
        if len(str(granted)) > access_token.MAX_SCOPE_LENGTH:
            raise InvalidScope(
                "The scopes are too many for one access token.",
                detail=f"{client.id}: {len(str(granted))} characters",
                reason="scope_too_long",
            )
        return granted

    def decisions(self, client: Client, scope: str | None) -> list[ScopeDecision]:
        """Return what becomes of each requested scope; of the registered ones when none was asked for."""
        asked = str(client.scope) if scope is None else scope
        return scope_report.decisions(asked, client.scope, wildcard_types=self.rules.wildcard_types)

    def _report(self, client: Client, scope: str | None) -> str:
        return "; ".join(f"{one.requested}: {one.outcome}, {one.why}" for one in self.decisions(client, scope))

    def _requested(self, client: Client, scope: str | None) -> ScopeSet:
        if scope is not None:
            return scopes.parse_set(scope)
        if self.rules.scope_required:
            raise InvalidScope("The parameter scope is missing.", reason="scope_missing")
        return client.scope

    def _audience(self, client: Client, request: TokenRequest) -> tuple[str, ...]:
        """Return the registered audience, or the part of it that was asked for (RFC 8707 section 2)."""
        registered = client.audience or (self.rules.audience,)
        if not request.resources:
            return registered
        if not set(request.resources) <= set(registered):
            raise InvalidTarget(detail=f"{client.id}: resource is not in its audience")
        return tuple(target for target in registered if target in request.resources)


def _record(decision: Decision, request: TokenRequest, now: int, request_id: str | None) -> AuditRecord:
    """Return what the audit says of a decision about a token."""
    client, claims, at = decision.client, decision.claims, now * MICROSECONDS
    about = (client.tenant, request_id, request.client.source)
    if decision.refusal is not None:
        tenant, named, source = about
        return audit_record.refusal(
            decision.refusal, path="/auth/token", at=at, tenant=tenant, request_id=named, source=source
        )
    facts = {"jti": claims["jti"], "scope": claims["scope"], "exp": claims["exp"]}
    return AuditRecord("token_issued", at, SUCCESS, client.id, None, *about, facts)
