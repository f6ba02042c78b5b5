"""The folder of the signing keys: `<kid>.pem` and, beside it, `<kid>.json` with the record of the key's life.

Every reader and writer holds a lock on the folder, so nobody sees a step half done; the record of a retired key
stays, so that its kid never comes back.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from authserver.adapters.key_material import (
    KeyFilesError,
    SigningAlgorithm,
    SigningKey,
    load,
    make,
    read_private,
    require_private,
    write_private,
)
from authserver.protocol import key_life, strict_json
from authserver.protocol.key_life import KeyLife, KeyTimes

Signature = tuple[tuple[str, int, int, int, int], ...]
"""Name, inode, size and times of change of every file: equal as long as nothing was changed."""

_MEMBERS = {field.name for field in fields(KeyLife)}


@dataclass(frozen=True, slots=True)
class Folder:
    """What one look at the folder found. `unrecorded` are keys that have no record yet: published, never signing."""

    keys: Mapping[str, SigningKey]
    lives: tuple[KeyLife, ...]
    unrecorded: tuple[str, ...]
    signature: Signature


class FolderBusy(KeyFilesError):
    """Somebody is changing the folder at this moment."""


def read(directory: Path, *, wait: bool = True) -> Folder:
    """Return what is there. Raises KeyFilesError for anything that cannot be used, FolderBusy rather than wait."""
    with locked(directory, write=False, wait=wait):
        return _read(directory)


def settle(
    directory: Path, *, algorithm: SigningAlgorithm, times: KeyTimes, now: int, make_first: bool = True
) -> Folder:
    """Bring the records up to date with the settings, take in keys without one, and return the folder.

    Keys of a folder without any record were published already: the first of the algorithm by kid signs on.
    Later ones are announced now. A folder without a key gets its first, and one whose next key is of another
    algorithm gets one of this (unless `make_first` is False). Raises KeyFilesError.
    """
    with locked(directory, write=True) as descriptor:
        found = _read(directory)
        require_complete(directory, found, times=times, now=now)
        for life in _changed(found, algorithm=algorithm, times=times, now=now):
            _write_record(directory, life, descriptor)
        found = _read(directory)
        newest = max(_published(found), key=lambda life: (life.signing_since, life.kid), default=None)
        if make_first and (newest is None or newest.algorithm != algorithm):
            _make(directory, descriptor, found, algorithm=algorithm, times=times, now=now)
            found = _read(directory)
        return found


def missing(found: Folder, *, times: KeyTimes, now: int) -> list[tuple[str, int | None]]:
    """Return the keys whose file is gone though a token may carry their kid, each with the moment when none does."""
    gone = [p for p in key_life.plan(found.lives, now=now, times=times) if p.life.kid not in found.keys]
    return [
        (planned.life.kid, planned.retire_after)
        for planned in gone
        if planned.life.retired_at is None and (planned.retire_after is None or now < planned.retire_after)
    ]


def require_complete(directory: Path, found: Folder, *, times: KeyTimes, now: int) -> None:
    """Raise KeyFilesError when a key is not there that must be published still."""
    for kid, _ in missing(found, times=times, now=now):
        raise KeyFilesError(
            f"{directory}/{kid}.pem is missing and unexpired tokens may carry its kid: restore it from a copy. If it "
            f"is lost, delete {kid}.json; its tokens are refused then."
        )


def announce(directory: Path, *, algorithm: SigningAlgorithm, times: KeyTimes, now: int) -> KeyLife:
    """Publish a new key and return its record; it signs by itself when every verifier can know it.

    Raises KeyFilesError.
    """
    with locked(directory, write=True) as descriptor:
        return _make(directory, descriptor, _read(directory), algorithm=algorithm, times=times, now=now)


def retire(directory: Path, kid: str, *, times: KeyTimes, now: int) -> KeyLife:
    """Delete the private key and return its record, which stays. Raises key_life.TooEarly, KeyFilesError."""
    with locked(directory, write=True) as descriptor:
        found = _read(directory)
        life = next((life for life in found.lives if life.kid == kid), None)
        if life is None or kid not in found.keys:
            raise KeyFilesError(f"{directory} has no published key {kid}: see `authserver keys list`.")
        key_life.check_retirement(found.lives, kid, now=now, times=times)
        retired = replace(life, retired_at=now)
        # The record first: a crash in between leaves a key file that the record of its retirement forbids.
        _write_record(directory, retired, descriptor)
        (directory / f"{kid}.pem").unlink()
        os.fsync(descriptor)
        return retired


def signature(directory: Path) -> Signature:
    """Return what changes with every change of the folder. Raises KeyFilesError."""
    with system_errors(directory), os.scandir(directory) as entries:
        named = [entry for entry in entries if entry.name.endswith((".pem", ".json"))]
        seen = ((entry.name, entry.stat(follow_symlinks=False)) for entry in named)
        return tuple(sorted((name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in seen))


@contextmanager
def locked(directory: Path, *, write: bool, wait: bool = True) -> Iterator[int]:
    """Yield a descriptor of the directory, locked against every process that changes it. Raises KeyFilesError."""
    kind = (fcntl.LOCK_EX if write else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    with system_errors(directory):
        require_private(directory, os.stat(directory))
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, kind)
            except BlockingIOError as error:
                raise FolderBusy(f"{directory} is being changed.") from error
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def system_errors(directory: Path) -> Iterator[None]:
    """Turn the system's refusal into a KeyFilesError."""
    try:
        yield
    except OSError as error:
        raise KeyFilesError(
            f"{error.filename or directory}: {error.strerror}. Give this server's user access."
        ) from error


def _read(directory: Path) -> Folder:
    seen = signature(directory)
    keys = {key.kid: key for key in map(load, sorted(directory.glob("*.pem")))}
    lives = tuple(map(_record, sorted(directory.glob("*.json"))))
    for life in lives:
        if life.retired_at is not None and life.kid in keys:
            raise KeyFilesError(f"{directory}/{life.kid}.pem was retired and its kid is used up: delete this file.")
    recorded = {life.kid for life in lives}
    return Folder(keys, lives, tuple(sorted(keys.keys() - recorded)), seen)


def _record(path: Path) -> KeyLife:
    try:
        values = strict_json.loads(read_private(path))
        if not (isinstance(values, dict) and values.keys() == _MEMBERS and _typed(values)):
            raise ValueError("its members are not those of a record")
        life = KeyLife(**values)
    except (ValueError, TypeError) as error:
        raise KeyFilesError(f"{path} is no record of a key: {error}. Restore it from a copy.") from error
    if path.name != f"{life.kid}.json":
        raise KeyFilesError(f"{path} is the record of {life.kid}: restore it from a copy.")
    return life


def _typed(values: Mapping[str, object]) -> bool:
    texts = ("kid", "algorithm")
    return (
        all(isinstance(values[name], str) for name in texts)
        and type(values["initial"]) is bool
        and (values["retired_at"] is None or type(values["retired_at"]) is int)
        and all(type(values[name]) is int for name in values.keys() - {*texts, "initial", "retired_at"})
    )


def _published(found: Folder) -> list[KeyLife]:
    return [life for life in found.lives if life.kid in found.keys]


def _changed(found: Folder, *, algorithm: SigningAlgorithm, times: KeyTimes, now: int) -> Iterator[KeyLife]:
    """Yield the records that are to be written: of keys that have none, and those that the settings change."""
    for life in _published(found):
        if (updated := key_life.under(life, times, now=now)) != life:
            yield updated
    if not found.lives:
        yield from _adopted([found.keys[kid] for kid in found.unrecorded], algorithm=algorithm, times=times, now=now)
        return
    for kid in found.unrecorded:
        yield key_life.announced(kid, found.keys[kid].algorithm, now=now, times=times)


def _adopted(
    keys: Sequence[SigningKey], *, algorithm: SigningAlgorithm, times: KeyTimes, now: int
) -> Iterator[KeyLife]:
    """Yield records for keys that a server without records published: one signs from now on, any may have before."""
    ordered = sorted(keys, key=lambda key: (key.algorithm != algorithm, key.kid))
    for place, key in enumerate(ordered):
        moment = now if place == 0 else now - 1  # one second before the first: superseded by it
        yield key_life.initial(key.kid, key.algorithm, now=moment, times=times)


def _make(
    directory: Path,
    descriptor: int,
    found: Folder,
    *,
    algorithm: SigningAlgorithm,
    times: KeyTimes,
    now: int,
) -> KeyLife:
    kid, pem = make(algorithm)
    begin = key_life.announced if found.keys or found.lives else key_life.initial
    life = begin(kid, algorithm, now=now, times=times)
    # The key first: a crash in between leaves a key without a record, which is published and does not sign.
    write_private(directory / f"{kid}.pem", pem, folder=descriptor)
    _write_record(directory, life, descriptor)
    return life


def _write_record(directory: Path, life: KeyLife, descriptor: int) -> None:
    text = json.dumps(asdict(life), indent=2) + "\n"
    write_private(directory / f"{life.kid}.json", text.encode(), folder=descriptor)
