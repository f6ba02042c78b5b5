"""Who is calling, and may they: one rule for every path that is not the token endpoint itself.

A caller is proven by Basic, by one of our own Bearer tokens, by an API key or by an assertion; then its scopes and an
AccessPolicy must both allow the request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from authserver.errors import Forbidden, InsufficientScope, LoginRequired
from authserver.protocol import access_token, api_key, policy, scopes
from authserver.protocol.client import BASIC, Client
from authserver.protocol.policy_request import PolicyRequest
from authserver.protocol.scopes import ScopeSet
from authserver.protocol.token_request import ClientAssertion
from authserver.services import policy_decisions
from authserver.services.client_authentication import ClientAuthentication
from authserver.services.limits import LimitRules, Limits
from authserver.services.policy_decisions import Decisions
from authserver.services.ports import SecretHasher
from authserver.services.registry import Registrations
from authserver.services.token_introspection import TokenIntrospection


@dataclass(frozen=True, slots=True)
class Caller:
    """A proven caller. `scopes` limit it; None: the client registered none, so policies alone do.

    `claims` are those of the access token that proved it, None without one.
    """

    client: Client
    scopes: ScopeSet | None
    claims: Mapping[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Authorization:
    """Authenticates callers and decides what they may do on this server's own paths."""

    registry: Registrations
    introspection: TokenIntrospection
    authentication: ClientAuthentication
    hasher: SecretHasher
    audiences: frozenset[str]
    limits: Limits = field(default_factory=lambda: Limits(LimitRules()), repr=False)

    def by_secret(self, client_id: str, secret: str) -> Caller:
        """Prove a caller by client id and secret; raises LoginRequired, alike for every cause.

        A client that registered scopes stays within them here too.
        """
        client = self.registry.client(client_id)
        fits = self.hasher.verify(secret, None if client is None else client.secret_hash)
        if client is None or not fits or not client.active or BASIC not in client.grant_types:
            raise LoginRequired(detail=f"basic credentials of {client_id[:64]!r} refused", reason="basic_refused")
        return Caller(client, client.scope or None)

    def by_token(self, token: str, *, now: int) -> Caller:
        """Prove a caller by an access token of ours that is meant for this server, or an API key.

        Raises LoginRequired.
        """
        active = self.introspection.active(token, now=now)
        if active is None and api_key.is_meant(token):
            reason = self.introspection.key_problem(token, now=now) or "bearer_refused"
            raise LoginRequired(api_key.SENTENCES.get(reason, api_key.UNKNOWN), detail="API key", reason=reason)
        if active is None or not access_token.audience_of(active.claims) & self.audiences:
            raise LoginRequired(detail="bearer token is not active here", reason="bearer_refused")
        return Caller(active.client, scopes.collect(active.claims["scope"].split(" ")), active.claims)

    def by_assertion(self, request: ClientAssertion, *, now: int) -> Caller:
        """Prove a caller by private_key_jwt; its registered scopes limit it. Raises InvalidClient."""
        client = self.authentication.authenticate(request, now=now)
        return Caller(client, client.scope)

    def require_resource(self, caller: Caller, request: PolicyRequest, *, letter: str) -> None:
        """Allow an interaction (one of c, r, u, d, s) on one of our resource types, or raise Forbidden."""
        resource_type = request.resource_type or ""
        if caller.scopes is not None and not scopes.permitted(caller.scopes.resources, resource_type, letter):
            raise _told(caller, InsufficientScope(f"system/{resource_type}.{letter}", detail=caller.client.id))
        self._require_policy(caller, request)

    def require_name(self, caller: Caller, request: PolicyRequest, *, scope: str) -> None:
        """Allow an operation that a named scope stands for, or raise Forbidden."""
        if caller.scopes is not None and scope not in caller.scopes.names:
            raise _told(caller, InsufficientScope(scope, detail=caller.client.id))
        self._require_policy(caller, request)

    def is_operator(self, caller: Caller, request: PolicyRequest) -> bool:
        """Say whether the caller is bound by no scope and a policy allows the request."""
        return caller.scopes is None and self._decide(caller, request, decisions=None).allowed

    def require_operator(self, caller: Caller, request: PolicyRequest) -> None:
        """Allow what only operators may do: callers that no scope binds, and that a policy allows it. Or Forbidden."""
        if caller.scopes is not None:
            raise Forbidden(detail=f"{caller.client.id} is bound by scopes, so it is no operator")
        self._require_policy(caller, request)

    def allows_whatever(self, caller: Caller, request: PolicyRequest) -> bool:
        """Say whether the answer of the policies depends on neither headers, parameters nor source of the request."""
        return policy.allows_whatever(self.registry.policies_for(caller.client), caller.client, request)

    def _require_policy(self, caller: Caller, request: PolicyRequest) -> None:
        decision = self._decide(caller, request, decisions=self.introspection.decisions)
        if not decision.allowed:
            detail = f"no policy of {caller.client.id} allows {request.interaction}"
            raise _told(caller, policy_decisions.refusal(decision, detail))

    def _decide(self, caller: Caller, request: PolicyRequest, *, decisions: Decisions | None) -> policy.Decision:
        described = replace(request, claims=caller.claims)
        audit_log = self.introspection.audit_log
        return policy_decisions.decide(self.registry, audit_log, caller.client, described, decisions=decisions)


def _told(caller: Caller, error: Forbidden) -> Forbidden:
    """Return the refusal with whom it is told, for the audit."""
    error.client_id = caller.client.id
    return error
