"""The registry's stores in memory, for tests and demonstrations: the same answers as over SQL, gone at exit."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from authserver.adapters.memory_changes import MemoryChanges
from authserver.adapters.memory_decisions import MemoryDecisionStore
from authserver.adapters.memory_notes import MemoryKeyUseStore, MemorySpendingBoard
from authserver.adapters.memory_resources import MemoryResourceStore
from authserver.errors import StorageUnavailable
from authserver.services.ports import MAX_RECEIPTS, ClaimOutcome, Receipt, Revocations

_Key = tuple[str, str]
_K = TypeVar("_K")


class MemoryReplayGuard:
    """ReplayGuard (see the port) over a dict."""

    def __init__(self) -> None:
        self._until: dict[_Key, int] = {}
        self._forgotten = 0
        self._lock = threading.Lock()

    def claim(self, client_id: str, jti: str, *, until: int) -> bool:
        """Claim the jti; False when it was claimed before."""
        with self._lock:
            if (client_id, jti) in self._until:
                return False
            if until < self._forgotten:
                raise StorageUnavailable(
                    detail=f"claims until {self._forgotten} are forgotten", reason="clock_set_back"
                )
            self._until[client_id, jti] = until
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

    def __init__(self, changes: MemoryChanges | None = None) -> None:
        self._until: dict[str, int] = {}
        self._at: dict[str, int] = {}
        self._forgotten = 0
        self._lock = threading.Lock()
        self._changes = changes or MemoryChanges()

    def revoke(self, jti: str, *, until: int) -> None:
        """Revoke the token with this jti; twice is as once."""
        with self._lock:
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


class MemoryClaimQueue:
    """ClaimQueue (see the port) that claims at once."""

    def __init__(self, guard: MemoryReplayGuard, changes: MemoryChanges) -> None:
        self._guard, self._changes = guard, changes

    def submit(self, client_id: str, jti: str, *, until: int, done: Callable[[ClaimOutcome], None]) -> None:
        """Claim the jti and hand over the outcome."""
        try:
            claimed = self._guard.claim(client_id, jti, until=until)
        except StorageUnavailable as error:
            done(ClaimOutcome(failure=error))
            return
        done(ClaimOutcome(claimed, self._changes.number()))

    def deliver_by(self, run: Callable[[Callable[[], None]], None]) -> None:
        """Outcomes are handed over within submit()."""


class MemoryStores:
    """Every store of the registry, in memory."""

    def __init__(self) -> None:
        self.changes = MemoryChanges()
        self.resources = MemoryResourceStore(self.changes)
        self.nearby = self.resources
        self.replay_guard = MemoryReplayGuard()
        self.claims = MemoryClaimQueue(self.replay_guard, self.changes)
        self.revocations = MemoryRevocationList(self.changes)
        self.receipts = MemoryReceiptStore()
        self.key_uses = MemoryKeyUseStore()
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
