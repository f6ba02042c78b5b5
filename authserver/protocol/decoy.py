"""Keys of nobody, and a client that is nobody: to check a signature against when there is no key to check it with.

An unknown client then costs what a known one does, and the time of a refusal tells no stranger which clients exist
(threat E07).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authserver.errors import InvalidJws
from authserver.protocol import jose
from authserver.protocol.client import Client
from authserver.protocol.jwks import JwkSet
from authserver.protocol.key_policy import USUAL_EXPONENT
from authserver.protocol.scopes import ScopeSet
from authserver.protocol.token_request import JWT_BEARER

_CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_RSA_BITS = (2048, 3072, 4096)
_SEED = b"authserver decoy"


def _rsa_keys() -> Mapping[int, jose.AnyPublicKey]:
    return {bits: rsa.RSAPublicNumbers(USUAL_EXPONENT, _modulus(bits)).public_key() for bits in _RSA_BITS}


def _curve_keys() -> Mapping[str, jose.AnyPublicKey]:
    keys: dict[str, jose.AnyPublicKey] = {
        name: ec.derive_private_key(int.from_bytes(_SEED), curve).public_key() for name, curve in _CURVES.items()
    }
    return keys | {"Ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(2 * _SEED).public_key()}


@dataclass(frozen=True, slots=True)
class Decoys:
    """One public key for each RSA size and each curve. What they verify proves nothing and is told to nobody."""

    rsa_keys: Mapping[int, jose.AnyPublicKey] = field(default_factory=_rsa_keys)
    curve_keys: Mapping[str, jose.AnyPublicKey] = field(default_factory=_curve_keys)

    def verify(self, jws: jose.UnverifiedJws, *, check: jose.SignatureCheck = jose.check_signature) -> None:
        """Check the signature by a decoy of the header's algorithm, for the time alone; the outcome is dropped."""
        curve = jose.ALGORITHMS[jws.algorithm].curve
        bits = 8 * len(jws.signature)
        usual = self.rsa_keys[_RSA_BITS[0]]
        key = self.rsa_keys.get(bits, usual) if curve is None else self.curve_keys[curve]
        try:
            check(jws, key)
        except InvalidJws:
            return


def nobody(client_id: str, algorithms: tuple[str, ...]) -> Client:
    """Return a client with nothing of its own and no key, which stands for one that is not there."""
    return Client(
        id=client_id,
        generation=0,
        active=True,
        grant_types=frozenset(),
        scope=ScopeSet(),
        assertion_types=frozenset({JWT_BEARER}),
        token_lifetime=0,
        audience=(),
        algorithms=algorithms,
        jwks_uri=None,
        jwks=JwkSet(()),
    )


def _modulus(bits: int) -> int:
    """Return an odd number of this length; its factors matter to nobody, the arithmetic is the same."""
    blocks = (hashlib.sha512(_SEED + bytes([bits // 256, index])).digest() for index in range(bits // 512))
    return int.from_bytes(b"".join(blocks)) | 1 | 1 << (bits - 1)
