"""The tokens that this process signed or verified lately, so that none of them costs a signature check.

Only that a signature is right is remembered, never whether the token is worth anything: time, revocation and
registration are looked at each time.
"""

import hashlib
from collections import OrderedDict
from threading import Lock

MAX_TOKENS = 20_000
"""Tokens remembered at most; the one not shown for longest goes first."""


class VerifiedTokens:
    """The SHA-256 of each such token; what it says is in the token. Safe for use by several threads."""

    def __init__(self, *, size: int = MAX_TOKENS) -> None:
        self._size = size
        self._names: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def knows(self, token: str, *, typ: str) -> bool:
        """Say whether the token's signature is known to be right, and the token of this `typ`."""
        name = _name(token, typ)
        with self._lock:
            known = name in self._names
            if known:
                self._names.move_to_end(name)
            return known

    def add(self, token: str, *, typ: str) -> None:
        """Remember a token that was signed here, or verified and read."""
        name = _name(token, typ)
        with self._lock:
            self._names[name] = None
            while len(self._names) > self._size:
                self._names.popitem(last=False)


def _name(token: str, typ: str) -> bytes:
    # No typ has a line break, so the two parts cannot be read in another way.
    return hashlib.sha256(f"{typ}\n{token}".encode("utf-8", "surrogatepass")).digest()
