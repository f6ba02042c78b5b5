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
    """Payloads by the SHA-256 of the token that they are of. Safe for use by several threads."""

    def __init__(self, *, size: int = MAX_TOKENS) -> None:
        self._size = size
        self._payloads: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, token: str, *, typ: str) -> bytes | None:
        """Return the payload of a token of this `typ` whose signature is known to be right."""
        name = _name(token, typ)
        with self._lock:
            payload = self._payloads.get(name)
            if payload is not None:
                self._payloads.move_to_end(name)
            return payload

    def add(self, token: str, payload: bytes, *, typ: str) -> None:
        """Remember a token that was signed here or verified."""
        name = _name(token, typ)
        with self._lock:
            self._payloads[name] = payload
            while len(self._payloads) > self._size:
                self._payloads.popitem(last=False)


def _name(token: str, typ: str) -> bytes:
    # No typ has a line break, so the two parts cannot be read in another way.
    return hashlib.sha256(f"{typ}\n{token}".encode("utf-8", "surrogatepass")).digest()
