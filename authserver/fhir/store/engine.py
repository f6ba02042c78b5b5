"""Make a SQLAlchemy engine for the FHIR store: SQLite in WAL mode, or PostgreSQL through psycopg.

Also the one place where a database's own exceptions become StorageUnavailable.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from authserver.errors import StorageUnavailable
from authserver.sqlite import switch_to_wal

WRITE_CONFLICT = "write_conflict"

# PostgreSQL: serialization_failure and deadlock_detected; the transaction may be run again.
_LOST_RACES = ("40001", "40P01")
_WRITES = "fhir_store_writes"
_WAIT_SECONDS = 5
# Of each connection; allocated as pages are read. A page has 4 KiB.
_CACHE_KIBIBYTES, _LOADING_CACHE_KIBIBYTES = 16_000, 256_000
_CHECKPOINT_PAGES, _LOADING_CHECKPOINT_PAGES = 4_000, 40_000


def make_engine(url: str, *, for_loading: bool = False) -> Engine:
    """Return the engine of the database at this SQLAlchemy URL; the caller disposes of it.

    `for_loading`: it shall write very much over one connection, and may take memory and disk for that.
    """
    address = make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    engine = create_engine(address, poolclass=QueuePool, pool_size=8, max_overflow=24, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite_to_load if for_loading else _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose statements see one state of the database."""
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection
    except (DBAPIError, PoolTimeout) as error:
        raise StorageUnavailable(detail=type(error).__name__) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that is committed at the end, or rolled back by an exception.

    Two writers of one key raise StorageUnavailable with the reason `write_conflict` in one of them.
    """
    try:
        with engine.execution_options(**{_WRITES: True}).begin() as connection:
            yield connection
    except IntegrityError as error:
        raise StorageUnavailable(detail=type(error).__name__, reason=WRITE_CONFLICT) from error
    except (DBAPIError, PoolTimeout) as error:
        lost = getattr(getattr(error, "orig", None), "sqlstate", None) in _LOST_RACES
        reason = WRITE_CONFLICT if lost else None
        raise StorageUnavailable(detail=type(error).__name__, reason=reason) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    _set_pragmas(connection, cache=_CACHE_KIBIBYTES, checkpoint=_CHECKPOINT_PAGES)


def _prepare_sqlite_to_load(connection: Any, _record: object) -> None:
    _set_pragmas(connection, cache=_LOADING_CACHE_KIBIBYTES, checkpoint=_LOADING_CHECKPOINT_PAGES)


def _set_pragmas(connection: Any, *, cache: int, checkpoint: int) -> None:
    # Transactions are begun by _begin_sqlite; the driver's own habit begins them too late for a write lock.
    connection.isolation_level = None
    switch_to_wal(connection, wait_seconds=_WAIT_SECONDS)
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_WAIT_SECONDS * 1000}",
        "synchronous=FULL",
        f"cache_size=-{cache}",
        f"wal_autocheckpoint={checkpoint}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # A plan for any value is wrong for a frequent one and for a rare one, and compiling one takes longer than its run.
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_custom_plan")
        cursor.execute("SET jit = off")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer can fail with SQLITE_BUSY at once, so a writer takes the lock at its start.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
