"""SQLite's write-ahead log: what was committed must be in it, or the file is not served. Fault 19."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from authserver.adapters.sql.one_server import hold_sqlite
from authserver.errors import StorageUnavailable

HEADER, FRAME = 32, 24 + 4096
TRANSACTIONS = 10


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A database as a killed process leaves it: ten transactions in the log, none in the file."""
    return as_killed(tmp_path)


def as_killed(folder: Path, *, checkpoint: str = "") -> Path:
    """Return a copy of a database in use, made after a checkpoint of that kind and, with one, another transaction."""
    used, copy = folder / "used.db", folder / "copy.db"
    connection = sqlite3.connect(used, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE claim (jti TEXT)"):
        connection.execute(statement)
    for number in range(1, TRANSACTIONS):
        connection.execute("INSERT INTO claim VALUES (?)", [f"{number}" * 3000])
    if checkpoint:
        connection.execute(f"PRAGMA wal_checkpoint({checkpoint})")
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(f"{used}{suffix}", f"{copy}{suffix}")
    connection.close()
    return copy


def overwrite(path: str, at: int, data: bytes = b"\xa5\xa5\xa5") -> None:
    """Change some bytes of a file."""
    with Path(path).open("r+b") as file:
        file.seek(at)
        file.write(data)


def problem(database: Path) -> str:
    """Return the reason why the file is refused, or nothing."""
    try:
        hold_sqlite(f"sqlite:///{database}").close()
    except StorageUnavailable as error:
        return error.reason
    return ""


def claims(database: Path) -> int:
    """Return how many rows SQLite finds."""
    connection = sqlite3.connect(database)
    (count,) = connection.execute("SELECT count(*) FROM claim").fetchone()
    connection.close()
    return int(count)


def cut(database: Path) -> None:
    """Take the last bytes off the log."""
    log = Path(f"{database}-wal")
    log.write_bytes(log.read_bytes()[:-100])


@pytest.mark.parametrize(
    "damage",
    [
        lambda database: overwrite(f"{database}-wal", HEADER + FRAME * 3 + 500),
        lambda database: overwrite(f"{database}-wal", HEADER + FRAME * 3 + 4),
        lambda database: overwrite(f"{database}-wal", HEADER + FRAME * 3 + 8),
        lambda database: overwrite(f"{database}-wal", 16),
        lambda database: overwrite(f"{database}-wal", 0),
        cut,
        lambda database: Path(f"{database}-wal").write_bytes(b""),
        lambda database: Path(f"{database}-wal").unlink(),
    ],
    ids=["page", "frame header", "salt", "log's salt", "magic", "cut", "emptied", "removed"],
)
def test_log_that_lost_something_is_refused(crashed: Path, damage: Callable[[Path], None]) -> None:
    """Fault 19: SQLite would open it without a word, and know less."""
    damage(crashed)

    assert problem(crashed) == "sqlite_log_damaged"


def test_sqlite_alone_would_forget(crashed: Path) -> None:
    """Why this is looked at: nine claims, four of them after a damage in the middle are gone without an error."""
    overwrite(f"{crashed}-wal", HEADER + FRAME * 6 + 500)

    assert claims(crashed) < TRANSACTIONS - 1


def test_log_of_a_killed_server_is_taken(crashed: Path) -> None:
    """Fault 1: everything is there."""
    assert problem(crashed) == ""
    assert claims(crashed) == TRANSACTIONS - 1


@pytest.mark.parametrize(
    "change",
    [
        lambda database: Path(f"{database}-shm").unlink(),
        lambda database: overwrite(f"{database}-shm", 16),
        lambda database: overwrite(f"{database}-shm", 0, b"\xa5" * 200),
        lambda database: Path(f"{database}-wal").write_bytes(Path(f"{database}-wal").read_bytes() + b"\x5a" * FRAME),
    ],
    ids=["no index", "index being written", "index is garbage", "torn frame at the end"],
)
def test_what_a_crash_leaves_is_taken(crashed: Path, change: Callable[[Path], None]) -> None:
    """Fault 19: what was not committed may be missing, and the index is made anew by SQLite."""
    change(crashed)

    assert problem(crashed) == ""
    assert claims(crashed) == TRANSACTIONS - 1


@pytest.mark.parametrize("checkpoint", ["PASSIVE", "RESTART", "TRUNCATE"])
def test_damage_to_what_the_database_has_already_is_harmless(tmp_path: Path, checkpoint: str) -> None:
    database = as_killed(tmp_path, checkpoint=checkpoint)
    if Path(f"{database}-wal").stat().st_size:
        overwrite(f"{database}-wal", HEADER + 500)

    assert problem(database) == ""
    assert claims(database) == TRANSACTIONS - 1


def test_log_under_another_salt_is_one_of_later(crashed: Path) -> None:
    """A log that was begun anew since the index was read: the command line may write while a server starts."""
    old = Path(f"{crashed}-shm").read_bytes()
    connection = sqlite3.connect(crashed)
    connection.execute("PRAGMA wal_checkpoint(RESTART)")
    connection.execute("INSERT INTO claim VALUES ('later')")
    connection.commit()
    later = Path(f"{crashed}-wal").read_bytes()
    connection.close()
    Path(f"{crashed}-wal").write_bytes(later)
    Path(f"{crashed}-shm").write_bytes(old)

    assert problem(crashed) == ""


def test_refused_file_can_be_held_when_it_was_mended(crashed: Path) -> None:
    """A refusal keeps no lock."""
    log = Path(f"{crashed}-wal").read_bytes()
    overwrite(f"{crashed}-wal", 0)
    refused = problem(crashed)
    Path(f"{crashed}-wal").write_bytes(log)

    assert [refused, problem(crashed)] == ["sqlite_log_damaged", ""]


def test_log_that_cannot_be_read_is_refused(crashed: Path) -> None:
    """Also where root may read everything: a folder in its place."""
    Path(f"{crashed}-wal").unlink()
    Path(f"{crashed}-wal").mkdir()

    assert problem(crashed) == "storage_unavailable"
