"""Which PostgreSQL a server may be started on: one that keeps a commit, and that takes one.

Whether a commit waits for its disk is set for each connection (see engine); what is asked here nobody but the
database's operator can set right.
"""

from dataclasses import dataclass

from authserver.adapters.sql.engine import open_engine, reading_view, storage_errors
from authserver.errors import StorageUnavailable

# A standby answers `on` for transaction_read_only as well, so it is asked about first.
_STATE_SQL = """
SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
       current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on'
"""


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a PostgreSQL says of itself, by https://www.postgresql.org/docs/current/runtime-config-wal.html."""

    in_recovery: bool
    read_only: bool
    fsync: bool
    full_page_writes: bool


def require_safe(state: ServerState) -> None:
    """Raise StorageUnavailable, with a reason of its own for each, for a server that would lose or refuse commits."""
    if state.in_recovery:
        raise StorageUnavailable(
            detail="PostgreSQL is a standby: name the primary in the database's URL", reason="postgresql_standby"
        )
    if state.read_only:
        raise StorageUnavailable(
            detail="PostgreSQL takes no writes: default_transaction_read_only is on", reason="postgresql_read_only"
        )
    if not state.fsync:
        raise StorageUnavailable(
            detail="PostgreSQL runs with fsync = off: after a power failure used assertions and revocations are lost",
            reason="postgresql_fsync_off",
        )
    if not state.full_page_writes:
        raise StorageUnavailable(
            detail="PostgreSQL runs with full_page_writes = off: a power failure may leave pages half written",
            reason="postgresql_full_page_writes_off",
        )


def require_safe_server(database_url: str) -> None:
    """Ask the PostgreSQL of the URL what it is, and refuse an unsafe one; SQLite has nothing to be asked.

    Raises StorageUnavailable (see require_safe(), and when it does not answer), DatabaseUrlError.
    """
    if not database_url.startswith("postgresql"):
        return
    engine = open_engine(database_url)
    try:
        with storage_errors(), reading_view(engine).connect() as connection:
            state = ServerState(*connection.exec_driver_sql(_STATE_SQL).one())
    finally:
        engine.dispose()
    require_safe(state)
