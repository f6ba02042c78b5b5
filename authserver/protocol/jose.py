"""The strict compact JWS: shape, header rules, algorithms, signature. Signatures by `cryptography`, the rest is ours.

Everything that a JOSE library leaves to configuration is fixed here: one spelling of base64url, one
reading of the header, no key from the token itself, one algorithm for one key (RFC 7515, RFC 8725).
"""

import binascii
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from authserver.errors import InvalidJws
from authserver.protocol import strict_json

MAX_TOKEN_LENGTH = 16_384
_STANDARD, _URLSAFE = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")  # RFC 4648 section 5
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]*)")
# A key or its address inside the token is the sender's choice, not the client's registration (RFC 8725 section 3.10);
# b64, zip and crit change what the bytes mean.
FORBIDDEN_HEADERS = ("jwk", "x5u", "x5c", "crit", "b64", "zip", "cty", "enc", "epk", "p2c")

AnyPublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Check = Callable[[Any, bytes, bytes], None]


SignatureCheck = Callable[["UnverifiedJws", AnyPublicKey], None]
"""check_signature(), or what answers like it."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A signature algorithm of RFC 7518: the key type and curve it fixes, and its check."""

    name: str
    kty: str
    check: Check
    curve: str | None = None


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A well-shaped token that nobody has verified: its header, payload bytes and signature."""

    header: Mapping[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        """The `alg` of the header, a string after parse()."""
        return cast(str, self.header["alg"])

    def claims(self) -> Mapping[str, Any]:
        """Return the payload as a JSON object; raises InvalidJws when it is none."""
        return read_claims(self.payload)


def parse(token: str, *, algorithms: Collection[str]) -> UnverifiedJws:
    """Take a compact JWS apart and apply every rule that needs no key.

    `algorithms` is the allow-list of the caller. Raises InvalidJws (reasons `jws_too_large`, `jws_malformed`,
    `jws_header`, `alg_not_allowed`). Source: RFC 7515 section 5.2, RFC 8725 section 3.
    """
    match, header = _opened(token)
    check_algorithm(header, algorithms)
    check_members(header)
    return _whole(match, header)


def read(token: str) -> UnverifiedJws:
    """Take a compact JWS apart by its shape alone, to say what it holds: no rule about the header is applied.

    Raises InvalidJws (`jws_too_large`, `jws_malformed`, `jws_header`).
    """
    match, header = _opened(token)
    return _whole(match, header)


def read_claims(payload: bytes) -> Mapping[str, Any]:
    """Return a payload as a JSON object; raises InvalidJws (`jws_claims`) when it is none."""
    return _json_object(payload, what="claims")


def check_algorithm(header: Mapping[str, Any], algorithms: Collection[str]) -> None:
    """Refuse what is not in the caller's allow-list (`alg_not_allowed`)."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms or algorithm not in ALGORITHMS:
        raise InvalidJws(detail=f"alg {str(algorithm)[:40]!r}", reason="alg_not_allowed")


def check_members(header: Mapping[str, Any]) -> None:
    """Refuse a header that brings a key along or changes what the bytes mean (`jws_header`)."""
    forbidden = [name for name in FORBIDDEN_HEADERS if name in header]
    if forbidden:
        raise InvalidJws(detail=f"header has {', '.join(forbidden)}", reason="jws_header")


def check_signature(jws: UnverifiedJws, key: AnyPublicKey) -> None:
    """Check the signature by the header's algorithm; raises InvalidJws (`signature_invalid`) when it is wrong.

    The caller has made sure that the key fits the algorithm.
    """
    try:
        ALGORITHMS[jws.algorithm].check(key, jws.signature, jws.signing_input)
    except InvalidSignature as error:
        raise InvalidJws(detail="signature does not verify", reason="signature_invalid") from error


def decode_segment(segment: str) -> bytes:
    """Decode one base64url segment without padding; raises InvalidJws for any second spelling of the same bytes."""
    try:
        data = binascii.a2b_base64(segment.encode("ascii").translate(_STANDARD) + b"=" * (-len(segment) % 4))
    except ValueError as error:
        raise InvalidJws(detail="segment is not base64url") from error
    if encode_segment(data) != segment:
        raise InvalidJws(detail="segment is not canonical base64url")
    return data


def encode_segment(data: bytes) -> str:
    """Encode bytes as base64url without padding (RFC 7515 section 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_URLSAFE).rstrip(b"=").decode("ascii")


def _json_object(data: bytes, *, what: str) -> dict[str, Any]:
    try:
        value = strict_json.loads(data, max_depth=8)
    except strict_json.MalformedJson as error:
        raise InvalidJws(detail=f"{what}: {error}", reason=f"jws_{what}") from error
    if not isinstance(value, dict):
        raise InvalidJws(detail=f"{what} is not an object", reason=f"jws_{what}")
    return value


def _opened(token: str) -> tuple[re.Match[str], Mapping[str, Any]]:
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidJws(detail=f"{len(token)} characters", reason="jws_too_large")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise InvalidJws(detail="not three base64url segments")
    return match, _header(match[1])


def _header(segment: str) -> Mapping[str, Any]:
    return _read_header(segment) if len(segment) > _SHORT else _known_header(segment)


def _read_header(segment: str) -> Mapping[str, Any]:
    return MappingProxyType(_json_object(decode_segment(segment), what="header"))


_SHORT = 256
"""Characters of a header that is worth remembering: a client sends the same one each time."""

_known_header = lru_cache(maxsize=1_024)(_read_header)


def _whole(match: re.Match[str], header: Mapping[str, Any]) -> UnverifiedJws:
    return UnverifiedJws(
        header=header,
        payload=decode_segment(match[2]),
        signing_input=match.string[: match.end(2)].encode("ascii"),
        signature=decode_segment(match[3]),
    )


def _rsa_pkcs1(digest: hashes.HashAlgorithm) -> Check:
    scheme = padding.PKCS1v15()
    return lambda key, signature, data: key.verify(signature, data, scheme, digest)


def _rsa_pss(digest: hashes.HashAlgorithm) -> Check:
    # RFC 7518 section 3.5: the salt is as long as the hash.
    scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
    return lambda key, signature, data: key.verify(signature, data, scheme, digest)


def _ecdsa(digest: hashes.HashAlgorithm, size: int) -> Check:
    scheme = ec.ECDSA(digest)

    def check(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> None:
        # RFC 7518 section 3.4: R and S at their full length, never DER.
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        key.verify(encode_dss_signature(r, s), data, scheme)

    return check


def _ed25519(key: ed25519.Ed25519PublicKey, signature: bytes, data: bytes) -> None:
    key.verify(signature, data)


ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("RS256", "RSA", _rsa_pkcs1(hashes.SHA256())),
        Algorithm("RS384", "RSA", _rsa_pkcs1(hashes.SHA384())),
        Algorithm("RS512", "RSA", _rsa_pkcs1(hashes.SHA512())),
        Algorithm("PS256", "RSA", _rsa_pss(hashes.SHA256())),
        Algorithm("PS384", "RSA", _rsa_pss(hashes.SHA384())),
        Algorithm("PS512", "RSA", _rsa_pss(hashes.SHA512())),
        Algorithm("ES256", "EC", _ecdsa(hashes.SHA256(), 32), "P-256"),
        Algorithm("ES384", "EC", _ecdsa(hashes.SHA384(), 48), "P-384"),
        Algorithm("ES512", "EC", _ecdsa(hashes.SHA512(), 66), "P-521"),
        Algorithm("EdDSA", "OKP", _ed25519, "Ed25519"),
        Algorithm("Ed25519", "OKP", _ed25519, "Ed25519"),
    )
}
"""Every algorithm that a setting may allow; symmetric ones and `none` are not among them and cannot be."""

DEFAULT_ALGORITHMS = ("RS384", "ES384", "RS256", "ES256")
