"""PostgreSQL through psycopg: connections that commit durably, give up in time, and are asked whether they live.

Loaded by open_engine() for a URL of PostgreSQL alone.
"""

import math
import select
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from authserver.adapters.sql.engine import POOL_SIZE, begin

CONNECT_SECONDS = 3
_IDLE_SECONDS = 1.0
# Whatever the server's own defaults are: each statement sees what was committed before it (claims rely on that), and a
# commit is durable before it returns.
_DURABLE = (
    "SELECT set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)"
)


class _DeadlineConnection(psycopg.Connection[Any]):
    """A connection that gives up on a server which no longer answers, though its kernel still does.

    `statement_timeout` is kept by the server, so a frozen server never reports it. The wait is then cut
    off here and the connection closed, because what is still under way on it cannot be known.
    """

    limit_seconds: float | None = None
    gave_up: Callable[[], None] | None = None

    def wait(self, gen: Generator[Any, Any, Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server to answer, `limit_seconds` at most."""
        try:
            return super().wait(gen, interval, self.limit_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()
                if self.gave_up is not None:
                    self.gave_up()
            raise


class _Doubts:
    """When the server was last given up: what was not used since may hang in the same way.

    To find that out anew for each connection would take as long again each time.
    """

    def __init__(self) -> None:
        self.raised_at = -math.inf

    def add(self) -> None:
        """Doubt every connection that is there now."""
        self.raised_at = time.monotonic()


def open_postgresql(url: URL, wait_seconds: int) -> Engine:
    """Return an engine for the URL (see open_engine); no connection is made yet."""
    settings = {name: value for name, value in _timeouts(wait_seconds).items() if name not in url.query}
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=wait_seconds,
        hide_parameters=True,
        connect_args={"autocommit": True, **settings},
    )
    doubts = _Doubts()
    event.listen(engine, "do_connect", partial(_connect_postgresql, wait_seconds=wait_seconds, doubts=doubts))
    event.listen(engine, "begin", partial(begin, "BEGIN ISOLATION LEVEL READ COMMITTED"))
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_require_alive, doubts=doubts))
    return engine


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _require_alive(
    connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _proxy: object, *, doubts: _Doubts
) -> None:
    """Ask a connection whether it still works if there is reason to doubt it; if it does not, the pool makes new ones.

    Asking at every use would cost a round trip per request. A server that ended has closed the socket, and a
    socket that is closed, or that something unasked arrived on, can be read.
    """
    used_at = record.info.get("used_at")
    if used_at is None:  # just connected
        return
    if used_at <= doubts.raised_at:
        raise InvalidatePoolError
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
    doubts: _Doubts,
) -> psycopg.Connection[Any]:
    connection = _DeadlineConnection.connect(*arguments, **parameters)
    connection.limit_seconds = wait_seconds + 1.0  # the server's own timeout comes first
    connection.gave_up = doubts.add
    try:
        connection.execute(_DURABLE)
    except BaseException:
        connection.close()
        raise
    return connection
