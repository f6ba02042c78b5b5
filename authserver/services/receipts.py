"""Receipts: note why a request was refused, and tell an operator by the request id (row X48)."""

from dataclasses import asdict, dataclass
from typing import Any

from authserver.errors import AuthServerError, InvalidClient, NotFound
from authserver.protocol import account
from authserver.protocol.hints import HINTS
from authserver.services.ports import Receipt, ReceiptLog

TOKEN_PATH = "/auth/token"  # noqa: S105 -- a path
MAX_DETAIL = 2_000


@dataclass(frozen=True, slots=True)
class Receipts:
    """The use case. `keep` is for how long a receipt is kept, in seconds."""

    log: ReceiptLog
    keep: int

    def note(self, error: AuthServerError, *, request_id: str, path: str, now: int) -> None:
        """Note a refusal of the token endpoint, and of a client's assertion wherever it was sent."""
        if path != TOKEN_PATH and not isinstance(error, InvalidClient):
            return
        receipt = Receipt(
            id=request_id,
            at=now,
            until=now + self.keep,
            path=path,
            status=error.status,
            error=error.oauth_code,
            reason=error.reason,
            detail=error.detail[:MAX_DETAIL],
            client_id=error.client_id,
        )
        self.log.note(receipt)

    def resolve(self, receipt_id: str, *, now: int) -> dict[str, Any]:
        """Return the receipt with its checks and, where the fix is certain, a hint. Raises NotFound."""
        receipt = self.log.find(receipt_id)
        if receipt is None or receipt.until < now:
            raise NotFound(detail=f"receipt {receipt_id[:64]!r}")
        hint = HINTS.get(receipt.reason)
        checks = [check.shown() for check in account.of_refusal(receipt.reason)]
        return asdict(receipt) | ({"hint": hint} if hint else {}) | {"checks": checks}
