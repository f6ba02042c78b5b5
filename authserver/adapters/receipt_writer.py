"""Write receipts beside the requests: a bounded queue in memory, emptied by one thread in batches.

A flood of refusals costs the database a fixed number of inserts a second and no request ever waits; what does not fit
is dropped and counted.
"""

import threading
from collections import Counter, OrderedDict

import structlog

from authserver.services.ports import Receipt, ReceiptStore

MAX_WAITING = 1_000
BATCH = 100
INTERVAL = 0.25
"""Seconds between two batches, so at most 400 receipts a second are kept per process."""


class ReceiptWriter:
    """ReceiptLog (see the port) over a ReceiptStore. Its daemon thread begins with the first receipt.

    Receipts of one reason take at most a quarter of the queue: a flood of one kind does not push out the others.
    """

    def __init__(self, store: ReceiptStore, *, max_waiting: int = MAX_WAITING, interval: float = INTERVAL) -> None:
        self._store, self._max_waiting, self._interval = store, max_waiting, interval
        self._waiting: OrderedDict[str, Receipt] = OrderedDict()
        self._reasons: Counter[str] = Counter()
        self._lock, self._arrived, self._stopping = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger("authserver.receipts")
        self.dropped = 0

    def note(self, receipt: Receipt) -> None:
        """Queue the receipt, or drop it when there are too many; returns at once."""
        with self._lock:
            if len(self._waiting) >= self._max_waiting or self._reasons[receipt.reason] >= self._max_waiting // 4:
                self.dropped += 1
                return
            self._waiting[receipt.id] = receipt
            self._reasons[receipt.reason] += 1
            self._start()
        self._arrived.set()

    def find(self, receipt_id: str) -> Receipt | None:
        """Return the receipt from the queue or the store, or None."""
        with self._lock:
            waiting = self._waiting.get(receipt_id)
        return waiting or self._store.get(receipt_id)

    def flush(self) -> None:
        """Write what waits now; raises StorageUnavailable, and the batch stays queued."""
        while batch := self._next():
            self._store.add(batch)
            self._forget(batch)

    def stop(self) -> None:
        """End the thread after what it is writing; what waits is lost, or flush() it first."""
        self._stopping.set()
        self._arrived.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="receipts", daemon=True)
            self._thread.start()

    def _next(self) -> list[Receipt]:
        with self._lock:
            return list(self._waiting.values())[:BATCH]

    def _forget(self, batch: list[Receipt]) -> None:
        with self._lock:
            for receipt in batch:
                if self._waiting.pop(receipt.id, None) is not None:
                    self._reasons[receipt.reason] -= 1

    def _run(self) -> None:
        reported = 0
        while self._arrived.wait() and not self._stopping.wait(self._interval):
            self._write_one_batch()
            if self.dropped > reported:
                self._log.warning("receipts_dropped", dropped=self.dropped - reported)
                reported = self.dropped

    def _write_one_batch(self) -> None:
        batch = self._next()
        try:
            self._store.add(batch)
        except Exception as error:  # noqa: BLE001 -- a thread that dies here would end all receipts of the process
            self._log.error("receipts_not_written", error=type(error).__name__, detail=str(error)[:200])
        self._forget(batch)
        with self._lock:
            if not self._waiting:
                self._arrived.clear()
