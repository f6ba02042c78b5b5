"""Answer a proxy that asks, before it lets a request through, whether the token's client may make it (row X45)."""

import re
from dataclasses import dataclass, replace

from authserver.errors import InsufficientScope, InvalidToken, UnexpectedError
from authserver.protocol import access_token, api_key, forwarded_request, scopes
from authserver.protocol.forwarded_request import ForwardedRequest
from authserver.services import policy_decisions
from authserver.services.token_introspection import ActiveToken, TokenIntrospection

_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Verified:
    """What the server behind the proxy is told of the caller; every value is one line of printable ASCII."""

    client_id: str
    scope: str
    tenant: str
    jti: str


@dataclass(frozen=True, slots=True)
class ForwardAuth:
    """Judges forwarded requests. `fhir_bases` are the base paths below which the SMART scopes must allow, too."""

    introspection: TokenIntrospection
    audiences: frozenset[str]
    fhir_bases: tuple[str, ...]

    def verify(self, token: str, request: ForwardedRequest, *, now: int, request_id: str = "") -> Verified:
        """Return whose request this is; raises InvalidToken, InsufficientScope or Forbidden. `now` in seconds.

        `request_id` is that of our answer.
        """
        active = self.introspection.active(token, now=now)
        if active is None and api_key.is_meant(token):
            reason = self.introspection.key_problem(token, now=now) or "bearer_refused"
            raise InvalidToken(api_key.SENTENCES.get(reason, api_key.UNKNOWN), detail="API key", reason=reason)
        if active is None or not access_token.audience_of(active.claims) & self.audiences:
            raise InvalidToken(detail="bearer token is not active here", reason="bearer_refused")
        found = forwarded_request.fhir_interaction(request, self.fhir_bases)
        if found is not None:
            granted = scopes.parse_granted(str(active.claims["scope"]))
            missing = forwarded_request.needed_scope(found, request, granted)
            if missing is not None:
                raise InsufficientScope(missing, detail=active.client.id)
        described = replace(forwarded_request.policy_request(request, found), claims=active.claims, id=request_id)
        use = self.introspection
        decision = policy_decisions.decide(
            use.registry, use.audit_log, active.client, described, decisions=use.decisions
        )
        if not decision.allowed:
            detail = f"no policy of {active.client.id} allows {request.method} {request.path[:200]}"
            raise policy_decisions.refusal(decision, detail)
        return _verified(active)


def _verified(active: ActiveToken) -> Verified:
    claims = active.claims
    values = (str(claims.get(name, "")) for name in ("client_id", "scope", "tenant", "jti"))
    verified = Verified(*values)
    told = (verified.client_id, verified.scope, verified.tenant, verified.jti)
    if not all(_HEADER_VALUE.fullmatch(value) for value in told):
        # Never reached with tokens of ours; a line break here would let a value become a header of its own.
        raise UnexpectedError(detail="a claim cannot be a header")
    return verified
