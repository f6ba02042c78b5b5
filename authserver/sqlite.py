"""What every user of a SQLite file must do the same way."""

import sqlite3
import time


def switch_to_wal(connection: sqlite3.Connection, *, wait_seconds: float) -> None:
    """Set the journal mode; SQLite's own busy timeout does not cover connections that switch a new file at once.

    Raises sqlite3.OperationalError for anything else than a busy file, and for that after `wait_seconds`.
    """
    deadline = time.monotonic() + wait_seconds
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
