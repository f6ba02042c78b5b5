"""Hashes client secrets with Argon2id, and remembers in the process which secrets were right.

A resource server proves itself at every introspection; it should cost the full hash once, not each time.
"""

import base64
import hmac
import secrets
import threading
from collections import OrderedDict
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

REMEMBERED = 1_024
"""Right secrets remembered at most; the one not used for longest goes first."""

_PASSES, _KIB, _LANES = 2, 19 * 1024, 1
_SALT_BYTES, _HASH_BYTES = 16, 32


class SlowHasher(Protocol):
    """A password hash, salted and deliberately slow."""

    def hash(self, secret: bytes) -> str:
        """Return a salted hash."""

    def verify(self, secret: bytes, secret_hash: str) -> bool:
        """Say whether the secret fits the hash; a hash that cannot be read fits none."""


class Argon2id:
    """Argon2id with the parameters that OWASP's password storage cheat sheet names first: 19 MiB, 2 passes, 1 lane."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(
            time_cost=_PASSES, memory_cost=_KIB, parallelism=_LANES, hash_len=_HASH_BYTES, salt_len=_SALT_BYTES
        )

    def hash(self, secret: bytes) -> str:
        """Return the encoded hash with its parameters and salt."""
        return self._hasher.hash(secret)

    def verify(self, secret: bytes, secret_hash: str) -> bool:
        """Say whether the secret fits, by the parameters that the hash itself names."""
        try:
            return self._hasher.verify(secret_hash, secret)
        except (VerificationError, ValueError):  # ValueError: the stored text is no Argon2 hash
            return False


class Argon2Hasher:
    """SecretHasher (see the port). Only right secrets are remembered, so a wrong one always costs the full hash."""

    def __init__(self, *, hasher: SlowHasher | None = None, remembered: int = REMEMBERED) -> None:
        self._hasher = hasher or Argon2id()
        self._nobodys_hash = _nobodys_hash()
        self._remembered = _Remembered(remembered)

    def hash(self, secret: str) -> str:
        """Return a salted hash of the secret, for storage."""
        return self._hasher.hash(_bytes(secret))

    def verify(self, secret: str, secret_hash: str | None) -> bool:
        """Say whether the secret fits the hash; None costs the same time and is False."""
        given = _bytes(secret)
        if secret_hash is None:
            self._hasher.verify(given, self._nobodys_hash)
            return False
        if self.remembers(secret, secret_hash):
            return True
        fits = self._hasher.verify(given, secret_hash)
        if fits:
            self._remembered.add(self._remembered.proof(given, secret_hash))
        return fits

    def remembers(self, secret: str, secret_hash: str | None) -> bool:
        """Say whether this process knows already that the secret fits."""
        return secret_hash is not None and self._remembered.proof(_bytes(secret), secret_hash) in self._remembered


class _Remembered:
    """A bounded set of proofs. A proof names a pair of hash and secret and, without the key, tells nothing of it."""

    def __init__(self, size: int) -> None:
        self._key = secrets.token_bytes(32)
        self._size = size
        self._proofs: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def proof(self, secret: bytes, secret_hash: str) -> bytes:
        """Return the HMAC over hash and secret, the hash led by its length, so no two pairs share one."""
        stored = _bytes(secret_hash)
        return hmac.digest(self._key, len(stored).to_bytes(8) + stored + secret, "sha256")

    def __contains__(self, proof: bytes) -> bool:
        with self._lock:
            if proof not in self._proofs:
                return False
            self._proofs.move_to_end(proof)
            return True

    def add(self, proof: bytes) -> None:
        """Remember the proof, in the place of the one not used for longest if there is no other."""
        with self._lock:
            self._proofs[proof] = None
            while len(self._proofs) > self._size:
                self._proofs.popitem(last=False)


def _nobodys_hash() -> str:
    """Return a hash that costs as much as a real one and fits no secret: drawn, where hashing would cost each start."""
    salt, result = (_base64(secrets.token_bytes(size)) for size in (_SALT_BYTES, _HASH_BYTES))
    return f"$argon2id$v=19$m={_KIB},t={_PASSES},p={_LANES}${salt}${result}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    """Encode what a caller sent; a lone surrogate is a wrong secret, not an error."""
    return text.encode("utf-8", "surrogatepass")
