"""The tokens that this process signed or verified lately, so that none of them costs a signature check.

Only that a signature is right is remembered, never whether the token is worth anything: time, revocation and
registration are looked at each time.
"""

import hashlib
from threading import Lock

MAX_TOKENS = 40_000
"""Tokens remembered at most; of half as many, the latest shown, none is forgotten."""


class VerifiedTokens:
    """The SHA-256 of each such token; what it says is in the token. Safe for use by several threads.

    Two sets, of which the older is forgotten when the younger is full: an order of all would take twice the memory.
    """

    def __init__(self, *, size: int = MAX_TOKENS) -> None:
        self._half = size // 2
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._lock = Lock()

    def knows(self, token: str, *, typ: str) -> bool:
        """Say whether the token's signature is known to be right, and the token of this `typ`."""
        name = _name(token, typ)
        if name in self._young:
            return True
        known = name in self._old
        if known:
            self._keep(name)
        return known

    def add(self, token: str, *, typ: str) -> None:
        """Remember a token that was signed here, or verified and read."""
        self._keep(_name(token, typ))

    def _keep(self, name: bytes) -> None:
        with self._lock:
            if len(self._young) >= self._half:
                self._young, self._old = set(), self._young
            self._young.add(name)


def _name(token: str, typ: str) -> bytes:
    # No typ has a line break, so the two parts cannot be read in another way.
    return hashlib.sha256(f"{typ}\n{token}".encode("utf-8", "surrogatepass")).digest()
