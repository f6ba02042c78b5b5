"""Claims of jtis, written by one thread in groups: one transaction, one wait for the disk for all that came meanwhile.

An outcome is handed over only after its group is durable. On PostgreSQL a group is one round trip.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from authserver.adapters.sql.changes import NUMBER_SQL
from authserver.adapters.sql.database import Database
from authserver.adapters.sql.jti_key import used_jti_key
from authserver.errors import StorageUnavailable
from authserver.services.ports import ClaimOutcome

GROUP = 256
"""Claims in one transaction at most."""

MAX_WAITING = 4_096
"""Claims that may wait; the next fails at once."""

_MARK_SQL = "SELECT moment FROM purge_mark WHERE name = 'used_jti'"
_SQLITE_INSERT = "INSERT INTO used_jti (key, until) VALUES (?, ?) ON CONFLICT DO NOTHING"
_POSTGRESQL_INSERT = (
    "INSERT INTO used_jti (key, until) SELECT * FROM unnest(%s::bytea[], %s::bigint[]) ON CONFLICT DO NOTHING"
    " RETURNING key"
)
# Read after the insert: a purge writes its mark before it deletes, so who found no row sees the mark.
_STATE_SQL = f"SELECT ({_MARK_SQL}), ({NUMBER_SQL})"

Deliver = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class _Claim:
    """One claim that waits. `at_once`: its outcome is handed over by the writer itself."""

    key: bytes
    until: int
    done: Callable[[ClaimOutcome], None]
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of a group: the keys that were new, the moment up to which claims are forgotten, the state."""

    new: set[bytes]
    mark: int
    change: int


class SqlClaimQueue:
    """ClaimQueue (see the port) on SQLite or PostgreSQL. The thread begins with the first claim."""

    def __init__(self, database: Database, *, wait_seconds: float) -> None:
        self._database, self._wait_seconds = database, wait_seconds
        self._write = _write_sqlite if database.dialect.name == "sqlite" else _write_postgresql
        self._waiting: queue.SimpleQueue[_Claim | None] = queue.SimpleQueue()
        self._deliver: Deliver = _directly
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, client_id: str, jti: str, *, until: int, done: Callable[[ClaimOutcome], None]) -> None:
        """Let the jti be claimed; `done` gets the outcome when it is durable. Never waits."""
        self._put(_Claim(used_jti_key(client_id, jti), until, done))

    def deliver_by(self, run: Deliver) -> None:
        """Let the outcomes of a group be handed over by `run`."""
        self._deliver = run

    def claim(self, client_id: str, jti: str, *, until: int) -> ClaimOutcome:
        """Let the jti be claimed and wait for the outcome; it is a failure when it does not come in time."""
        came, outcomes = threading.Event(), [ClaimOutcome(failure=_too_late(self._wait_seconds))]

        def done(outcome: ClaimOutcome) -> None:
            outcomes[0] = outcome
            came.set()

        self._put(_Claim(used_jti_key(client_id, jti), until, done, at_once=True))
        # The database has its own, shorter limits; this one is for a writer that is busy with others.
        came.wait(2 * self._wait_seconds)
        return outcomes[0]

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _put(self, claim: _Claim) -> None:
        with self._lock:
            if not self._closed and self._waiting.qsize() < MAX_WAITING:
                self._waiting.put(claim)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
                    self._thread.start()
                return
        _hand_over([(claim, ClaimOutcome(failure=StorageUnavailable(detail="too many claims wait")))], self._deliver)

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            group, ends = self._with_others(first)
            _hand_over(list(zip(group, self._outcomes(group), strict=True)), self._deliver)
            if ends:
                return

    def _with_others(self, first: _Claim) -> tuple[list[_Claim], bool]:
        """Return the claim with all that wait by now, and whether nothing comes after them."""
        group = [first]
        while len(group) < GROUP:
            try:
                claim = self._waiting.get_nowait()
            except queue.Empty:
                break
            if claim is None:
                return group, True
            group.append(claim)
        return group, False

    def _outcomes(self, group: Sequence[_Claim]) -> list[ClaimOutcome]:
        try:
            written = self._write(self._database, group)
        except StorageUnavailable as error:
            # An exception of its own for each: raising one object in several threads mixes their traces.
            return [ClaimOutcome(failure=StorageUnavailable(detail=error.detail)) for _ in group]
        return [_outcome(claim, written) for claim in group]


def _outcome(claim: _Claim, written: _Written) -> ClaimOutcome:
    if claim.key not in written.new:
        return ClaimOutcome(claimed=False, change=written.change)
    written.new.discard(claim.key)  # of two in one group the first has it
    if claim.until < written.mark:
        # The clock was set back after a purge: an earlier claim of this jti may be among what was forgotten.
        detail = f"claims until {written.mark} are forgotten"
        return ClaimOutcome(failure=StorageUnavailable(detail=detail, reason="clock_set_back"))
    return ClaimOutcome(claimed=True, change=written.change)


def _hand_over(outcomes: list[tuple[_Claim, ClaimOutcome]], deliver: Deliver) -> None:
    for claim, outcome in outcomes:
        if claim.at_once:
            claim.done(outcome)
    others = [(claim, outcome) for claim, outcome in outcomes if not claim.at_once]

    def run() -> None:
        for claim, outcome in others:
            claim.done(outcome)

    if others:
        deliver(run)


def _directly(run: Callable[[], None]) -> None:
    run()


def _too_late(seconds: float) -> StorageUnavailable:
    return StorageUnavailable(detail=f"waited {2 * seconds:.0f} s for a claim to be written")


def _write_sqlite(database: Database, group: Sequence[_Claim]) -> _Written:
    with database.raw_writing() as connection:
        new = set()
        for claim in group:
            if connection.execute(_SQLITE_INSERT, (claim.key, claim.until)).rowcount == 1:
                new.add(claim.key)
        mark, change = connection.execute(_STATE_SQL).fetchone()
    return _Written(new, mark or 0, change or 0)


def _write_postgresql(database: Database, group: Sequence[_Claim]) -> _Written:
    # In one order in every process: two groups that share keys would wait for each other otherwise.
    rows = sorted({claim.key: claim.until for claim in reversed(group)}.items())
    given: tuple[Any, Any] = ([key for key, _ in rows], [until for _, until in rows])
    # A pipeline is one round trip and one transaction; the second statement has a later snapshot than the first. Its
    # end is the commit, which raises where nothing became durable.
    with (
        database.raw_writing() as connection,
        connection.pipeline(),
        connection.cursor() as inserted,
        connection.cursor() as state,
    ):
        inserted.execute(_POSTGRESQL_INSERT, given, prepare=True)
        state.execute(_STATE_SQL, prepare=True)
        new = {bytes(key) for (key,) in inserted.fetchall()}
        mark, change = state.fetchone()
    return _Written(new, mark or 0, change or 0)
