"""What SQLite needs of its surroundings: a version that can be trusted, and one server on a file.

Two servers on one file would not share what each keeps of source addresses and key sets, and a slow one holds up both.
"""

import fcntl
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sqlalchemy.engine import make_url

from authserver.adapters.sql.write_ahead_log import require_whole_log
from authserver.errors import StorageUnavailable

OLDEST = (3, 35, 0)
"""The first version with RETURNING (https://www.sqlite.org/lang_returning.html)."""

_WAL_RESET_FIXED = (3, 51, 3)


def require_version(version: Sequence[int]) -> None:
    """Refuse a version of SQLite that lacks what the stores use; raises StorageUnavailable (`sqlite_too_old`)."""
    if tuple(version) < OLDEST:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise StorageUnavailable(detail=f"SQLite is {found}; {needed} or later is needed", reason="sqlite_too_old")


def has_wal_reset_bug(version: Sequence[int]) -> bool:
    """Say whether a commit and a checkpoint of two connections at one moment can damage the file.

    https://www.sqlite.org/wal.html#walresetbug: 3.7.0 to 3.51.2; older branches have corrected releases that this
    does not know, so True may be too careful. Within a server writers take turns, checkpoints included, so what is
    left is another process that writes meanwhile: worth a warning, not a refusal.
    """
    return tuple(version) < _WAL_RESET_FIXED


class Held:
    """The right to be the one server on a SQLite file, until close() or the end of the process."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Let another server have the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Hold on."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self.close()


def hold_sqlite(database_url: str) -> Held:
    """Take the one place of a server on the SQLite file of the URL; with PostgreSQL there is nothing to take.

    The lock is of the process that calls: a supervisor holds it for all of its workers, whom it may replace. Only
    servers ask for it, so commands may use the file beside one. Raises StorageUnavailable (`sqlite_in_use`) when
    another server has it, and `sqlite_log_damaged` when what was committed can no longer be read.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return Held(None)
    path = f"{os.path.realpath(url.database)}-server"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageUnavailable(detail=f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        detail = f"another server uses {url.database}; with more than one, use PostgreSQL"
        raise StorageUnavailable(detail=detail, reason="sqlite_in_use") from error
    held = Held(descriptor)
    try:
        require_whole_log(os.path.realpath(url.database))
    except StorageUnavailable:
        held.close()
        raise
    return held
