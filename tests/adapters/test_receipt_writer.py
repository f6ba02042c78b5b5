"""Receipts are written beside the requests: bounded, in batches, and no flood fills the queue. Row X48."""

import time

import structlog.testing

from authserver.adapters.memory import MemoryReceiptStore
from authserver.adapters.receipt_writer import BATCH, ReceiptWriter
from authserver.errors import StorageUnavailable
from authserver.services.ports import Receipt

NOW = 1_800_000_000


def receipt(name: str, reason: str = "aud_mismatch") -> Receipt:
    """Return a receipt."""
    return Receipt(name, NOW, NOW + 60, "/auth/token", 400, "invalid_client", reason, "detail", "acme")


class CountingStore(MemoryReceiptStore):
    """Remembers the sizes of the batches; fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.broken = False

    def add(self, receipts: list[Receipt]) -> None:  # type: ignore[override]
        """Keep them."""
        if self.broken:
            raise StorageUnavailable(detail="away")
        self.batches.append(len(receipts))
        super().add(receipts)


def until(condition: object) -> bool:
    """Wait for the writer's thread."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.01)
    return bool(condition())  # type: ignore[operator]


def test_a_receipt_is_found_at_once_and_kept_shortly_after() -> None:
    store = CountingStore()
    writer = ReceiptWriter(store, interval=0.01)

    writer.note(receipt("a"))

    assert writer.find("a") == receipt("a")
    assert until(lambda: store.get("a") == receipt("a"))
    writer.stop()
    assert writer.find("b") is None


def test_many_receipts_are_few_writes() -> None:
    store = CountingStore()
    writer = ReceiptWriter(store, interval=60)
    for number in range(250):
        writer.note(receipt(str(number)))

    writer.flush()
    writer.stop()

    assert store.batches == [BATCH, BATCH, 50]


def test_a_flood_of_one_reason_leaves_room_for_the_others() -> None:
    """What does not fit is dropped and counted; no caller waits."""
    writer = ReceiptWriter(CountingStore(), max_waiting=40, interval=60)

    for number in range(1_000):
        writer.note(receipt(f"flood-{number}", "client_unknown"))
    writer.note(receipt("honest", "exp_past"))

    assert writer.dropped == 990
    assert writer.find("honest") == receipt("honest", "exp_past")
    writer.stop()


def test_the_queue_is_bounded_whatever_the_reasons() -> None:
    writer = ReceiptWriter(CountingStore(), max_waiting=40, interval=60)

    for number in range(100):
        writer.note(receipt(str(number), f"reason-{number}"))

    assert writer.dropped == 60
    writer.stop()


def test_what_was_dropped_is_counted_in_the_log() -> None:
    with structlog.testing.capture_logs() as entries:
        writer = ReceiptWriter(CountingStore(), max_waiting=4, interval=0.01)
        for number in range(5):
            writer.note(receipt(str(number)))
        logged = until(lambda: entries)
        writer.stop()

    assert logged
    assert entries == [{"event": "receipts_dropped", "dropped": 4, "log_level": "warning"}]


def test_a_database_that_is_away_ends_no_thread() -> None:
    store = CountingStore()
    store.broken = True
    writer = ReceiptWriter(store, interval=0.01)
    writer.note(receipt("lost"))
    assert until(lambda: writer.find("lost") is None)
    store.broken = False

    writer.note(receipt("kept"))

    assert until(lambda: store.get("kept") is not None)
    writer.stop()


def test_a_writer_without_receipts_has_no_thread() -> None:
    writer = ReceiptWriter(CountingStore())

    writer.stop()

    assert writer.find("a") is None


def test_what_is_noted_twice_is_written_once() -> None:
    """A request that is tried where nothing may wait, and then where it may, has one id."""
    store = CountingStore()
    writer = ReceiptWriter(store, interval=60)

    writer.note(receipt("a"))
    writer.note(receipt("a", reason="another"))
    writer.flush()

    assert (store.batches, store.get("a"), writer.dropped) == ([1], receipt("a"), 0)
    writer.stop()
