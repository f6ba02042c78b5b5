"""The registry's stores in memory, for tests and demonstrations: the same answers as over SQL, gone at exit."""

import threading
from collections.abc import Sequence
from typing import TypeVar

from authserver.adapters.memory_audit import MemoryAuditStore
from authserver.adapters.memory_changes import MemoryChanges
from authserver.adapters.memory_claims import MemoryClaimQueue
from authserver.adapters.memory_decisions import MemoryDecisionStore
from authserver.adapters.memory_notes import MemoryKeyUseStore, MemorySpendingBoard
from authserver.adapters.memory_resources import MemoryResourceStore
from authserver.errors import StorageUnavailable
from authserver.protocol.audit_record import AuditChoice, AuditRecord
from authserver.services.ports import MAX_RECEIPTS, Receipt, Revocations

_Key = tuple[str, str]
_K = TypeVar("_K")


class MemoryReplayGuard:
    """ReplayGuard (see the port) over a dict."""

    def __init__(self, audit: MemoryAuditStore | None = None) -> None:
        self._audit = audit or MemoryAuditStore()
        self._until: dict[_Key, int] = {}
        self._forgotten = 0
        self._lock = threading.Lock()

    def claim(self, client_id: str, jti: str, *, until: int, audit: AuditChoice | None = None) -> bool:
        """Claim the jti; False when it was claimed before."""
        with self._lock:
            claimed = self._claim(client_id, jti, until=until)
            record = None if audit is None else audit.of(claimed=claimed, change=-1)
            self._audit.append([record] if record else [])
            if claimed:
                self._until[client_id, jti] = until
            return claimed

    def _claim(self, client_id: str, jti: str, *, until: int) -> bool:
        if (client_id, jti) in self._until:
            return False
        if until < self._forgotten:
            raise StorageUnavailable(detail=f"claims until {self._forgotten} are forgotten", reason="clock_set_back")
        return True

    def was_claimed(self, client_id: str, jti: str) -> bool:
        """Say whether the jti was claimed, claiming nothing."""
        return (client_id, jti) in self._until

    def purge(self, *, before: int) -> int:
        """Forget claims whose `until` is before the given second; return how many."""
        with self._lock:
            self._forgotten = max(self._forgotten, before)
            return _forget(self._until, before)


class MemoryRevocationList:
    """RevocationList (see the port) over a dict."""

    def __init__(self, changes: MemoryChanges | None = None, audit: MemoryAuditStore | None = None) -> None:
        self._until: dict[str, int] = {}
        self._at: dict[str, int] = {}
        self._forgotten = 0
        self._lock = threading.Lock()
        self._changes, self._audit = changes or MemoryChanges(), audit or MemoryAuditStore()

    def revoke(self, jti: str, *, until: int, audit: AuditRecord | None = None) -> None:
        """Revoke the token with this jti; twice is as once."""
        with self._lock:
            self._audit.append([audit] if audit else [])
            self._until.setdefault(jti, until)
            self._at.setdefault(jti, self._changes.count())

    def since(self, number: int) -> Revocations:
        """Return what was revoked after this state of the registry."""
        with self._lock:
            revoked = {jti: until for jti, until in self._until.items() if self._at[jti] > number}
            return Revocations(revoked, self._changes.number(), self._forgotten)

    def is_revoked(self, jti: str, *, expires_at: int) -> bool:
        """Say whether the token was revoked, or could have been and was forgotten."""
        return jti in self._until or expires_at < self._forgotten

    def purge(self, *, before: int) -> int:
        """Forget revocations of tokens that expired before the given second; return how many."""
        with self._lock:
            self._forgotten = max(self._forgotten, before)
            return _forget(self._until, before)


class MemoryReceiptStore:
    """ReceiptStore (see the port) over a dict."""

    def __init__(self, max_rows: int = MAX_RECEIPTS) -> None:
        self._receipts: dict[str, Receipt] = {}
        self._max_rows = max_rows
        self._lock = threading.Lock()

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Keep these receipts; the oldest go when there are too many."""
        with self._lock:
            for receipt in receipts:
                self._receipts.setdefault(receipt.id, receipt)
            newest = sorted(self._receipts.values(), key=lambda receipt: receipt.until, reverse=True)
            self._receipts = {receipt.id: receipt for receipt in newest[: self._max_rows]}

    def get(self, receipt_id: str) -> Receipt | None:
        """Return the receipt, or None."""
        return self._receipts.get(receipt_id)

    def purge(self, *, before: int) -> int:
        """Forget receipts whose `until` is before the given second; return how many."""
        with self._lock:
            untils = {receipt.id: receipt.until for receipt in self._receipts.values()}
            forgotten = _forget(untils, before)
            self._receipts = {name: self._receipts[name] for name in untils}
            return forgotten


class MemoryStores:
    """Every store of the registry, in memory."""

    def __init__(self) -> None:
        self.changes, self.audit = MemoryChanges(), MemoryAuditStore()
        self.resources = MemoryResourceStore(self.changes, self.audit)
        self.nearby = self.resources
        self.replay_guard = MemoryReplayGuard(self.audit)
        self.claims = MemoryClaimQueue(self.replay_guard, self.changes, self.audit)
        self.revocations = MemoryRevocationList(self.changes, self.audit)
        self.receipts = MemoryReceiptStore()
        self.key_uses = MemoryKeyUseStore()
        self.client_key_uses = MemoryKeyUseStore()
        self.spendings = MemorySpendingBoard()
        self.decisions = MemoryDecisionStore()

    def ping(self) -> None:
        """Return at once: memory always answers."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _forget(rows: dict[_K, int], before: int) -> int:
    kept = {key: until for key, until in rows.items() if until >= before}
    forgotten = len(rows) - len(kept)
    rows.clear()
    rows.update(kept)
    return forgotten
