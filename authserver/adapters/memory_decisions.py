"""Records of decisions in memory, for tests: the same as the store over SQL (adapters/sql/decisions.py)."""

import threading
from collections.abc import Sequence

from authserver.protocol.decision_record import DecisionRecord
from authserver.services.ports import MAX_DECISIONS


class MemoryDecisionStore:
    """Records over a dict."""

    def __init__(self, max_rows: int = MAX_DECISIONS) -> None:
        self._records: dict[str, DecisionRecord] = {}
        self._max_rows = max_rows
        self._lock = threading.Lock()

    def add(self, records: Sequence[DecisionRecord]) -> None:
        """Keep these records; the oldest go when there are too many."""
        with self._lock:
            for record in records:
                self._records.setdefault(record.id, record)
            self._records = {one.id: one for one in self._newest(self._max_rows)}

    def get(self, record_id: str) -> DecisionRecord | None:
        """Return the record, or None."""
        return self._records.get(record_id)

    def recent(self, limit: int) -> Sequence[DecisionRecord]:
        """Return the newest records, at most `limit`."""
        return self._newest(limit)

    def purge(self, *, before: int) -> int:
        """Forget records whose `until` is before the given second; return how many."""
        with self._lock:
            kept = {one.id: one for one in self._records.values() if one.until >= before}
            forgotten, self._records = len(self._records) - len(kept), kept
            return forgotten

    def _newest(self, limit: int) -> list[DecisionRecord]:
        return sorted(self._records.values(), key=lambda one: (-one.until, one.id))[:limit]
