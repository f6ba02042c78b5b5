"""Introspection answers as signed JWTs, for callers that keep them as evidence (RFC 9701).

Chooses by the Accept header and builds the claims; signing is the Signer's part.
"""

from collections.abc import Mapping
from typing import Any

TYP = "token-introspection+jwt"
MEDIA_TYPE = f"application/{TYP}"


def claims(answer: Mapping[str, Any], *, issuer: str, caller: str, now: int) -> dict[str, Any]:
    """Return the claims of a signed answer for the client `caller` (RFC 9701 section 5); `now` in epoch seconds.

    There is no `sub` or `exp` beside them, so that nobody takes the answer for a token.
    """
    return {"iss": issuer, "aud": caller, "iat": now, "token_introspection": dict(answer)}
