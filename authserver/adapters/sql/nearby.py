"""Reads of the database that wait for nobody: on SQLite a few microseconds in a file of this machine."""

import json
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.engine.interfaces import DBAPICursor

from authserver.adapters.sql.engine import is_sqlite, storage_errors
from authserver.errors import StorageUnavailable
from authserver.services.ports import StoredResource

_CURRENT_SQL = (
    "SELECT v.version_id, v.generation, v.body, v.created_at, v.last_updated, r.secret_hash, r.token_generation"
    " FROM resource r JOIN resource_version v"
    " ON v.resource_type = r.resource_type AND v.id = r.id AND v.version_id = r.version_id"
    " WHERE r.resource_type = ? AND r.id = ? AND NOT r.deleted"
)


class FileReader:
    """A connection of its own to a SQLite file, for single rows. A reader in WAL mode waits for no writer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: PoolProxiedConnection | None = None
        self._cursor: DBAPICursor | None = None
        self._lock = threading.Lock()

    def first(self, statement: str, parameters: Sequence[Any] = ()) -> Any | None:
        """Return the first row, or None; raises StorageUnavailable, and opens the file anew next time."""
        with self._lock:
            try:
                with storage_errors():
                    cursor = self._open()
                    cursor.execute(statement, parameters)
                    row = cursor.fetchone()
                    cursor.fetchall()  # a statement that is not at its end would keep an old state of the file
                    return row
            except StorageUnavailable:
                self._drop()
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._drop()

    def _open(self) -> DBAPICursor:
        if self._cursor is None:
            self._connection = self._engine.raw_connection()
            self._connection.detach()  # the pool may make another in its place
            self._cursor = self._connection.cursor()
        return self._cursor

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):  # it is given up either way
                self._connection.close()
        self._connection = self._cursor = None


class NearbyResources:
    """Nearby (see services.at_hand) on SQLite; on PostgreSQL, which is another process, nothing is near."""

    def __init__(self, engine: Engine) -> None:
        self._reader = FileReader(engine) if is_sqlite(engine) else None

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return the current version with its secret hash; None also where that cannot be known without waiting."""
        if self._reader is None:
            return None
        try:
            row = self._reader.first(_CURRENT_SQL, (resource_type, resource_id))
        except StorageUnavailable:
            return None
        return None if row is None else _stored(resource_type, resource_id, row)

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()


def _stored(resource_type: str, resource_id: str, row: Sequence[Any]) -> StoredResource:
    version_id, generation, body, created_at, last_updated, secret_hash, token_generation = row
    return StoredResource(
        resource_type,
        resource_id,
        version_id,
        generation,
        json.loads(body),
        created_at,
        last_updated,
        secret_hash=secret_hash,
        token_generation=token_generation,
    )
