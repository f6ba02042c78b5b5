"""Paging cursors: a position in the store, sealed, and bound to the client, tenant, type and query it is for.

A cursor is no permission: the request that carries it is authorised anew (threat H09).
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from authserver.fhir.search.ast import Position
from authserver.fhir.search.problems import MalformedParameter

_MAC_BYTES = 16
_NUMBER_BYTES = 8
# More than three clipped sort values in JSON take.
_MAX_LENGTH = 8_000
_TEXT = re.compile(r"[A-Za-z0-9_-]{34,}", re.ASCII)


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


def seal(position: Position, binding: CursorBinding, *, secret: bytes) -> str:
    """Return the cursor as URL-safe characters.

    The position is hidden too: it would tell how many resources other tenants have.
    """
    *values, number = position
    # The number has one length, however many resources there are.
    plain = int(number or 0).to_bytes(_NUMBER_BYTES, "big") + json.dumps(values, separators=(",", ":")).encode()
    mac = _mac(plain, binding, secret)
    return base64.urlsafe_b64encode(mac + _masked(plain, mac, secret)).decode().rstrip("=")


def unseal(text: str, binding: CursorBinding, *, secret: bytes) -> Position:
    """Return the position. Raises MalformedParameter for a cursor that was not sealed for this binding."""
    problem = MalformedParameter("_cursor", detail="cursor of another request, or tampered with")
    if not _TEXT.fullmatch(text) or len(text) > _MAX_LENGTH or len(text) % 4 == 1:
        raise problem
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    mac, masked = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    plain = _masked(masked, mac, secret)
    # The text itself must be the one that was given out, not another one that decodes to the same bytes.
    again = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    if not hmac.compare_digest(mac, _mac(plain, binding, secret)) or again != text:
        raise problem
    return (*json.loads(plain[_NUMBER_BYTES:]), int.from_bytes(plain[:_NUMBER_BYTES], "big"))


def seal_number(number: int, binding: CursorBinding, *, secret: bytes) -> str:
    """Return the cursor of a position that is one number."""
    return seal((number,), binding, secret=secret)


def unseal_number(text: str, binding: CursorBinding, *, secret: bytes) -> int:
    """Return the number that seal_number() was given. Raises MalformedParameter as unseal() does."""
    (number,) = unseal(text, binding, secret=secret)
    return int(number or 0)


def _mac(plain: bytes, binding: CursorBinding, secret: bytes) -> bytes:
    return hmac.digest(secret, b"mac\0" + plain + b"\0" + binding.text(), hashlib.sha256)[:_MAC_BYTES]


def _masked(data: bytes, mac: bytes, secret: bytes) -> bytes:
    blocks = (
        hmac.digest(secret, b"mask\0" + mac + number.to_bytes(4, "big"), hashlib.sha256)
        for number in range(-(-len(data) // hashlib.sha256().digest_size))
    )
    return bytes(a ^ b for a, b in zip(data, b"".join(blocks), strict=False))
