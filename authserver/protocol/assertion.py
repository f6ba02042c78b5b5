"""Every rule about a client's assertion (private_key_jwt) that needs no network and no storage.

Sources: SMART App Launch 2.2 "Client Authentication: Asymmetric"; RFC 7523 section 3; RFC 8725. The order of use is
peek() -> check_header() -> verify(); only verify() returns a VerifiedAssertion. Authentication stops at the first
rule that is broken; the account of an assertion (see account.py) goes through the same rules one by one.
"""

import math
from collections.abc import Callable, Mapping
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
class Case:
    """What the rules judge: an assertion, the client that it names, this server, and the moment (epoch seconds)."""

    assertion: UnverifiedAssertion
    client: Client
    expected: Expected
    now: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """What is left of an assertion to act on. `until` (epoch seconds) is the last moment it could be accepted."""

    client_id: str
    jti: str
    until: int


VerifiedAssertion = NewType("VerifiedAssertion", Assertion)
Rule = Callable[[Case], None]
"""Returns when the case keeps the rule; raises InvalidClient with the reason when it does not."""


def peek(token: str, *, algorithms: tuple[str, ...]) -> UnverifiedAssertion:
    """Read what the assertion claims, trusting nothing. Raises InvalidJws or InvalidClient."""
    jws = jose.parse(token, algorithms=algorithms)
    claims = jws.claims()
    return UnverifiedAssertion(jws, claims, client_id_of(claims))


def client_id_of(claims: Mapping[str, Any]) -> str:
    """Return the client that the claims name; raises InvalidClient (`sub_malformed`)."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or RESOURCE_ID.fullmatch(subject) is None:
        raise InvalidClient(detail="sub is no client id", reason="sub_malformed")
    return subject


def check_header(case: Case) -> str:
    """Apply the rules of the header that need the registration; return the kid.

    Raises InvalidClient (`typ_not_allowed`, `alg_not_registered`, `kid_missing`, `jku_mismatch`).
    """
    for rule in HEADER_RULES.values():
        rule(case)
    kid: str = case.assertion.jws.header["kid"]
    return kid


def verify(
    case: Case, key: PublicKey, *, check_signature: jose.SignatureCheck = jose.check_signature
) -> VerifiedAssertion:
    """Check signature and claims; return what is proven. Raises InvalidClient with the reason of the first failure."""
    check_signature(case.assertion.jws, key.key)
    for rule in CLAIM_RULES.values():
        rule(case)
    claims = case.assertion.claims
    # The claim outlives every moment at which any server of ours, its clock a little slow, could accept it.
    until = math.ceil(claims["exp"]) + EXPIRED_LEEWAY + FUTURE_LEEWAY
    return VerifiedAssertion(Assertion(case.client.id, claims["jti"], until))


def allowed_audiences(case: Case) -> frozenset[str]:
    """Return whom the assertion may address."""
    # RFC 7523bis: an assertion of this type names the issuer and nothing else.
    typed = _typ(case.assertion.jws.header) == "client-authentication+jwt"
    issuer_only = case.client.issuer_audience_only or typed
    return frozenset({case.expected.issuer}) if issuer_only else case.expected.audiences


def _check_typ(case: Case) -> None:
    header = case.assertion.jws.header
    if _typ(header) not in _TYPES:
        raise InvalidClient(detail=f"typ {str(header.get('typ'))[:40]!r}", reason="typ_not_allowed")


def _check_registered_algorithm(case: Case) -> None:
    algorithm = case.assertion.jws.header.get("alg")
    if algorithm not in case.client.algorithms:
        raise InvalidClient(detail=f"alg {str(algorithm)[:40]} is not registered", reason="alg_not_registered")


def _check_jku(case: Case) -> None:
    # SMART: jku, when present, is the registered address to the byte; it is never fetched from here.
    header, registered = case.assertion.jws.header, case.client.jwks_uri
    if "jku" in header and (registered is None or header["jku"] != registered):
        raise InvalidClient(detail="jku is not the registered jwks_uri", reason="jku_mismatch")


def _check_kid(case: Case) -> None:
    kid = case.assertion.jws.header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:
        raise InvalidClient(detail="kid is missing or no short string", reason="kid_missing")


def _check_issuer(case: Case) -> None:
    claims = case.assertion.claims
    if claims.get("iss") != case.client.id or claims.get("sub") != case.client.id:
        raise InvalidClient(detail="iss and sub must both be the client id", reason="iss_not_sub")


def _check_audience(case: Case) -> None:
    audience = case.assertion.claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    allowed = allowed_audiences(case)
    # RFC 7523 section 3 (3): simple string comparison with what is configured; the Host header is the caller's.
    if not isinstance(audience, str) or audience not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise InvalidClient(detail=f"aud is not {wanted}", reason="aud_mismatch")


def _check_expiry(case: Case) -> None:
    expires, now = _number(case.assertion.claims, "exp"), case.now
    if expires is None:
        raise InvalidClient(detail="exp is missing", reason="exp_missing")
    if expires <= now - EXPIRED_LEEWAY:
        raise InvalidClient(detail=f"exp is {now - expires:.0f} s ago", reason="exp_past")
    if expires > now + MAX_LIFETIME + FUTURE_LEEWAY:
        detail = f"exp is {expires - now:.0f} s ahead; the limit is {MAX_LIFETIME} s"
        raise InvalidClient(detail=detail, reason="exp_too_far")


def _check_issued(case: Case) -> None:
    _check_begun(case, "iat")


def _check_not_before(case: Case) -> None:
    _check_begun(case, "nbf")


def _check_begun(case: Case, name: str) -> None:
    moment = _number(case.assertion.claims, name)
    if moment is not None and moment > case.now + FUTURE_LEEWAY:
        raise InvalidClient(detail=f"{name} is {moment - case.now:.0f} s ahead", reason=f"{name}_future")


def _check_lifetime(case: Case) -> None:
    issued, expires = (_number(case.assertion.claims, name) for name in ("iat", "exp"))
    if issued is not None and expires is not None and expires - issued > MAX_AGE:
        detail = f"exp is {expires - issued:.0f} s after iat; the limit is {MAX_AGE} s"
        raise InvalidClient(detail=detail, reason="lifetime_too_long")


def _check_jti(case: Case) -> None:
    jti = case.assertion.claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_LENGTH:
        raise InvalidClient(detail="jti is missing or no short string", reason="jti_missing")


def _typ(header: Mapping[str, Any]) -> object:
    if "typ" not in header:
        return None
    typ = header["typ"]
    return typ.lower() if isinstance(typ, str) else ""


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate; absent is None, anything else that is no number is refused (a bool is no number)."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in (int, float) or value < 0:
        raise InvalidClient(detail=f"{name} is not a number of seconds", reason=f"{name}_malformed")
    return float(value)


HEADER_RULES: Mapping[str, Rule] = {
    "typ": _check_typ,
    "alg_registered": _check_registered_algorithm,
    "jku": _check_jku,
    "kid": _check_kid,
}
"""The rules of the header, by the name of the check, in the order in which they are applied."""

CLAIM_RULES: Mapping[str, Rule] = {
    "iss": _check_issuer,
    "aud": _check_audience,
    "exp": _check_expiry,
    "iat": _check_issued,
    "nbf": _check_not_before,
    "lifetime": _check_lifetime,
    "jti": _check_jti,
}
"""The rules of the claims, likewise; what they say is trusted only after the signature was checked."""
