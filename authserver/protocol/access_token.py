"""The access token: its claims, when they are current, and what introspection says of them.

A token has no row of its own. Its `jti` begins with the client's token generation, so a token dies with the
registration that it was issued to, or when all of the client's tokens are revoked at once. Sources: RFC 9068
section 2.2, RFC 7662 section 2.2.
"""

from collections.abc import Mapping
from typing import Any

from authserver.protocol.client import Client

TYP = "at+jwt"
MAX_TOKEN_LENGTH = 16_384
MAX_SCOPE_LENGTH = 11_000
"""Characters of scope in one token, so that the whole of it in base64 stays under MAX_TOKEN_LENGTH."""

REQUESTED_SCOPE = "requested_scope"
"""Claim of a token that was granted less than was asked for: the scope parameter as it was sent (row X51)."""

MAX_REQUESTED_SCOPE_LENGTH = 1_000
"""Characters of a requested scope that a token remembers; of a longer one it does not speak."""

_INTROSPECTED = ("scope", "client_id", "sub", "iss", "aud", "exp", "iat", "jti", "tenant", "environment")


def new_jti(client: Client, random_part: str) -> str:
    """Return the jti of a new token for this client; `random_part` is unguessable text."""
    return f"{client.token_generation}.{random_part}"


def claims(
    client: Client,
    *,
    issuer: str,
    audience: tuple[str, ...],
    scope: str,
    jti: str,
    now: int,
    requested_scope: str | None = None,
) -> dict[str, Any]:
    """Return the claims of a new access token; times in epoch seconds, `aud` a string when there is one audience.

    `requested_scope` is given where it is not what was granted.
    """
    granted: dict[str, Any] = {
        "iss": issuer,
        "sub": client.id,
        "aud": audience[0] if len(audience) == 1 else list(audience),
        "client_id": client.id,
        "scope": scope,
        "iat": now,
        "exp": now + client.token_lifetime,
        "jti": jti,
    }
    if client.tenant is not None:
        granted["tenant"] = client.tenant
    if requested_scope is not None and len(requested_scope) <= MAX_REQUESTED_SCOPE_LENGTH:
        granted[REQUESTED_SCOPE] = requested_scope
    return granted


def is_current(token: Mapping[str, Any], *, issuer: str, now: int) -> bool:
    """Say whether these claims are ours and not expired; no leeway, the clock that issued them is this one."""
    expires = token.get("exp")
    return token.get("iss") == issuer and type(expires) is int and now < expires


def belongs_to(token: Mapping[str, Any], client: Client) -> bool:
    """Say whether the token is of the client's present token generation (rows X46 and X50)."""
    jti, prefix = token.get("jti"), f"{client.token_generation}."
    return token.get("client_id") == client.id and isinstance(jti, str) and jti.startswith(prefix)


def audience_of(token: Mapping[str, Any]) -> frozenset[str]:
    """Return the token's audience as a set."""
    audience = token.get("aud")
    return frozenset([audience] if isinstance(audience, str) else audience or ())


def is_visible_to(token: Mapping[str, Any], caller: Client) -> bool:
    """Say whether this caller may learn anything of the token (RFC 7662 section 4, threat F02).

    A caller that registered `introspection_audience` sees tokens for one of these audiences alone; a caller of a
    tenant sees tokens of its tenant alone.
    """
    limited, tenant = caller.introspection_audience, caller.tenant
    if limited and not limited & audience_of(token):
        return False
    return tenant is None or token.get("tenant") == tenant


def introspection_response(token: Mapping[str, Any]) -> dict[str, Any]:
    """Return what introspection says of an active token (row X3)."""
    known = {name: token[name] for name in _INTROSPECTED if name in token}
    return {"active": True, **known, "token_type": "Bearer"}


INACTIVE: Mapping[str, Any] = {"active": False}
"""What introspection says of everything else, to the byte (RFC 7662 section 2.2)."""
