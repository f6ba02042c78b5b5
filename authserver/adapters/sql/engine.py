"""Open the registry's database: SQLite or PostgreSQL, chosen by URL, set so that a commit survives power loss.

Every SQLAlchemy error leaves this package as StorageUnavailable, through storage_errors().
"""

import os
import select
import sqlite3
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from authserver.adapters.sql.one_server import require_version
from authserver.errors import StorageUnavailable

POOL_SIZE = 16
"""Connections at most; a server has 4 to 16 threads, and each holds one connection at a time."""

WAIT_SECONDS = 5
"""How long anything waits by default: for a connection of the pool, a lock, a statement. Then the answer is 503."""

CONNECT_SECONDS = 3
_IDLE_SECONDS = 1.0
# Whatever the server's own defaults are: each statement sees what was committed before it (claims rely on that), and a
# commit is durable before it returns.
_DURABLE = (
    "SELECT set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)"
)
_READ_ONLY = {"authserver_no_transaction": True}


class DatabaseUrlError(ValueError):
    """The database URL is not one that this server can use; the message says why, without a password."""


class _DeadlineConnection(psycopg.Connection[Any]):
    """A connection that gives up on a server which no longer answers, though its kernel still does.

    `statement_timeout` is kept by the server, so a frozen server never reports it. The wait is then cut
    off here and the connection closed, because what is still under way on it cannot be known.
    """

    limit_seconds: float | None = None

    def wait(self, gen: Generator[Any, Any, Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server to answer, `limit_seconds` at most."""
        try:
            return super().wait(gen, interval, self.limit_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


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
        return _open_postgresql(url, wait_seconds)
    raise DatabaseUrlError(f"No database is known by {backend!r}; use sqlite:////path or postgresql://host/name.")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn every error of the database library into StorageUnavailable."""
    try:
        yield
    # sqlite3 has no error of its own for an integer too large
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error, OverflowError) as error:
        raise StorageUnavailable(detail=_first_line(error)) from error


def reading_view(engine: Engine) -> Engine:
    """Return the same engine for single statements, without a transaction round them: on PostgreSQL one round trip."""
    return engine.execution_options(**_READ_ONLY)


def is_sqlite(engine: Engine) -> bool:
    """Say whether the database is SQLite; if not, it is PostgreSQL."""
    return engine.dialect.name == "sqlite"


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
    event.listen(engine, "begin", partial(_begin, "BEGIN IMMEDIATE"))
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
    connection.isolation_level = None  # transactions begin where _begin() says, nowhere else
    _switch_to_wal(connection, deadline=time.monotonic() + wait_seconds)
    connection.execute(f"PRAGMA busy_timeout = {wait_seconds * 1000}")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL loses the last commits at power loss
    connection.execute("PRAGMA fullfsync = ON")  # where fsync alone does not reach the disk (macOS)
    connection.execute("PRAGMA foreign_keys = ON")


def _switch_to_wal(connection: sqlite3.Connection, *, deadline: float) -> None:
    """Set the journal mode; SQLite's own busy timeout does not cover processes that switch a new file at once."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_busy(error: sqlite3.OperationalError) -> bool:
    """Say whether waiting may help; it does not where the disk is full (https://www.sqlite.org/rescode.html)."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _begin(statement: str, connection: Connection) -> None:
    """Begin a transaction; the drivers are told not to, because they would do it at the wrong time or too often."""
    if _READ_ONLY.keys().isdisjoint(connection.get_execution_options()):
        connection.exec_driver_sql(statement)


def _open_postgresql(url: URL, wait_seconds: int) -> Engine:
    settings = {name: value for name, value in _timeouts(wait_seconds).items() if name not in url.query}
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=wait_seconds,
        hide_parameters=True,
        connect_args={"autocommit": True, **settings},
    )
    event.listen(engine, "do_connect", partial(_connect_postgresql, wait_seconds=wait_seconds))
    event.listen(engine, "begin", partial(_begin, "BEGIN ISOLATION LEVEL READ COMMITTED"))
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _require_alive)
    return engine


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _require_alive(connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _proxy: object) -> None:
    """Ask a connection whether it still works if there is reason to doubt it; if it does not, the pool makes new ones.

    Asking at every use would cost a round trip per request. A server that ended has closed the socket, and a
    socket that is closed, or that something unasked arrived on, can be read.
    """
    used_at = record.info.get("used_at")
    if used_at is None:  # just connected
        return
    if time.monotonic() - used_at < _IDLE_SECONDS and not _is_readable(connection.fileno()):
        return
    try:
        connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()  # select() itself fails for descriptors over 1,023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _timeouts(wait_seconds: int) -> dict[str, Any]:
    """Return libpq settings (milliseconds unless said) that make a dead or stuck server an error in seconds."""
    wait = wait_seconds * 1000
    return {
        "connect_timeout": CONNECT_SECONDS,  # seconds
        "tcp_user_timeout": wait,
        "keepalives_idle": wait_seconds,  # seconds
        "keepalives_interval": 1,  # seconds
        "keepalives_count": 3,
        "options": f"-c statement_timeout={wait} -c lock_timeout={wait}"
        f" -c idle_in_transaction_session_timeout={2 * wait}",
    }


def _connect_postgresql(
    _dialect: object,
    _record: object,
    arguments: list[Any],
    parameters: dict[str, Any],
    *,
    wait_seconds: int,
) -> psycopg.Connection[Any]:
    connection = _DeadlineConnection.connect(*arguments, **parameters)
    connection.limit_seconds = wait_seconds + 1.0  # the server's own timeout comes first
    try:
        connection.execute(_DURABLE)
    except BaseException:
        connection.close()
        raise
    return connection
