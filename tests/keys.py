"""Key pairs for tests, made in memory; the costly ones once a run."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authserver.protocol.jwks import thumbprint

_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key with its algorithm and kid; signs as a foreign client would, by PyJWT."""

    private: Any
    algorithm: str
    kid: str

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, with kid, use and alg."""
        exporters: dict[str, Any] = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}
        public = exporters[self.algorithm[:2]].to_jwk(self.private.public_key(), as_dict=True)
        members = {name: value for name, value in public.items() if name not in ("key_ops", "alg", "use")}
        return {**members, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    @property
    def thumbprint(self) -> str:
        """The RFC 7638 thumbprint of the public half."""
        return thumbprint(self.jwk)

    def sign(self, claims: dict[str, Any], *, header: dict[str, Any] | None = None) -> str:
        """Return a compact JWS; `header` adds members, None as a value leaves a member out."""
        members = {"kid": self.kid, "typ": "JWT", **(header or {})}
        # PyJWT leaves out a typ of None by itself, and would put in its own for a missing one.
        members = {name: value for name, value in members.items() if value is not None or name == "typ"}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=members)


def new_key(algorithm: str = "ES384", *, kid: str = "key-1", bits: int = 2048) -> KeyPair:
    """Make a key pair that nothing else uses."""
    if algorithm in _CURVES:
        return KeyPair(ec.generate_private_key(_CURVES[algorithm]), algorithm, kid)
    if algorithm == "EdDSA":
        return KeyPair(ed25519.Ed25519PrivateKey.generate(), algorithm, kid)
    return KeyPair(rsa.generate_private_key(public_exponent=65537, key_size=bits), algorithm, kid)


def key(algorithm: str = "ES384", kid: str = "key-1") -> KeyPair:
    """Return the run's key pair for this algorithm and kid."""
    return _key_of_this_run(algorithm, kid)


@cache
def _key_of_this_run(algorithm: str, kid: str) -> KeyPair:
    # Its own function: the cache tells `key()` from `key("ES384")`.
    return new_key(algorithm, kid=kid)
