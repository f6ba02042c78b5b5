"""The tokens that this process verified lately, so that one which is shown again costs no signature check.

Only that a signature is right is remembered, never whether the token is worth anything: time, revocation and
registration are looked at each time.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

MAX_TOKENS = 20_000
"""Tokens remembered at most; the one not shown for longest goes first."""


class VerifiedTokens:
    """Claims by the SHA-256 of the token that they were read from. Safe for use by several threads."""

    def __init__(self, *, size: int = MAX_TOKENS) -> None:
        self._size = size
        self._claims: OrderedDict[bytes, Mapping[str, Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, token: str, *, typ: str) -> Mapping[str, Any] | None:
        """Return the claims of a token of this `typ` that was verified before."""
        name = _name(token, typ)
        with self._lock:
            claims = self._claims.get(name)
            if claims is not None:
                self._claims.move_to_end(name)
            return claims

    def add(self, token: str, claims: Mapping[str, Any], *, typ: str) -> None:
        """Remember a token that was verified."""
        with self._lock:
            self._claims[_name(token, typ)] = claims
            while len(self._claims) > self._size:
                self._claims.popitem(last=False)


def _name(token: str, typ: str) -> bytes:
    # No typ has a line break, so the two parts cannot be read in another way.
    return hashlib.sha256(f"{typ}\n{token}".encode("utf-8", "surrogatepass")).digest()
