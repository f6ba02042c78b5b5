"""Requests that come again byte by byte: an answer that may be said again is found by them, before anything is read.

HTTP has one reading of the same bytes, so the same bytes are the same request; whether its answer still holds is asked
each time. What is kept tells nothing of a request's credentials: it is named by a keyed hash.
"""

import hashlib
import secrets
from collections import OrderedDict

from authserver.protocol.render import Answer
from authserver.web.direct import Again

MAX_REPEATS = 10_000
"""Requests that are known; the one not sent for longest goes first."""

MAX_BYTES = 8_192
"""Bytes of a request that is worth knowing."""

# Bytes with which requests begin that come again, and how many such beginnings: others need not be hashed.
_BEGIN, _MAX_BEGINS = 20, 16

_END_OF_HEAD = b"\r\n\r\n"


def is_whole(data: bytes, *, body: bytes) -> bool:
    """Say whether the data is one request with this body and nothing else, the body as it is, not in chunks."""
    return len(data) <= MAX_BYTES and data.find(_END_OF_HEAD) + len(_END_OF_HEAD) + len(body) == len(data)


class Repeats:
    """The requests whose answers may be said again. For one thread."""

    def __init__(self, *, size: int = MAX_REPEATS) -> None:
        self._size = size
        self._known: OrderedDict[bytes, Again] = OrderedDict()
        self._begins: set[bytes] = set()
        self._secret = secrets.token_bytes(32)

    def keep(self, data: bytes, again: Again) -> None:
        """Remember how to answer these bytes, which are a whole request."""
        if len(self._begins) < _MAX_BEGINS:
            self._begins.add(data[:_BEGIN])
        self._known[self._name(data)] = again
        if len(self._known) > self._size:
            self._known.popitem(last=False)

    def answer(self, data: bytes) -> Answer | None:
        """Return the answer to these bytes; None when they have to be read."""
        if data[:_BEGIN] not in self._begins or len(data) > MAX_BYTES:
            return None
        name = self._name(data)
        again = self._known.get(name)
        if again is None:
            return None
        answer = again()
        if answer is None:
            del self._known[name]
            return None
        self._known.move_to_end(name)
        return answer

    def _name(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()
