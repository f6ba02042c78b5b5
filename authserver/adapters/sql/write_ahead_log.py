"""Find out that a SQLite write-ahead log lost what was committed, before SQLite opens it.

SQLite takes a frame with a wrong checksum for the end of the log, as a crash leaves one, and forgets whatever follows:
used assertions and revocations too. The index beside the log (`-shm`) still says how much was committed.
https://www.sqlite.org/fileformat2.html#walformat, https://www.sqlite.org/walformat.html#the_wal_index_file_format
"""

import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from authserver.errors import StorageUnavailable

_LOG_HEADER = 32
_FRAME_HEADER = 24
_INDEX_HEADER = 48
_BACKFILLED_AT = 2 * _INDEX_HEADER
_MAGIC = 0x377F0682
_MASK = 0xFFFFFFFF
_NATIVE = "<" if sys.byteorder == "little" else ">"

Checksum = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Committed:
    """What the index says: the log's salt, how many of its frames are committed, how many are in the database."""

    salt: bytes
    frames: int
    backfilled: int


def require_whole_log(database: str) -> None:
    """Refuse a database file whose log lacks frames that were committed.

    Raises StorageUnavailable (`sqlite_log_damaged`). Without an index, as after a restart of some hosts, nothing is
    known. A command that ends meanwhile removes the log in order, so what is found must be there at a second look.
    """
    problem = _problem(database)
    if problem and problem == _problem(database):
        raise StorageUnavailable(detail=problem, reason="sqlite_log_damaged")


def _problem(database: str) -> str:
    """Return what is missing, or nothing. The index is read first: a log that grows meanwhile only has more."""
    index = committed(_content(f"{database}-shm"))
    if index is None or index.frames <= index.backfilled:
        return ""
    present = whole_frames(_content(f"{database}-wal"), salt=index.salt)
    if present is None or present >= index.frames:
        return ""
    return (
        f"{database}-wal is damaged: {index.frames} frames were committed, {present} can be read. Restore a backup; or"
        " delete it and the file -shm, and with them the last changes"
    )


def committed(index: bytes) -> Committed | None:
    """Return what an index says; None when there is none or it is not whole, as while it is written."""
    header, twin = index[:_INDEX_HEADER], index[_INDEX_HEADER:_BACKFILLED_AT]
    if len(index) < _BACKFILLED_AT + 4 or header != twin or header[12] != 1:
        return None
    if _words(_checksum(header[:40], _NATIVE), _NATIVE) != header[40:]:
        return None
    (frames,) = struct.unpack_from(f"{_NATIVE}I", header, 16)
    (backfilled,) = struct.unpack_from(f"{_NATIVE}I", index, _BACKFILLED_AT)
    return Committed(header[32:40], frames, backfilled)


def whole_frames(log: bytes, *, salt: bytes) -> int | None:
    """Return how many frames SQLite will read of a log; None when it was begun anew since, under another salt."""
    header = log[:_LOG_HEADER]
    order = ">" if header[3:4] and header[3] & 1 else "<"
    sums = _checksum(header[:24], order) if len(header) == _LOG_HEADER else (0, 0)
    is_whole = len(header) == _LOG_HEADER and _words(sums, ">") == header[24:]
    if not is_whole or int.from_bytes(header[:4], "big") & ~1 != _MAGIC:
        return 0
    if header[16:24] != salt:
        return None
    return sum(1 for _ in _frames(log, sums, salt=salt, order=order))


def _frames(log: bytes, sums: Checksum, *, salt: bytes, order: str) -> Iterable[int]:
    """Yield where each frame begins, up to the first that is not whole or is of an older log."""
    step = _FRAME_HEADER + int.from_bytes(log[8:12], "big")
    for begin in range(_LOG_HEADER, len(log) - step + 1, step):
        frame = log[begin : begin + step]
        sums = _checksum(frame[_FRAME_HEADER:], order, _checksum(frame[:8], order, sums))
        if frame[8:16] != salt or frame[16:24] != _words(sums, ">"):
            return
        yield begin


def _checksum(data: bytes, order: str, sums: Checksum = (0, 0)) -> Checksum:
    """Return SQLite's checksum of the data, whose length is a multiple of 8, going on from another."""
    first, second = sums
    for one, other in struct.iter_unpack(f"{order}II", data):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second


def _words(sums: Checksum, order: str) -> bytes:
    return struct.pack(f"{order}II", *sums)


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StorageUnavailable(detail=f"cannot read {path}: {error.strerror}") from error
