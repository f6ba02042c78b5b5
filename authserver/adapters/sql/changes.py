"""In which state the registry is: a count in the database, and what a process knows of it without asking.

On SQLite the count is read by whoever needs it, which takes some microseconds. On PostgreSQL a thread asks for it all
the time, so that nobody waits for a round trip.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy import Connection, Engine, bindparam, select

from authserver.adapters.sql.database import Database, insert_into
from authserver.adapters.sql.engine import is_sqlite
from authserver.adapters.sql.nearby import FileReader
from authserver.adapters.sql.tables import registry_change
from authserver.errors import StorageUnavailable

POLL_SECONDS = 0.05
"""Time between two questions to PostgreSQL."""

AT_HAND_SECONDS = 0.25
"""How old an answer may be, counted from the question. A change that takes something away is acknowledged only after
so long, when no process can still hold what was before it: what was revoked is revoked everywhere by then."""

FILE_AT_HAND_SECONDS = 0.005
"""The same for SQLite, whose one server has no others beside it but commands: how often it looks into the file."""

NUMBER_SQL = "SELECT number FROM registry_change WHERE name = 'registry'"

_REGISTRY = "registry"
_NUMBER = select(registry_change.c.number).where(registry_change.c.name == bindparam("of_name"))


def count_change(connection: Connection) -> int:
    """Count a change in the transaction that makes it; return its number."""
    first = {"name": _REGISTRY, "number": 1}
    statement = insert_into(registry_change, connection.dialect).values(first)
    counted = statement.on_conflict_do_update(
        index_elements=[registry_change.c.name], set_={"number": registry_change.c.number + 1}
    )
    return int(connection.execute(counted.returning(registry_change.c.number)).scalar_one())


class SqlChanges:
    """Changes (see the port) on SQLite or PostgreSQL. `engine` is the database's own."""

    def __init__(self, database: Database, engine: Engine, *, at_hand_seconds: float | None = None) -> None:
        self._database = database
        usual = FILE_AT_HAND_SECONDS if is_sqlite(engine) else AT_HAND_SECONDS
        seconds = usual if at_hand_seconds is None else at_hand_seconds
        self._watch: _Watch = (
            FileWatch(engine, at_hand_seconds=seconds)
            if is_sqlite(engine)
            else _PollingWatch(self.number, at_hand_seconds=seconds)
        )

    def number(self) -> int:
        """Ask the database for the present number; raises StorageUnavailable."""
        with self._database.reading() as connection:
            return connection.execute(_NUMBER, {"of_name": _REGISTRY}).scalar() or 0

    def at_hand(self) -> int | None:
        """Return the number of at most AT_HAND_SECONDS ago, waiting for no other process; None without one."""
        return self._watch.at_hand()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Enclose a transaction that changes the registry: what was known before its end no longer counts after it."""
        try:
            yield
        finally:
            self._watch.changed()

    def spread(self) -> None:
        """Return when every process has noticed what was changed before; see AT_HAND_SECONDS."""
        self._watch.spread()

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()


class _Watch(Protocol):
    def at_hand(self) -> int | None: ...

    def changed(self) -> None: ...

    def spread(self) -> None: ...

    def close(self) -> None: ...


class FileWatch:
    """Reads the count from the file by a connection of its own, when it was not read a moment ago."""

    def __init__(
        self, engine: Engine, *, at_hand_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = FileReader(engine)
        self._at_hand_seconds, self._monotonic = at_hand_seconds, monotonic
        self._seen, self._good_until = 0, float("-inf")
        self._lock = threading.Lock()

    def at_hand(self) -> int | None:
        """Return the number of a moment ago; None when the file cannot be read."""
        asked_at = self._monotonic()
        if asked_at < self._good_until:
            return self._seen
        with self._lock:
            try:
                row = self._reader.first(NUMBER_SQL)
            except StorageUnavailable:
                self._good_until = float("-inf")
                return None
            # In this order, under the lock: changed() waits, and whoever reads without it finds what belongs together.
            self._seen = int(row[0]) if row else 0
            self._good_until = asked_at + self._at_hand_seconds
            return self._seen

    def changed(self) -> None:
        """Read it anew next time."""
        with self._lock:
            self._good_until = float("-inf")

    def spread(self) -> None:
        """Wait until another process has noticed."""
        time.sleep(self._at_hand_seconds)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._good_until = float("-inf")
            self._reader.close()


class _PollingWatch:
    """A thread that asks for the count all the time, begun by the first question to it."""

    def __init__(
        self, ask: Callable[[], int], *, at_hand_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask, self._at_hand_seconds, self._monotonic = ask, at_hand_seconds, monotonic
        self._seen: tuple[int, float] | None = None
        self._changed_at = float("-inf")
        self._wake, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def at_hand(self) -> int | None:
        if self._thread is None:
            self._start()
        seen = self._seen
        if seen is None or seen[1] < self._changed_at or self._monotonic() - seen[1] > self._at_hand_seconds:
            return None
        return seen[0]

    def changed(self) -> None:
        self._changed_at = self._monotonic()
        self._wake.set()

    def spread(self) -> None:
        time.sleep(self._at_hand_seconds)

    def close(self) -> None:
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="registry-watch", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.clear()
            asked_at = self._monotonic()
            try:
                self._seen = self._ask(), asked_at
            except StorageUnavailable:
                self._seen = None  # and nothing is at hand until the database answers again
            self._wake.wait(POLL_SECONDS)
