"""Write receipts, and records of decisions, beside the requests: a bounded queue in memory, emptied by one thread in
batches.

A flood of refusals costs the database a fixed number of inserts a second and no request ever waits; what does not fit
is dropped and counted.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import structlog

MAX_WAITING = 1_000
BATCH = 100
INTERVAL = 0.25
"""Seconds between two batches, so at most 400 receipts a second are kept per process."""


class Noted(Protocol):
    """What is written: a Receipt, a DecisionRecord. Of one `reason` there may be many."""

    @property
    def id(self) -> str:
        """The request id."""

    @property
    def reason(self) -> str:
        """Of which kind it is."""


N = TypeVar("N", bound=Noted)


class Store(Protocol[N]):
    """A ReceiptStore (see the port), or the like."""

    def add(self, receipts: Sequence[N], /) -> None:
        """Keep these, durable before it returns."""

    def get(self, receipt_id: str, /) -> N | None:
        """Return the one with this id, or None."""


class ReceiptWriter(Generic[N]):
    """ReceiptLog (see the port) over a store; `kind` names them in the log. Its daemon thread begins with the first.

    Receipts of one reason take at most a quarter of the queue: a flood of one kind does not push out the others.
    """

    def __init__(
        self, store: Store[N], *, kind: str = "receipts", max_waiting: int = MAX_WAITING, interval: float = INTERVAL
    ) -> None:
        self._store, self._kind, self._max_waiting, self._interval = store, kind, max_waiting, interval
        self._waiting: OrderedDict[str, N] = OrderedDict()
        self._reasons: Counter[str] = Counter()
        self._lock, self._arrived, self._stopping = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger("authserver.receipts")
        self.dropped = 0

    def note(self, receipt: N) -> None:
        """Queue the receipt, or drop it when there are too many; returns at once."""
        with self._lock:
            if receipt.id in self._waiting:
                return
            if len(self._waiting) >= self._max_waiting or self._reasons[receipt.reason] >= self._max_waiting // 4:
                self.dropped += 1
                return
            self._waiting[receipt.id] = receipt
            self._reasons[receipt.reason] += 1
            self._start()
        self._arrived.set()

    def find(self, receipt_id: str) -> N | None:
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
            self._thread = threading.Thread(target=self._run, name=self._kind, daemon=True)
            self._thread.start()

    def _next(self) -> list[N]:
        with self._lock:
            return list(self._waiting.values())[:BATCH]

    def _forget(self, batch: list[N]) -> None:
        with self._lock:
            for receipt in batch:
                if self._waiting.pop(receipt.id, None) is not None:
                    self._reasons[receipt.reason] -= 1

    def _run(self) -> None:
        reported = 0
        while self._arrived.wait() and not self._stopping.wait(self._interval):
            self._write_one_batch()
            if self.dropped > reported:
                self._log.warning(f"{self._kind}_dropped", dropped=self.dropped - reported)
                reported = self.dropped

    def _write_one_batch(self) -> None:
        batch = self._next()
        try:
            self._store.add(batch)
        except Exception as error:  # noqa: BLE001 -- a thread that dies here would end all receipts of the process
            self._log.error(f"{self._kind}_not_written", error=type(error).__name__, detail=str(error)[:200])
        self._forget(batch)
        with self._lock:
            if not self._waiting:
                self._arrived.clear()
