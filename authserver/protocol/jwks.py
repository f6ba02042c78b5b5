"""Read a client's JWK Set and choose the one key that may verify an assertion. Knows no network.

One odd key never spoils the others: what cannot be used is kept with its reason, so that a refusal can be
explained. Source: RFC 7517; SMART App Launch 2.2, "Registering a client" and signature step 3.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authserver.errors import InvalidClient, InvalidJws
from authserver.protocol import jose, strict_json
from authserver.protocol.key_policy import MAX_RSA_BITS, KeyRules, has_small_order, rsa_weakness
from authserver.protocol.known_keys import PUBLICLY_KNOWN

MAX_KEYS = 32
MAX_KID_LENGTH = 256
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_ZERO_IN_FRONT = re.compile("A[A-P]")  # a first byte of 0 in base64url: six bits of one letter and two of the next
_THUMBPRINT_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_CURVES: Mapping[str, tuple[ec.EllipticCurve, int]] = {
    "P-256": (ec.SECP256R1(), 32),
    "P-384": (ec.SECP384R1(), 48),
    "P-521": (ec.SECP521R1(), 66),
}


class UnusableKey(ValueError):
    """A JWK that must not verify anything; `reason` is a stable code, the message says what is wrong."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that passed every check. `algorithm` is set when its owner bound it to one (RFC 7517 section 4.4)."""

    kid: str | None
    kty: str
    curve: str | None
    algorithm: str | None
    thumbprint: str
    key: jose.AnyPublicKey


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A key of the set that is not used: its place in the list, its kid when it has one, and why."""

    index: int
    kid: str | None
    kty: str | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class JwkSet:
    """The keys of one client, usable and refused."""

    keys: tuple[PublicKey, ...]
    refused: tuple[RefusedKey, ...] = ()

    def has(self, kid: str) -> bool:
        """Say whether a key of the set answers to this kid, usable or not."""
        return any(kid in (key.kid, key.thumbprint) for key in self.keys) or any(r.kid == kid for r in self.refused)

    @property
    def secrets(self) -> tuple[RefusedKey, ...]:
        """The private and symmetric keys that its owner published."""
        return tuple(refused for refused in self.refused if refused.reason in ("private_key", "symmetric_key"))


def parse_document(data: bytes, *, rules: KeyRules) -> JwkSet:
    """Parse a fetched document. Raises InvalidClient (`jwks_malformed`) when it is no JWK Set at all."""
    try:
        document = strict_json.loads(data, max_depth=8)
    except strict_json.MalformedJson as error:
        raise InvalidClient(detail=f"JWKS: {error}", reason="jwks_malformed") from error
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise InvalidClient(detail="JWKS has no list of keys", reason="jwks_malformed")
    return parse_keys(keys, rules=rules)


def parse_keys(keys: list[Any], *, rules: KeyRules) -> JwkSet:
    """Parse the members of `keys`, each by itself. Raises InvalidClient (`jwks_malformed`) for over 32 keys."""
    if len(keys) > MAX_KEYS:
        raise InvalidClient(detail=f"JWKS has {len(keys)} keys; the limit is {MAX_KEYS}", reason="jwks_malformed")
    usable, refused = [], []
    for index, jwk in enumerate(keys):
        try:
            usable.append(parse_key(jwk, rules=rules))
        except UnusableKey as error:
            refused.append(_refused(index, jwk, error))
    return JwkSet(tuple(usable), tuple(refused))


def parse_key(jwk: object, *, rules: KeyRules) -> PublicKey:
    """Parse one JWK and judge it; raises UnusableKey."""
    if not isinstance(jwk, dict):
        raise UnusableKey("key_malformed", "a key is a JSON object")
    kty, kid = jwk.get("kty"), jwk.get("kid")
    if kty == "oct":
        raise UnusableKey("symmetric_key", "a symmetric key proves nothing; publish a public key")
    if PRIVATE_MEMBERS & jwk.keys():
        raise UnusableKey("private_key", "the key has private members; it is compromised, publish a new public key")
    if not isinstance(kty, str) or kty not in _THUMBPRINT_MEMBERS:
        raise UnusableKey("kty_unknown", "kty must be RSA, EC or OKP")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_LENGTH):
        raise UnusableKey("key_malformed", f"kid must be a string of 1 to {MAX_KID_LENGTH} characters")
    _check_purpose(jwk)
    key, curve = _KEY_READERS[kty](jwk, rules)
    own = thumbprint(jwk)
    origin = PUBLICLY_KNOWN.get(_canonical_thumbprint(jwk, own))
    if origin is not None and not rules.publicly_known:
        raise UnusableKey("key_publicly_known", f"everybody has the private half ({origin}); make a key of your own")
    return PublicKey(kid, kty, curve, _bound_algorithm(jwk, kty, curve), own, key)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the RFC 7638 thumbprint (SHA-256, base64url) of a JWK with a known kty."""
    required = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    return jose.encode_segment(hashlib.sha256(_CANONICAL.encode(required).encode("utf-8")).digest())


def _canonical_thumbprint(jwk: Mapping[str, Any], own: str) -> str:
    """Return the thumbprint of the key itself: RSA numbers may come with zeros in front, the rest has one spelling."""
    if jwk["kty"] != "RSA" or not any(_ZERO_IN_FRONT.match(jwk[name]) for name in ("n", "e")):
        return own
    numbers = {name: jose.decode_segment(jwk[name]).lstrip(b"\0") for name in ("n", "e")}
    return thumbprint({**jwk, **{name: jose.encode_segment(octets) for name, octets in numbers.items()}})


def select(keys: JwkSet, *, kid: str, algorithm: str) -> PublicKey:
    """Return the single key that this kid and algorithm name.

    First by `kid`, then by RFC 7638 thumbprint. None or several: InvalidClient (`key_not_found`, `key_ambiguous`,
    `key_unusable`, `key_publicly_known`, `key_algorithm`). SMART: "if the number of keys is not one, the verification
    fails".
    """
    wanted = jose.ALGORITHMS[algorithm]
    named = [key for key in keys.keys if key.kid == kid and key.kty == wanted.kty]
    refused = [key for key in keys.refused if key.kid == kid and key.kty in (wanted.kty, None)]
    if not named and not refused:
        named = [key for key in keys.keys if key.thumbprint == kid and key.kty == wanted.kty]
    if len(named) + len(refused) > 1:
        raise InvalidClient(detail=f"several keys have kid {kid[:80]!r}", reason="key_ambiguous")
    if refused:
        reason = refused[0].reason if refused[0].reason == "key_publicly_known" else "key_unusable"
        raise InvalidClient(detail=f"kid {kid[:80]!r}: {refused[0].message}", reason=reason)
    if not named:
        raise InvalidClient(detail=f"no {wanted.kty} key has kid {kid[:80]!r}", reason="key_not_found")
    return _fitting(named[0], wanted)


def verify(token: str, keys: JwkSet, *, algorithms: tuple[str, ...]) -> jose.UnverifiedJws:
    """Parse a compact JWS, choose its key from the set and check the signature; return the verified parts.

    Raises InvalidJws or InvalidClient, nothing else. The header must have a `kid`.
    """
    jws = jose.parse(token, algorithms=algorithms)
    kid = jws.header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:
        raise InvalidJws(detail="header has no kid", reason="kid_missing")
    jose.check_signature(jws, select(keys, kid=kid, algorithm=jws.algorithm).key)
    return jws


def _refused(index: int, jwk: object, error: UnusableKey) -> RefusedKey:
    members = jwk if isinstance(jwk, dict) else {}
    kid, kty = (value if isinstance(value := members.get(name), str) else None for name in ("kid", "kty"))
    return RefusedKey(index, kid, kty, error.reason, str(error))


def _fitting(key: PublicKey, wanted: jose.Algorithm) -> PublicKey:
    # RFC 8725 section 3.1: one key, one algorithm; RFC 7518 section 3.4: the algorithm fixes the curve.
    if key.algorithm not in (None, wanted.name) or key.curve != wanted.curve:
        detail = f"key is for {key.algorithm or key.curve}, the assertion says {wanted.name}"
        raise InvalidClient(detail=detail, reason="key_algorithm")
    return key


def _check_purpose(jwk: Mapping[str, Any]) -> None:
    if jwk.get("use", "sig") != "sig":
        raise UnusableKey("key_use", 'use must be "sig"')
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise UnusableKey("key_use", 'key_ops must contain "verify"')


def _bound_algorithm(jwk: Mapping[str, Any], kty: str, curve: str | None) -> str | None:
    name = jwk.get("alg")
    if name is None:
        return None
    known = jose.ALGORITHMS.get(name) if isinstance(name, str) else None
    if known is None or known.kty != kty or known.curve != curve:
        raise UnusableKey("key_algorithm", "alg is no signature algorithm for this kind of key")
    return known.name


def _number(jwk: Mapping[str, Any], name: str, *, max_bytes: int) -> int:
    return int.from_bytes(_octets(jwk, name, max_bytes=max_bytes))


def _octets(jwk: Mapping[str, Any], name: str, *, max_bytes: int) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 2 * max_bytes:
        raise UnusableKey("key_malformed", f"{name} must be base64url text of at most {max_bytes} bytes")
    try:
        return jose.decode_segment(value)
    except InvalidJws as error:
        raise UnusableKey("key_malformed", f"{name} is not base64url without padding") from error


def _rsa_key(jwk: Mapping[str, Any], rules: KeyRules) -> tuple[jose.AnyPublicKey, None]:
    n = _number(jwk, "n", max_bytes=MAX_RSA_BITS // 8 + 1)
    e = _number(jwk, "e", max_bytes=MAX_RSA_BITS // 8 + 1)
    weakness = rsa_weakness(n, e, rules)
    if weakness is not None:
        raise UnusableKey(weakness, _WEAKNESSES[weakness])
    return rsa.RSAPublicNumbers(e, n).public_key(), None


def _ec_key(jwk: Mapping[str, Any], _rules: KeyRules) -> tuple[jose.AnyPublicKey, str]:
    name = jwk.get("crv")
    if not isinstance(name, str) or name not in _CURVES:
        raise UnusableKey("key_curve", "crv must be P-256, P-384 or P-521")
    curve, size = _CURVES[name]
    x, y = (_octets(jwk, member, max_bytes=size) for member in ("x", "y"))
    # RFC 7518 section 6.2.1.2: coordinates have the full length of the field.
    if len(x) != size or len(y) != size:
        raise UnusableKey("key_malformed", f"x and y of {name} are {size} bytes each")
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key(), name
    except ValueError as error:
        raise UnusableKey("key_malformed", "the point is not on the curve") from error


def _okp_key(jwk: Mapping[str, Any], _rules: KeyRules) -> tuple[jose.AnyPublicKey, str]:
    if jwk.get("crv") != "Ed25519":
        raise UnusableKey("key_curve", "crv of an OKP key must be Ed25519")
    octets = _octets(jwk, "x", max_bytes=32)
    if has_small_order(octets):
        raise UnusableKey("okp_small_order", "x of Ed25519 is a point of small order")
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(octets), "Ed25519"
    except ValueError as error:
        raise UnusableKey("key_malformed", "x of Ed25519 is 32 bytes") from error


_KEY_READERS = {"RSA": _rsa_key, "EC": _ec_key, "OKP": _okp_key}
_WEAKNESSES = {
    "rsa_size": "an RSA key has 2048 to 4096 bits",
    "rsa_exponent": "the RSA exponent must be 65537, or odd and 3 to 2^32 where the server admits others",
    "rsa_small_factor": "the RSA modulus has a small factor",
    "rsa_roca": "the RSA key has the ROCA weakness (CVE-2017-15361); make a new one",
    "rsa_close_primes": "the RSA primes are too close to each other; make a new key",
}
