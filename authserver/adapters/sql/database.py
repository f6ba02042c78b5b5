"""How the stores use an engine: read, change in a transaction, or write through the driver itself.

On SQLite the writers of a process take turns.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Dialect, Engine, Table
from sqlalchemy.dialects import sqlite

from authserver.adapters.sql.engine import WAIT_SECONDS, is_sqlite, reading_view, storage_errors
from authserver.errors import StorageUnavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


class Database:
    """An engine with the three ways in which the stores use it; every one raises StorageUnavailable."""

    def __init__(self, engine: Engine, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._engine = engine
        self._reads = reading_view(engine)
        self._wait_seconds = wait_seconds
        self._turns = threading.Lock() if is_sqlite(engine) else None

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
        with self._turn(), storage_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def raw_writing(self) -> Iterator[Any]:
        """Yield the driver's own connection for one transaction of a few statements; on SQLite it has begun.

        For what is done very often. On PostgreSQL each pipeline or statement is a transaction of its own.
        """
        with self._turn(), storage_errors(), self._reads.connect() as connection:
            driver: Any = connection.connection.driver_connection
            try:
                if self._turns is not None:
                    driver.execute("BEGIN IMMEDIATE")
                yield driver
                if self._turns is not None:
                    driver.execute("COMMIT")
            except BaseException:
                connection.invalidate()  # what became of the transaction is not known
                raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the turn of the one writer that SQLite allows: waiting here is fair and ends at once; SQLite would poll.

        Raises StorageUnavailable when the turn does not come in time.
        """
        if self._turns is None:
            yield
            return
        if not self._turns.acquire(timeout=self._wait_seconds):
            raise StorageUnavailable(detail=f"waited {self._wait_seconds} s to write")
        try:
            yield
        finally:
            self._turns.release()

    def close(self) -> None:
        """Close every connection of the pool."""
        self._engine.dispose()


def insert_into(table: Table, dialect: Dialect) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT that may say what it does when the key is taken."""
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects.postgresql import insert  # loaded with its engine; SQLite has no use for it

    return insert(table)


def insert_if_absent(table: Table, dialect: Dialect) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT that does nothing when the key is taken."""
    return insert_into(table, dialect).on_conflict_do_nothing()
