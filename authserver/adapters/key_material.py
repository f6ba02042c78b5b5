"""Private keys as files: make one, read one, sign with it. Knows nothing of which key signs when.

A key that somebody else could have read or planted is worse than none, so reading refuses it.
"""

import os
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authserver.protocol import jose, jwks

SigningAlgorithm = Literal["ES256", "RS256"]
ALGORITHMS: tuple[SigningAlgorithm, ...] = ("ES256", "RS256")
RSA_BITS = 2048
"""Length of a new RSA key, and the least that is taken (RFC 7518 section 3.3)."""

MAX_FILE_BYTES = 65_536


class KeyFilesError(Exception):
    """The key files cannot be used; the message names the file and says what to do. It never quotes a key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A loaded key. `jwk` is its public half, as it is published; `sign` returns the JWS signature of some bytes."""

    kid: str
    algorithm: SigningAlgorithm
    jwk: Mapping[str, str]
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    sign: Callable[[bytes], bytes]


def read_private(path: Path) -> bytes:
    """Return the content of a file that is its owner's alone. Raises KeyFilesError, OSError."""
    with path.open("rb") as file:  # status and bytes of the same file, whatever the name points to meanwhile
        require_private(path, os.fstat(file.fileno()))
        return file.read(MAX_FILE_BYTES)


def write_private(path: Path, data: bytes, *, folder: int) -> None:
    """Write a file of mode 0600 so that after any crash there is either the whole of it or what was there before.

    `folder` is a descriptor of the directory. Raises OSError.
    """
    unfinished = path.with_name(f".new-{secrets.token_hex(8)}")
    with open(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    os.fsync(folder)


def require_private(path: Path, status: os.stat_result) -> None:
    """Raise KeyFilesError unless the file or directory belongs to this process's user and is open to nobody else."""
    if status.st_uid != os.geteuid():
        raise KeyFilesError(f"{path} belongs to another user: run `chown -R {os.geteuid()} {path}` or move it away.")
    if status.st_mode & 0o077:
        mode = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise KeyFilesError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):o}): if nobody can have read or written it, "
            f"run `chmod {mode} {path}`; otherwise delete the keys and let new ones be made."
        )


def load(path: Path) -> SigningKey:
    """Return the key of a file `<kid>.pem`. Raises KeyFilesError, OSError."""
    key = _key(_parse(path, read_private(path)), path=path)
    if path.name != f"{key.kid}.pem":
        raise KeyFilesError(f"{path} holds the key {key.kid}: rename it to {key.kid}.pem, or move it away.")
    return key


def make(algorithm: SigningAlgorithm) -> tuple[str, bytes]:
    """Return the kid of a new private key, and the key as PEM (PKCS #8, not encrypted)."""
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _key(private, path=Path()).kid, pem


def _parse(path: Path, pem: bytes) -> object:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "is empty" if not pem else "is no unencrypted PKCS #8 private key"
        raise KeyFilesError(f"{path} {what}: restore it from a copy, or move it away.") from error


def _key(private: object, *, path: Path) -> SigningKey:
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return _es256(private)
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= RSA_BITS:
        return _rs256(private)
    raise KeyFilesError(f"{path}: keys are EC P-256 or RSA of at least {RSA_BITS} bits; move this one away.")


def _es256(private: ec.EllipticCurvePrivateKey) -> SigningKey:
    scheme = ec.ECDSA(hashes.SHA256())

    def sign(data: bytes) -> bytes:
        # RFC 7518 section 3.4: R and S at their full length, not the DER that the library returns.
        r, s = decode_dss_signature(private.sign(data, scheme))
        return r.to_bytes(32) + s.to_bytes(32)

    public = private.public_key()
    point = public.public_numbers()
    members = {"kty": "EC", "crv": "P-256", "x": _number(point.x, size=32), "y": _number(point.y, size=32)}
    kid = jwks.thumbprint(members)
    return SigningKey(kid, "ES256", {"kid": kid, "use": "sig", "alg": "ES256"} | members, public, sign)


def _rs256(private: rsa.RSAPrivateKey) -> SigningKey:
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    public = private.public_key()
    numbers = public.public_numbers()
    members = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    kid = jwks.thumbprint(members)
    jwk = {"kid": kid, "use": "sig", "alg": "RS256"} | members
    return SigningKey(kid, "RS256", jwk, public, lambda data: private.sign(data, scheme, digest))


def _number(value: int, *, size: int | None = None) -> str:
    """Encode an integer as RFC 7518 does: `size` bytes, or as few as it needs (section 2, Base64urlUInt)."""
    return jose.encode_segment(value.to_bytes(size or (value.bit_length() + 7) // 8))
