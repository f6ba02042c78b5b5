"""Say what an access token is worth now: introspection (RFC 7662), the same answer for our own doors, revocation.

An API key is taken wherever a token is, and stands for the claims of one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from authserver.protocol import access_token, api_key, scope_report, scopes, signed_introspection
from authserver.protocol.audit_record import MICROSECONDS, AuditRecord
from authserver.protocol.client import Client
from authserver.protocol.policy_request import PolicyRequest
from authserver.services import policy_decisions
from authserver.services.audit_trail import AuditTrail
from authserver.services.guess_limit import GuessLimit
from authserver.services.key_uses import KeyUses
from authserver.services.policy_decisions import Decisions
from authserver.services.ports import CLIENT, AuditLog, RevocationList, Signer
from authserver.services.registry import Registrations


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """A token that is good at this moment: its claims and the client that it was issued to."""

    claims: Mapping[str, Any]
    client: Client


@dataclass(frozen=True, slots=True)
class TokenIntrospection:
    """Knows every token of this server without a row for any of them."""

    registry: Registrations
    signer: Signer
    revocations: RevocationList
    audit_log: AuditLog
    audit: AuditTrail
    issuer: str
    wildcard_types: frozenset[str] | None = None
    guesses: GuessLimit | None = None
    audience: tuple[str, ...] = ()
    key_uses: KeyUses | None = None
    revoke_key: Callable[[str, int], None] | None = None
    decisions: Decisions | None = None

    def active(self, token: str, *, now: int) -> ActiveToken | None:
        """Return the token when it is ours, current, not revoked, and its client is registered and active.

        The same for an API key.
        """
        if api_key.is_meant(token):
            return self._active_key(token, now=now)[0]
        claims = self._signed(token)
        return None if claims is None else self.of_claims(claims, now=now)

    def _signed(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a token that we signed, whatever it is worth now."""
        if len(token) > access_token.MAX_TOKEN_LENGTH:
            return None
        return self.signer.verify(token, typ=access_token.TYP)

    def of_claims(self, claims: Mapping[str, Any], *, now: int) -> ActiveToken | None:
        """Return the token with these claims, known to be ours, when it is current, not revoked, its client active."""
        if not access_token.is_current(claims, issuer=self.issuer, now=now):
            return None
        client = self.registry.client(str(claims.get("client_id")))
        if client is None or not client.active or not access_token.belongs_to(claims, client):
            return None
        if self.revocations.is_revoked(claims["jti"], expires_at=claims["exp"]):
            return None
        return ActiveToken(claims, client)

    def key_problem(self, text: str, *, now: int) -> str | None:
        """Return the reason for which an API key is good for nothing now (docs/errors.md), None for a good one."""
        return self._active_key(text, now=now)[1]

    def _active_key(self, text: str, *, now: int) -> tuple[ActiveToken | None, str | None]:
        """Return what the API key stands for, or why it stands for nothing."""
        presented = api_key.read(text)
        key = None if presented is None else self.registry.api_key(presented.id)
        client = None if key is None else self.registry.client(key.client_id)
        problem = api_key.problem(presented, key, client, wildcard_types=self.wildcard_types, now=now)
        if problem is not None or key is None or client is None:
            return None, problem
        scope = api_key.granted(key, client, wildcard_types=self.wildcard_types)
        audience = client.audience or self.audience
        claims = api_key.claims(key, client, issuer=self.issuer, audience=audience, scope=scope)
        if self.key_uses is not None:
            self.key_uses.note(key.id, now=now)
        return ActiveToken(claims, client), None

    def _looked_up(self, token: str, *, now: int) -> tuple[ActiveToken | None, bool]:
        """Return what the token or API key is worth, and whether it is one that this server made."""
        if api_key.is_meant(token):
            active, problem = self._active_key(token, now=now)
            return active, problem not in ("api_key_format", "api_key_unknown")
        claims = self._signed(token)
        return (None, False) if claims is None else (self.of_claims(claims, now=now), True)

    def introspect(
        self,
        token: str,
        *,
        caller: Client | None = None,
        request: PolicyRequest | None = None,
        report: bool = False,
        now: int,
    ) -> dict[str, Any]:
        """Return the introspection response; exactly `{"active": false}` for whatever is not active.

        `caller` limits this to the tokens that it may see; None is this server itself.
        With a described `request`, an active token's answer also has `policy_decision`: `{"allowed": bool}` and, when
        allowed, the id of the deciding `policy`, else that of the record of the `decision`. With `report`, for an
        operator, the answer about a token that was granted less than was asked for also has `scope_decisions`: what
        became of each requested scope (row X51).
        Raises TooManyRequests when the caller asked about too many tokens that are none of ours.
        """
        active, ours = self._looked_up(token, now=now)
        if not ours and caller is not None and self.guesses is not None:
            self.guesses.guessed(caller.id, now=now)
        if active is None or (caller is not None and not access_token.is_visible_to(active.claims, caller)):
            return dict(access_token.INACTIVE)
        response = access_token.introspection_response(active.claims)
        if request is not None:
            response["policy_decision"] = self._decide(active, request)
        if report and access_token.REQUESTED_SCOPE in active.claims:
            response["scope_decisions"] = self._scope_decisions(active.claims)
        return response

    def _scope_decisions(self, claims: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return what became of each requested scope when the token was issued: its grant is in the token."""
        granted = scopes.collect(claims["scope"].split(" "))
        asked = str(claims[access_token.REQUESTED_SCOPE])
        decided = scope_report.decisions(asked, granted, wildcard_types=self.wildcard_types)
        return [{"requested": one.requested, "outcome": one.outcome, "granted": one.granted} for one in decided]

    def signed(self, answer: Mapping[str, Any], *, caller: Client, now: int) -> str:
        """Return an introspection response as a JWT for its caller (RFC 9701 section 5)."""
        claims = signed_introspection.claims(answer, issuer=self.issuer, caller=caller.id, now=now)
        return self.signer.sign(claims, typ=signed_introspection.TYP)

    def revoke(self, token: str, *, owner: Client | None, caller: Client | None = None, now: int) -> None:
        """Revoke the token or API key at once (RFC 7009 section 2); one that is not active is nothing to revoke.

        `owner` limits this to the caller's own tokens; None is an operator. `caller` is who asks, for the audit.
        """
        active = self.active(token, now=now)
        if active is None or (owner is not None and active.client.id != owner.id):
            return
        if api_key.is_meant(token):
            self._revoke_key(token, now)
            return
        self.end(active, caller=caller or owner, now=now)

    def end(self, active: ActiveToken, *, caller: Client | None, now: int) -> None:
        """Revoke this token at once; `caller` is who asks, for the audit. Raises Unavailable."""
        jti, until = active.claims["jti"], active.claims["exp"]
        self.revocations.revoke(jti, until=until, audit=self._revocation(active, caller, now=now))
        self.audit_log.record("token_revoked", client_id=active.client.id, jti=jti)

    def _revocation(self, active: ActiveToken, caller: Client | None, *, now: int) -> AuditRecord | None:
        client, facts = active.client, {"jti": active.claims["jti"]}
        of, at = f"{CLIENT}/{client.id}", now * MICROSECONDS
        return self.audit.optional(
            AuditRecord(
                "token_revoked", at, agent=caller.id if caller else None, entity=of, tenant=client.tenant, facts=facts
            )
        )

    def _revoke_key(self, text: str, now: int) -> None:
        presented = api_key.read(text)
        if presented is not None and self.revoke_key is not None:
            self.revoke_key(presented.id, now)

    def _decide(self, active: ActiveToken, request: PolicyRequest) -> dict[str, Any]:
        described = replace(request, claims=active.claims)
        decision = policy_decisions.decide(
            self.registry, self.audit_log, active.client, described, decisions=self.decisions
        )
        if not decision.allowed:
            return {"allowed": False} | ({"decision": decision.record} if decision.record else {})
        return {"allowed": True, "policy": decision.policy}
