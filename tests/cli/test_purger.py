"""The purger forgets expired rows beside the requests, and no error ends it."""

import threading

from authserver.adapters.memory import MemoryStores
from authserver.adapters.purger import Purged, Purger, purge_once
from authserver.errors import StorageUnavailable

NOW = 1_800_000_000


class Failing:
    """Fails at its first purge; tells when it was asked again."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.asked_again = threading.Event()

    def purge(self, *, before: int) -> int:
        """Fail once."""
        self.calls.append(before)
        if len(self.calls) == 1:
            raise StorageUnavailable(detail="the database is away")
        self.asked_again.set()
        return 0


def test_purging_once_forgets_both_kinds() -> None:
    stores = MemoryStores()
    stores.replay_guard.claim("clinic", "old", until=NOW - 1)
    stores.replay_guard.claim("clinic", "current", until=NOW)
    stores.revocations.revoke("1.old", until=NOW - 1)

    purged = purge_once(stores.replay_guard, stores.revocations, stores.receipts, decisions=stores.decisions, now=NOW)

    assert purged == Purged(used_assertions=1, revocations=1, receipts=0)
    assert stores.replay_guard.claim("clinic", "current", until=NOW) is False


def test_error_does_not_end_the_purger() -> None:
    guard, stores = Failing(), MemoryStores()

    with Purger(guard, stores.revocations, stores.receipts, decisions=stores.decisions, interval=0.01, now=lambda: NOW):
        went_on = guard.asked_again.wait(5)

    assert went_on
    assert set(guard.calls) == {NOW}


def test_stopped_purger_leaves_no_thread() -> None:
    guard = Failing()
    stores = MemoryStores()
    purger = Purger(
        guard, stores.revocations, stores.receipts, decisions=stores.decisions, interval=0.01, now=lambda: NOW
    )
    purger.start()
    guard.asked_again.wait(5)

    purger.stop()

    assert "purger" not in [thread.name for thread in threading.enumerate()]
