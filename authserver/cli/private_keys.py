"""Clients' key pairs on the client's side: make one, write it out, read it, sign assertions (RFC 7523 section 3)."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from authserver.cli.failures import Failure
from authserver.protocol.jwks import thumbprint
from authserver.protocol.token_request import CLIENT_CREDENTIALS, JWT_BEARER

ALGORITHMS = ("ES384", "RS384", "ES256", "RS256")
LIFETIME = 240
"""Seconds that an assertion of ours lives; SMART permits 300."""

_RSA_BITS = 3072
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}
_ALGORITHM_OF_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key with the algorithm and the kid that it signs with."""

    private: PrivateKey
    algorithm: str
    kid: str

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public half as it is registered or published: kid, use and alg included."""
        return {**_public_members(self.private), "kid": self.kid, "use": "sig", "alg": self.algorithm}

    @property
    def pem(self) -> str:
        """The private half, unencrypted PKCS #8."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode("ascii")


def new_key(algorithm: str) -> KeyPair:
    """Make a key pair; its kid is the RFC 7638 thumbprint."""
    private: PrivateKey
    if algorithm in _CURVES:
        private = ec.generate_private_key(_CURVES[algorithm])
    else:
        private = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
    return KeyPair(private, algorithm, thumbprint(_public_members(private)))


def read_key(data: bytes, *, name: str, algorithm: str | None = None) -> KeyPair:
    """Read a private key, PEM or JWK; without a kid of its own it goes by its thumbprint.

    `algorithm` decides over the key's own, which an RSA key in a PEM file has not. Raises Failure that calls
    the key by `name`, also when the algorithm is none of this kind of key.
    """
    kid, own = None, None
    try:
        if data.lstrip().startswith(b"{"):
            jwk = json.loads(data)
            private, kid, own = _private_of_jwk(jwk), jwk.get("kid"), jwk.get("alg")
        else:
            private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidKeyError, KeyError) as error:
        raise Failure(f"{name} is no private key: it must be an unencrypted PEM file or a JWK.") from error
    if not isinstance(private, PrivateKey):
        raise Failure(f"{name} is no private key that signs assertions.")
    chosen = algorithm or own or algorithm_of(private)
    if chosen[:2] != algorithm_of(private)[:2] and chosen[:2] != "PS":
        raise Failure(f"{name} does not sign by {chosen}.")
    return KeyPair(private, chosen, kid or thumbprint(_public_members(private)))


def make_assertion(pair: KeyPair, *, client_id: str, audience: str, now: int) -> str:
    """Return a new assertion of the client for the token endpoint; `now` in epoch seconds."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + LIFETIME,
    }
    headers = {"kid": pair.kid, "typ": "JWT"}
    return jwt.encode(claims, pair.private, algorithm=pair.algorithm, headers=headers)


def token_form(assertion: str, *, scope: str | None) -> dict[str, str]:
    """Return the form of a token request (SMART App Launch 2.2, "Obtain access token")."""
    form = {
        "grant_type": CLIENT_CREDENTIALS,
        "client_assertion_type": JWT_BEARER,
        "client_assertion": assertion,
    }
    return form if scope is None else {**form, "scope": scope}


def default_path(client_id: str) -> Path:
    """Return where the key of a new client goes when nothing else is said."""
    return Path(f"{client_id}.pem")


def _private_of_jwk(jwk: dict[str, Any]) -> object:
    if jwk["kty"] == "EC":
        return ECAlgorithm.from_jwk(jwk)
    return RSAAlgorithm.from_jwk(jwk) if jwk["kty"] == "RSA" else OKPAlgorithm.from_jwk(jwk)


def _public_members(private: PrivateKey) -> dict[str, Any]:
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return _without_usage(ECAlgorithm.to_jwk(private.public_key(), as_dict=True))
    if isinstance(private, rsa.RSAPrivateKey):
        return _without_usage(RSAAlgorithm.to_jwk(private.public_key(), as_dict=True))
    return _without_usage(OKPAlgorithm.to_jwk(private.public_key(), as_dict=True))


def _without_usage(jwk: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in ("key_ops", "use", "alg", "kid")}


def algorithm_of(private: PrivateKey) -> str:
    """Return the algorithm that a key signs by when nothing else is said."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return _ALGORITHM_OF_CURVE.get(private.curve.name, "ES384")
    return "RS384" if isinstance(private, rsa.RSAPrivateKey) else "EdDSA"
