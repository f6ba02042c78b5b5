"""Forget expired rows beside the requests: used assertions, revocations, receipts, records of decisions.

One daemon thread per process. An error is logged and the next round tries again; a request never waits for it.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol, Self

import structlog

from authserver import clock


class Upkeep(Protocol):
    """What else each round does: the audit's counts, checkpoints and pruning (see services.audit_trail)."""

    def __call__(self, *, now: int) -> int:
        """Do it; return how many audit records were forgotten."""


def _no_upkeep(*, now: int) -> int:  # noqa: ARG001 -- the signature of an Upkeep
    return 0


class Purgeable(Protocol):
    """What forgets its expired rows in small batches: ReplayGuard, RevocationList, ReceiptStore (see the ports)."""

    def purge(self, *, before: int) -> int:
        """Forget what ended before the given second; return how many rows."""


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows one round forgot."""

    used_assertions: int
    revocations: int
    receipts: int
    decisions: int = 0
    audit_records: int = 0


def purge_once(
    replay_guard: Purgeable,
    revocations: Purgeable,
    receipts: Purgeable,
    *,
    decisions: Purgeable,
    now: int,
    upkeep: Upkeep = _no_upkeep,
) -> Purged:
    """Forget what had expired by `now` (epoch seconds), then do the upkeep. Raises Unavailable."""
    return Purged(
        used_assertions=replay_guard.purge(before=now),
        revocations=revocations.purge(before=now),
        receipts=receipts.purge(before=now),
        decisions=decisions.purge(before=now),
        audit_records=upkeep(now=now),
    )


class Purger:
    """Calls purge_once() every `interval` seconds until it is stopped; use it as a context, or start() and stop()."""

    def __init__(
        self,
        replay_guard: Purgeable,
        revocations: Purgeable,
        receipts: Purgeable,
        *,
        decisions: Purgeable,
        interval: float,
        now: Callable[[], int] = clock.now,
        upkeep: Upkeep = _no_upkeep,
    ) -> None:
        self._replay_guard, self._revocations = replay_guard, revocations
        self._receipts, self._decisions = receipts, decisions
        self._interval, self._now, self._upkeep = interval, now, upkeep
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="purger", daemon=True)
        self._log = structlog.get_logger("authserver.purger")

    def start(self) -> None:
        """Begin; the first round comes after one interval, so that starting is quick."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for a round that is under way."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._round()

    def _round(self) -> None:
        try:
            purged = self._purge_once()
        except Exception as error:  # noqa: BLE001 -- a thread that dies here would let the table grow for ever
            self._log.error("purge_failed", error=type(error).__name__, detail=str(error)[:200])
            return
        if any(asdict(purged).values()):
            self._log.info("purged", **asdict(purged))

    def _purge_once(self) -> Purged:
        return purge_once(
            self._replay_guard,
            self._revocations,
            self._receipts,
            decisions=self._decisions,
            now=self._now(),
            upkeep=self._upkeep,
        )
