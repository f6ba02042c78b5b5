"""Notice that PostgreSQL failed over to a standby, or was restored, and let nothing through that may have been lost.

Each new connection is asked in which life of which cluster it is: its identifier and its timeline, which every
promotion and every restore changes. In another life than the recorded one, claims and revocations made before may be
missing, so every assertion and token of before is refused - unless the standby had every commit.
"""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from authserver import clock
from authserver.adapters.sql.engine import is_sqlite

if TYPE_CHECKING:
    import psycopg

# The name of the WAL file begins with the timeline. pg_control_checkpoint() would tell it only after the first
# checkpoint that follows a promotion, which may be minutes later.
_ERA_SQL = """
SELECT system_identifier || ':' || CASE WHEN pg_is_in_recovery() THEN ''
         ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
       pg_is_in_recovery(),
       current_setting('synchronous_standby_names') <> ''
         AND current_setting('synchronous_commit') IN ('on', 'remote_write', 'remote_apply')
FROM pg_control_system()
"""
_HAS_TABLE_SQL = "SELECT to_regclass('database_era') IS NOT NULL"
_FIRST_SQL = "INSERT INTO database_era (name, era, synchronous) VALUES ('registry', %s, %s) ON CONFLICT DO NOTHING"
_RECORDED_SQL = "SELECT era, synchronous FROM database_era WHERE name = 'registry' FOR UPDATE"
_RECORD_SQL = "UPDATE database_era SET era = %s, synchronous = %s WHERE name = 'registry'"
_RAISE_SQL = (
    "INSERT INTO purge_mark (name, moment) VALUES (%s, %s)"
    " ON CONFLICT (name) DO UPDATE SET moment = greatest(purge_mark.moment, excluded.moment)"
)
# Far above every number that a process can have seen before the failover and that the standby lacks.
_LEAP_SQL = (
    "INSERT INTO registry_change (name, number) VALUES ('registry', %(leap)s)"
    " ON CONFLICT (name) DO UPDATE SET number = registry_change.number + %(leap)s"
)
_LEAP = 1 << 32


@dataclass(frozen=True, slots=True)
class _Era:
    """A life of a cluster, and whether a commit in it waits for a standby."""

    name: str
    synchronous: bool


class FailoverFence:
    """Lets a connection to PostgreSQL be used only after a failover that it may bring was dealt with.

    `assertion_seconds` is how far ahead the `until` of a claim can be, at most; `token_seconds` is how long an access
    token can live. For so long after a failover what could have been lost is refused; a claim's refusal has the reason
    `database_failed_over`.
    """

    def __init__(self, *, assertion_seconds: int, token_seconds: int) -> None:
        self._assertion_seconds, self._token_seconds = assertion_seconds, token_seconds
        self._admitted: _Era | None = None
        self._lock = threading.Lock()

    def guard(self, engine: Engine) -> None:
        """Ask each connection that the engine makes from now on; SQLite has no standby."""
        if not is_sqlite(engine):
            event.listen(engine, "connect", self._on_connect)

    def _on_connect(self, connection: "psycopg.Connection[Any]", _record: object) -> None:
        try:
            self._admit(connection)
        except BaseException:
            connection.close()
            raise

    def _admit(self, connection: "psycopg.Connection[Any]") -> None:
        name, in_recovery, synchronous = _one(connection, _ERA_SQL)
        era = _Era(name, synchronous)
        if in_recovery:  # its connections outlive a promotion, so none may be kept from before it
            raise _unusable("PostgreSQL is a standby")
        if era == self._admitted:
            return
        with self._lock:
            if not _one(connection, _HAS_TABLE_SQL)[0]:
                return  # a database without the schema, about to be upgraded
            with connection.transaction():
                self._confirm(connection, era)
            self._admitted = era

    def _confirm(self, connection: "psycopg.Connection[Any]", era: _Era) -> None:
        """Compare with what is recorded, one process at a time, and record."""
        connection.execute(_FIRST_SQL, (era.name, era.synchronous))
        recorded = _Era(*_one(connection, _RECORDED_SQL))
        if recorded == era:
            return
        if recorded.name != era.name:
            # What processes keep of the registry may be of changes that are lost, under numbers to be given again.
            connection.execute(_LEAP_SQL, {"leap": _LEAP})
            if not recorded.synchronous:
                self._refuse_what_was_before(connection, clock.now())
        connection.execute(_RECORD_SQL, (era.name, era.synchronous))

    def _refuse_what_was_before(self, connection: "psycopg.Connection[Any]", now: int) -> None:
        # One more second: a mark refuses what is before it.
        connection.execute(_RAISE_SQL, ("failover", now + self._assertion_seconds + 1))
        connection.execute(_RAISE_SQL, ("revoked_jti", now + self._token_seconds + 1))


def _one(connection: "psycopg.Connection[Any]", statement: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(statement.encode()).fetchone()
    if row is None:
        raise _unusable("PostgreSQL did not say which life it is in")
    return row


def _unusable(why: str) -> Exception:
    from psycopg import OperationalError  # loaded by whoever made the connection; SQLite has no use for it

    return OperationalError(why)
