"""Paging cursors: a position in the store, sealed, and bound to the client, tenant, type and query it is for.

A cursor is no permission: the request that carries it is authorised anew (threat H09).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from authserver.fhir.search.problems import MalformedParameter

_MAC_BYTES = 16
_POSITION_BYTES = 8
_TEXT_LENGTH = 32


@dataclass(frozen=True, slots=True)
class CursorBinding:
    """What a cursor is good for; `pairs` is the query as its self link says it."""

    client_id: str
    tenant: str
    resource_type: str
    pairs: Sequence[tuple[str, str]]

    def text(self) -> bytes:
        """Return the binding as bytes that no other binding has."""
        parts = [self.client_id, self.tenant, self.resource_type, [list(pair) for pair in self.pairs]]
        return json.dumps(parts, separators=(",", ":")).encode()


def seal(position: int, binding: CursorBinding, *, secret: bytes) -> str:
    """Return the cursor as 32 URL-safe characters.

    The position is hidden too: it would tell how many resources other tenants have.
    """
    plain = position.to_bytes(_POSITION_BYTES, "big")
    mac = _mac(plain, binding, secret)
    return base64.urlsafe_b64encode(mac + _masked(plain, mac, secret)).decode()


def unseal(text: str, binding: CursorBinding, *, secret: bytes) -> int:
    """Return the position. Raises MalformedParameter for a cursor that was not sealed for this binding."""
    problem = MalformedParameter("_cursor", detail="cursor of another request, or tampered with")
    if len(text) != _TEXT_LENGTH or not text.isascii():
        raise problem
    try:
        sealed = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        raise problem from None
    mac, masked = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    plain = _masked(masked, mac, secret)
    if not hmac.compare_digest(mac, _mac(plain, binding, secret)):
        raise problem
    return int.from_bytes(plain, "big")


def _mac(plain: bytes, binding: CursorBinding, secret: bytes) -> bytes:
    return hmac.digest(secret, b"mac\0" + plain + binding.text(), hashlib.sha256)[:_MAC_BYTES]


def _masked(data: bytes, mac: bytes, secret: bytes) -> bytes:
    mask = hmac.digest(secret, b"mask\0" + mac, hashlib.sha256)
    return bytes(a ^ b for a, b in zip(data, mask, strict=False))
