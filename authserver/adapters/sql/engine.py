"""Open the registry's database: SQLite or PostgreSQL, chosen by URL, set so that a commit survives power loss.

Every SQLAlchemy error leaves this package as StorageUnavailable, through storage_errors().
"""

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from authserver.adapters.sql.one_server import require_version
from authserver.errors import StorageUnavailable
from authserver.sqlite import switch_to_wal

POOL_SIZE = 16
"""Connections at most; a server has 4 to 16 threads, and each holds one connection at a time."""

WAIT_SECONDS = 5
"""How long anything waits by default: for a connection of the pool, a lock, a statement. Then the answer is 503."""

_READ_ONLY = {"authserver_no_transaction": True}


class DatabaseUrlError(ValueError):
    """The database URL is not one that this server can use; the message says why, without a password."""


def open_engine(database_url: str, *, wait_seconds: int = WAIT_SECONDS) -> Engine:
    """Return an engine for `sqlite:////path/file.db` or `postgresql://user@host/name`.

    Nothing waits longer than `wait_seconds` for a pooled connection, a lock or a statement. libpq's settings
    in the URL's query (`connect_timeout`, `options`, `sslmode`, ...) win over ours. A missing SQLite file is
    created, readable by its owner alone; no connection to PostgreSQL is made yet.
    Raises DatabaseUrlError for any other URL, StorageUnavailable when the file cannot be made.
    """
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise DatabaseUrlError("The database URL cannot be parsed.") from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(url, wait_seconds)
    if backend == "postgresql":
        from authserver.adapters.sql.postgresql import open_postgresql  # its driver is of no use to a SQLite file

        return open_postgresql(url, wait_seconds)
    raise DatabaseUrlError(f"No database is known by {backend!r}; use sqlite:////path or postgresql://host/name.")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn every error of the database library into StorageUnavailable."""
    try:
        yield
    except _library_errors() as error:
        raise StorageUnavailable(detail=_first_line(error)) from error


def reading_view(engine: Engine) -> Engine:
    """Return the same engine for single statements, without a transaction round them: on PostgreSQL one round trip."""
    return engine.execution_options(**_READ_ONLY)


def is_sqlite(engine: Engine) -> bool:
    """Say whether the database is SQLite; if not, it is PostgreSQL."""
    return engine.dialect.name == "sqlite"


def _library_errors() -> tuple[type[Exception], ...]:
    """Return what the library and the drivers raise; psycopg nothing before open_postgresql(), which loads it."""
    psycopg = sys.modules.get("psycopg")
    drivers: tuple[type[Exception], ...] = (sqlite3.Error,) if psycopg is None else (sqlite3.Error, psycopg.Error)
    return SQLAlchemyError, OverflowError, *drivers  # sqlite3 has no error of its own for an integer too large


def _first_line(error: Exception) -> str:
    """Return what happened, without the rows and parameters that drivers add on further lines."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0][:300]}"


def _open_sqlite(url: URL, wait_seconds: int) -> Engine:
    if url.database in (None, "", ":memory:") or "uri" in url.query:
        raise DatabaseUrlError("A SQLite database must be a file: sqlite:////path/file.db.")
    require_version(sqlite3.sqlite_version_info)
    _create_private(str(url.database))
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=wait_seconds,
        hide_parameters=True,
        connect_args={"timeout": 0},  # seconds; _prepare_sqlite() sets the real one
    )
    event.listen(engine, "connect", partial(_prepare_sqlite, wait_seconds=wait_seconds))
    event.listen(engine, "begin", partial(begin, "BEGIN IMMEDIATE"))
    return engine


def _create_private(path: str) -> None:
    """Create the file with mode 0600; SQLite gives its -wal and -shm files the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StorageUnavailable(detail=f"cannot create {path}: {error.strerror}") from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object, *, wait_seconds: int) -> None:
    connection.isolation_level = None  # transactions begin where begin() says, nowhere else
    switch_to_wal(connection, wait_seconds=wait_seconds)
    connection.execute(f"PRAGMA busy_timeout = {wait_seconds * 1000}")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL loses the last commits at power loss
    connection.execute("PRAGMA fullfsync = ON")  # where fsync alone does not reach the disk (macOS)
    connection.execute("PRAGMA foreign_keys = ON")


def begin(statement: str, connection: Connection) -> None:
    """Begin a transaction; the drivers are told not to, because they would do it at the wrong time or too often."""
    if _READ_ONLY.keys().isdisjoint(connection.get_execution_options()):
        connection.exec_driver_sql(statement)
