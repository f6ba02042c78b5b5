"""Every rule about a client's assertion (private_key_jwt) that needs no network and no storage.

Sources: SMART App Launch 2.2 "Client Authentication: Asymmetric"; RFC 7523 section 3; RFC 8725. The order of use is
peek() -> check_header() -> verify(); only verify() returns a VerifiedAssertion.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType

from authserver.errors import InvalidClient
from authserver.protocol import jose
from authserver.protocol.client import RESOURCE_ID, Client
from authserver.protocol.jwks import MAX_KID_LENGTH, PublicKey

MAX_LIFETIME = 300
FUTURE_LEEWAY = 30
EXPIRED_LEEWAY = 10
MAX_AGE = 600
MAX_JTI_LENGTH = 256
_TYPES = (None, "jwt", "client-authentication+jwt")


@dataclass(frozen=True, slots=True)
class Expected:
    """Whom an assertion must address: the issuer, or one of `audiences` (the token URL, the issuer, aliases)."""

    issuer: str
    audiences: frozenset[str]


@dataclass(frozen=True, slots=True)
class UnverifiedAssertion:
    """A well-shaped assertion; `client_id` is what it claims and nobody has checked."""

    jws: jose.UnverifiedJws
    claims: Mapping[str, Any]
    client_id: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """What is left of an assertion to act on. `until` (epoch seconds) is the last moment it could be accepted."""

    client_id: str
    jti: str
    until: int


VerifiedAssertion = NewType("VerifiedAssertion", Assertion)


def peek(token: str, *, algorithms: tuple[str, ...]) -> UnverifiedAssertion:
    """Read what the assertion claims, trusting nothing. Raises InvalidJws or InvalidClient."""
    jws = jose.parse(token, algorithms=algorithms)
    claims = jws.claims()
    subject = claims.get("sub")
    if not isinstance(subject, str) or RESOURCE_ID.fullmatch(subject) is None:
        raise InvalidClient(detail="sub is no client id", reason="sub_malformed")
    return UnverifiedAssertion(jws, claims, subject)


def check_header(assertion: UnverifiedAssertion, client: Client) -> str:
    """Apply the rules of the header that need the registration; return the kid.

    Raises InvalidClient (`typ_not_allowed`, `alg_not_registered`, `kid_missing`, `jku_mismatch`).
    """
    header = assertion.jws.header
    if _typ(header) not in _TYPES:
        raise InvalidClient(detail=f"typ {str(header.get('typ'))[:40]!r}", reason="typ_not_allowed")
    if assertion.jws.algorithm not in client.algorithms:
        raise InvalidClient(detail=f"alg {assertion.jws.algorithm} is not registered", reason="alg_not_registered")
    # SMART: jku, when present, is the registered address to the byte; it is never fetched from here.
    if "jku" in header and (client.jwks_uri is None or header["jku"] != client.jwks_uri):
        raise InvalidClient(detail="jku is not the registered jwks_uri", reason="jku_mismatch")
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:
        raise InvalidClient(detail="kid is missing or no short string", reason="kid_missing")
    return kid


def verify(
    assertion: UnverifiedAssertion, key: PublicKey, client: Client, *, expected: Expected, now: int
) -> VerifiedAssertion:
    """Check signature and claims; return what is proven. Raises InvalidClient with the reason of the first failure."""
    jose.check_signature(assertion.jws, key.key)
    claims = assertion.claims
    if claims.get("iss") != client.id or claims.get("sub") != client.id:
        raise InvalidClient(detail="iss and sub must both be the client id", reason="iss_not_sub")
    _check_audience(assertion, client, expected)
    expires = _check_times(claims, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_LENGTH:
        raise InvalidClient(detail="jti is missing or no short string", reason="jti_missing")
    # The claim outlives every moment at which any server of ours, its clock a little slow, could accept it.
    return VerifiedAssertion(Assertion(client.id, jti, until=math.ceil(expires) + EXPIRED_LEEWAY + FUTURE_LEEWAY))


def _typ(header: Mapping[str, Any]) -> object:
    if "typ" not in header:
        return None
    typ = header["typ"]
    return typ.lower() if isinstance(typ, str) else ""


def _check_audience(assertion: UnverifiedAssertion, client: Client, expected: Expected) -> None:
    audience = assertion.claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    # RFC 7523bis: an assertion of this type names the issuer and nothing else.
    issuer_only = client.issuer_audience_only or _typ(assertion.jws.header) == "client-authentication+jwt"
    allowed = {expected.issuer} if issuer_only else expected.audiences
    # RFC 7523 section 3 (3): simple string comparison with what is configured; the Host header is the caller's.
    if not isinstance(audience, str) or audience not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise InvalidClient(detail=f"aud is not {wanted}", reason="aud_mismatch")


def _check_times(claims: Mapping[str, Any], now: int) -> float:
    expires = _number(claims, "exp")
    if expires is None:
        raise InvalidClient(detail="exp is missing", reason="exp_missing")
    if expires <= now - EXPIRED_LEEWAY:
        raise InvalidClient(detail=f"exp is {now - expires:.0f} s ago", reason="exp_past")
    if expires > now + MAX_LIFETIME + FUTURE_LEEWAY:
        detail = f"exp is {expires - now:.0f} s ahead; the limit is {MAX_LIFETIME} s"
        raise InvalidClient(detail=detail, reason="exp_too_far")
    for name in ("iat", "nbf"):
        moment = _number(claims, name)
        if moment is not None and moment > now + FUTURE_LEEWAY:
            raise InvalidClient(detail=f"{name} is {moment - now:.0f} s ahead", reason=f"{name}_future")
    issued = _number(claims, "iat")
    if issued is not None and expires - issued > MAX_AGE:
        detail = f"exp is {expires - issued:.0f} s after iat; the limit is {MAX_AGE} s"
        raise InvalidClient(detail=detail, reason="lifetime_too_long")
    return expires


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate; absent is None, anything else that is no number is refused (a bool is no number)."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in (int, float) or value < 0:
        raise InvalidClient(detail=f"{name} is not a number of seconds", reason=f"{name}_malformed")
    return float(value)
