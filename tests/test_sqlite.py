"""One SQLite file, used by several at once."""

import sqlite3
import threading
from pathlib import Path

import pytest

from authserver.sqlite import switch_to_wal


def test_a_new_file_is_switched_by_many_at_once(tmp_path: Path) -> None:
    """Each of eight finds the file in WAL mode; SQLite itself tells some of them at once that it is busy."""
    modes: list[str] = []

    def switch(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            switch_to_wal(connection, wait_seconds=10)
            connection.execute("CREATE TABLE IF NOT EXISTS claim (jti TEXT)")
            modes.append(connection.execute("PRAGMA journal_mode").fetchone()[0])
        finally:
            connection.close()

    for number in range(50):
        threads = [threading.Thread(target=switch, args=(tmp_path / f"{number}.db",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert modes == ["wal"] * 400


def test_a_busy_file_is_waited_for(tmp_path: Path) -> None:
    """The same, told twice for sure; another error ends it."""
    told = [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY, sqlite3.SQLITE_IOERR_WRITE]

    class Told(sqlite3.Connection):
        def execute(self, *arguments: object) -> sqlite3.Cursor:  # type: ignore[override]
            error = sqlite3.OperationalError("not now")
            error.sqlite_errorcode = told.pop(0)
            raise error

    connection = sqlite3.connect(tmp_path / "used.db", factory=Told)

    with pytest.raises(sqlite3.OperationalError) as refused:
        switch_to_wal(connection, wait_seconds=10)

    assert (refused.value.sqlite_errorcode, told) == (sqlite3.SQLITE_IOERR_WRITE, [])
    connection.close()


def test_waiting_has_an_end(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "used.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    connection = sqlite3.connect(tmp_path / "used.db", isolation_level=None, timeout=0)

    with pytest.raises(sqlite3.OperationalError) as refused:
        switch_to_wal(connection, wait_seconds=0.05)
    holder.execute("ROLLBACK")
    switch_to_wal(connection, wait_seconds=0.05)

    assert refused.value.sqlite_errorcode == sqlite3.SQLITE_BUSY
    connection.close()
    holder.close()


def test_what_waiting_cannot_mend_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is no database at all, but a text that is longer than its header.\n" * 20)
    connection = sqlite3.connect(tmp_path / "text.db")

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        switch_to_wal(connection, wait_seconds=3600)

    connection.close()
