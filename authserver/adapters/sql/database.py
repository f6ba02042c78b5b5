"""How the stores use an engine: read, change in a transaction, or run one small write beside many others.

On SQLite small writes that arrive together share one transaction, and so one wait for the disk.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite

from authserver.adapters.sql.engine import WAIT_SECONDS, is_sqlite, reading_view, storage_errors
from authserver.errors import StorageUnavailable

T = TypeVar("T")


class Database:
    """An engine with the three ways in which the stores use it; every one raises StorageUnavailable."""

    def __init__(self, engine: Engine, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._engine = engine
        self._reads = reading_view(engine)
        self._turns = _Turns(engine, wait_seconds) if is_sqlite(engine) else None

    @property
    def dialect(self) -> Dialect:
        """The SQL that the database speaks."""
        return self._engine.dialect

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for one SELECT."""
        with storage_errors(), self._reads.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection inside one transaction, durable when the block ends.

        On SQLite the transaction holds the write lock from its start, so what it reads stays true.
        """
        if self._turns is None:
            with storage_errors(), self._engine.begin() as connection:
                yield connection
        else:
            with self._turns.mine(), storage_errors(), self._engine.begin() as connection:
                yield connection

    def once(self, write: Callable[[Connection], T]) -> T:
        """Run ONE writing statement and return what `write` returns, durable by then."""
        if self._turns is not None:
            return self._turns.together(write)
        with self.reading() as connection:  # PostgreSQL commits a statement outside a transaction by itself
            return write(connection)

    def close(self) -> None:
        """Close every connection of the pool."""
        self._engine.dispose()


@dataclass(slots=True, eq=False)
class _Write:
    """One small write that waits for its turn, and what became of it."""

    run: Callable[[Connection], Any]
    result: Any = None
    failure: str | None = None
    done: bool = False


class _Turns:
    """The one writer that SQLite allows. Waiting here is fair and ends at once; SQLite itself would poll."""

    def __init__(self, engine: Engine, wait_seconds: float) -> None:
        self._engine = engine
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._waiting: deque[_Write] = deque()

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Hold the turn; raises StorageUnavailable when it does not come in time."""
        if not self._lock.acquire(timeout=self._wait_seconds):
            raise StorageUnavailable(detail=f"waited {self._wait_seconds} s to write")
        try:
            yield
        finally:
            self._lock.release()

    def together(self, run: Callable[[Connection], T]) -> T:
        """Run the write in one transaction with all that wait by then: whoever gets the turn commits for all.

        A write whose caller gave up waiting may still be committed: a jti is then spent though nothing was
        issued for it, which is the safe side.
        """
        write = _Write(run)
        self._waiting.append(write)
        with self.mine():
            if not write.done:
                self._commit_waiting()
        if write.failure is not None:
            raise StorageUnavailable(detail=write.failure)
        result: T = write.result
        return result

    def _commit_waiting(self) -> None:
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        failure: str | None = "the commit was cut short"
        try:
            with storage_errors(), self._engine.begin() as connection:
                for write in group:
                    write.result = write.run(connection)
            failure = None
        except StorageUnavailable as error:
            failure = error.detail
        finally:
            for write in group:
                write.failure, write.done = failure, True


def insert_if_absent(table: Table, dialect: Dialect) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that does nothing when the key is taken."""
    if dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()
