"""Claims of jtis, written by one thread in groups: one transaction, one wait for the disk for all that came meanwhile.

An outcome is handed over only after its group is durable. On PostgreSQL a group is one round trip, or two with records
for the audit: what is recorded depends on who won, and on the end of the chain. Records that belong to no claim wait in
the same queue.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from authserver.adapters.sql import audit_chain
from authserver.adapters.sql.changes import NUMBER_SQL
from authserver.adapters.sql.database import Database
from authserver.adapters.sql.jti_key import used_jti_key
from authserver.errors import StorageUnavailable, Unavailable
from authserver.protocol.audit_record import AuditChoice, AuditRecord
from authserver.services.claim_queue import ClaimOutcome

GROUP = 256
"""Claims in one transaction, more or less: what came in one turn of the event loop is not divided."""

MAX_WAITING = 4_096
"""Claims that may wait; the next fails at once."""

FAILED_OVER = "database_failed_over"
"""The reason of a refusal because an earlier claim may have been lost when the database failed over (see failover)."""

_PURGED_SQL = "SELECT moment FROM purge_mark WHERE name = 'used_jti'"
_FAILED_OVER_SQL = "SELECT moment FROM purge_mark WHERE name = 'failover'"
_SQLITE_INSERT = "INSERT INTO used_jti (key, until) VALUES (?, ?) ON CONFLICT DO NOTHING"
# In binary: as text a driver looks through each element for what has to be escaped, which takes ten times as long.
_POSTGRESQL_INSERT = (
    "INSERT INTO used_jti (key, until) SELECT * FROM unnest(%b::bytea[], %b::bigint[]) ON CONFLICT DO NOTHING"
    " RETURNING key"
)
# Read after the insert: a purge writes its mark before it deletes, so who found no row sees the mark.
_STATE_SQL = f"SELECT ({_PURGED_SQL}), ({_FAILED_OVER_SQL}), ({NUMBER_SQL})"

Deliver = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class _Claim:
    """One claim that waits; without a key, records alone. `at_once`: the writer itself hands over its outcome."""

    key: bytes | None
    until: int
    done: Callable[[ClaimOutcome], None]
    at_once: bool = False
    audit: AuditChoice | None = None
    records: tuple[AuditRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of a group: the keys that were new, up to which moments claims are forgotten or lost, the state."""

    new: set[bytes]
    purged: int
    failed_over: int
    change: int


class SqlClaimQueue:
    """ClaimQueue (see the port) on SQLite or PostgreSQL. The thread begins with the first claim."""

    def __init__(self, database: Database, *, wait_seconds: float) -> None:
        self._database, self._wait_seconds = database, wait_seconds
        self._write = _write_sqlite if database.dialect.name == "sqlite" else _write_postgresql
        self._waiting: queue.SimpleQueue[list[_Claim] | None] = queue.SimpleQueue()
        self._deliver: Deliver = _directly
        self._gathered: list[_Claim] = []
        self._held = 0  # claims in the queue, under the lock
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lock = threading.Lock()

    def submit(
        self,
        client_id: str,
        jti: str,
        *,
        until: int,
        done: Callable[[ClaimOutcome], None],
        audit: AuditChoice | None = None,
    ) -> None:
        """Let the jti be claimed; `done` gets the outcome when it is durable. Never waits; for one thread."""
        self._gathered.append(_Claim(used_jti_key(client_id, jti), until, done, audit=audit))
        if len(self._gathered) > 1:
            return
        try:
            # All that comes in one turn of the event loop becomes one group: the writer is woken once.
            self._deliver(self._put_gathered)
        except Exception:  # noqa: BLE001 -- a loop that was closed meanwhile: the writer says what became of it
            self._put_gathered()

    def deliver_by(self, run: Deliver) -> None:
        """Let the outcomes of a group be handed over by `run`."""
        self._deliver = run

    def claim(self, client_id: str, jti: str, *, until: int, audit: AuditChoice | None = None) -> ClaimOutcome:
        """Let the jti be claimed and wait for the outcome; it is a failure when it does not come in time."""
        key = used_jti_key(client_id, jti)
        return self._waited(lambda done: _Claim(key, until, done, at_once=True, audit=audit))

    def record(self, records: Sequence[AuditRecord]) -> Unavailable | None:
        """Let the records be written, and wait; return why they were not, None when they are durable."""
        return self._waited(lambda done: _Claim(None, 0, done, at_once=True, records=tuple(records))).failure

    def _waited(self, make: Callable[[Callable[[ClaimOutcome], None]], _Claim]) -> ClaimOutcome:
        came, outcomes = threading.Event(), [ClaimOutcome(failure=_too_late(self._wait_seconds))]

        def done(outcome: ClaimOutcome) -> None:
            outcomes[0] = outcome
            came.set()

        self._put([make(done)])
        # The database has its own, shorter limits; this one is for a writer that is busy with others.
        came.wait(2 * self._wait_seconds)
        return outcomes[0]

    def close(self) -> None:
        """Write what waits, then stop."""
        self._put_gathered()
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _put_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._put(gathered)

    def _put(self, claims: list[_Claim]) -> None:
        with self._lock:
            room = 0 if self._closed else max(MAX_WAITING - self._held, 0)
            taken, refused = claims[:room], claims[room:]
            if taken:
                self._held += len(taken)
                self._waiting.put(taken)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
                    self._thread.start()
        failed = [(claim, ClaimOutcome(failure=StorageUnavailable(detail="too many claims wait"))) for claim in refused]
        _hand_over(failed, self._deliver)

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            group, ends = self._with_others(first)
            _hand_over(list(zip(group, self._outcomes(group), strict=True)), self._deliver)
            if ends:
                return

    def _with_others(self, first: list[_Claim]) -> tuple[list[_Claim], bool]:
        """Return these claims with all that wait by now, and whether nothing comes after them."""
        group, ends = first, False
        while len(group) < GROUP and not ends:
            try:
                others = self._waiting.get_nowait()
            except queue.Empty:
                break
            ends = others is None
            group += others or []
        with self._lock:
            self._held -= len(group)
        return group, ends

    def _outcomes(self, group: Sequence[_Claim]) -> list[ClaimOutcome]:
        try:
            return self._write(self._database, group)
        except StorageUnavailable as error:
            # An exception of its own for each: raising one object in several threads mixes their traces.
            return [ClaimOutcome(failure=_same(error)) for _ in group]
        except Exception as error:  # noqa: BLE001 -- without its one writer nobody would get an outcome any more
            structlog.get_logger().exception("claims_not_written", claims=len(group))
            return [ClaimOutcome(failure=StorageUnavailable(detail=type(error).__name__)) for _ in group]


def _same(error: StorageUnavailable) -> StorageUnavailable:
    return StorageUnavailable(detail=error.detail, reason=error.reason)


def _outcome(claim: _Claim, written: _Written) -> ClaimOutcome:
    if claim.key is None:
        return ClaimOutcome(change=written.change, recorded=True)
    if claim.key not in written.new:
        return ClaimOutcome(claimed=False, change=written.change)
    written.new.discard(claim.key)  # of two in one group the first has it
    if claim.until < written.purged:
        # The clock was set back after a purge: an earlier claim of this jti may be among what was forgotten.
        detail = f"claims until {written.purged} are forgotten"
        return ClaimOutcome(failure=StorageUnavailable(detail=detail, reason="clock_set_back"))
    if claim.until < written.failed_over:
        detail = f"claims until {written.failed_over} may have been lost"
        return ClaimOutcome(failure=StorageUnavailable(detail=detail, reason=FAILED_OVER))
    return ClaimOutcome(claimed=True, change=written.change)


def _hand_over(outcomes: list[tuple[_Claim, ClaimOutcome]], deliver: Deliver) -> None:
    others = [(claim, outcome) for claim, outcome in outcomes if not claim.at_once]
    _tell([(claim, outcome) for claim, outcome in outcomes if claim.at_once])
    try:
        if others:
            deliver(lambda: _tell(others))
    except Exception:  # noqa: BLE001 -- a loop that was closed meanwhile must not end the writer
        structlog.get_logger().exception("claims_not_delivered", claims=len(others))


def _tell(outcomes: Sequence[tuple[_Claim, ClaimOutcome]]) -> None:
    for claim, outcome in outcomes:
        try:
            claim.done(outcome)
        except Exception:  # noqa: BLE001 -- what one caller does wrong is not the next one's failure
            structlog.get_logger().exception("claim_not_delivered")


def _directly(run: Callable[[], None]) -> None:
    run()


def _too_late(seconds: float) -> StorageUnavailable:
    return StorageUnavailable(detail=f"waited {2 * seconds:.0f} s for a claim to be written")


def _write_sqlite(database: Database, group: Sequence[_Claim]) -> list[ClaimOutcome]:
    with database.raw_writing() as connection:
        new = set()
        for claim in group:
            if claim.key is not None and connection.execute(_SQLITE_INSERT, (claim.key, claim.until)).rowcount == 1:
                new.add(claim.key)
        state = connection.execute(_STATE_SQL).fetchone()
        outcomes, records = _judged(group, _written(new, state))
        if records:
            audit_chain.append_sqlite(connection, records)
    return outcomes


def _write_postgresql(database: Database, group: Sequence[_Claim]) -> list[ClaimOutcome]:
    # In one order in every process: two groups that share keys would wait for each other otherwise.
    rows = sorted({claim.key: claim.until for claim in reversed(group) if claim.key is not None}.items())
    given: tuple[Any, Any] = ([key for key, _ in rows], [until for _, until in rows])
    audited = any(claim.audit or claim.records for claim in group)
    with (
        database.raw_writing() as connection,
        connection.cursor() as inserted,
        connection.cursor() as state,
        connection.cursor() as head,
    ):
        # A pipeline is one round trip and, without a BEGIN, one transaction; each statement has a later snapshot than
        # the one before it. Its end is the commit, which raises where nothing became durable; fetching before it would
        # be a second trip.
        with connection.pipeline():
            if audited:
                connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            inserted.execute(_POSTGRESQL_INSERT, given, prepare=True)
            state.execute(_STATE_SQL, prepare=True)
            if audited:
                head.execute(audit_chain.LOCK_SQL, prepare=True)
        new = {bytes(key) for (key,) in inserted.fetchall()}
        outcomes, records = _judged(group, _written(new, state.fetchone()))
        if records:
            audit_chain.append_postgresql(connection, head.fetchone(), records)
        elif audited:
            connection.execute("COMMIT")
        return outcomes


def _judged(group: Sequence[_Claim], written: _Written) -> tuple[list[ClaimOutcome], list[AuditRecord]]:
    """Return what became of each claim, and what is to be recorded of the group in the same transaction."""
    outcomes, records = [], []
    for claim in group:
        outcome = _outcome(claim, written)
        made = None
        if claim.audit is not None and outcome.failure is None:
            made = claim.audit.of(claimed=outcome.claimed, change=outcome.change)
        if made is not None:
            outcome = ClaimOutcome(outcome.claimed, outcome.change, recorded=True)
            records.append(made)
        records.extend(claim.records)
        outcomes.append(outcome)
    return outcomes, records


def _written(new: set[bytes], state: tuple[int | None, int | None, int | None]) -> _Written:
    purged, failed_over, change = state
    return _Written(new, purged or 0, failed_over or 0, change or 0)
