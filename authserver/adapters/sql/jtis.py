"""The ReplayGuard and the RevocationList over SQL: one insert each, decided by the database's primary key.

Both forget in small transactions, so that purging never holds up a request for long. Before they forget they write
down up to which moment: what could have been forgotten is never taken for new, though a clock be set back (threat B14).
"""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Connection, Table, bindparam, delete, select, union_all, update

from authserver.adapters.sql.database import Database, insert_if_absent
from authserver.adapters.sql.tables import purge_mark, revoked_jti, used_jti
from authserver.errors import StorageUnavailable

BATCH = 500
"""Rows forgotten per transaction."""

_PAUSE_SECONDS = 0.002
_CLAIMED = select(used_jti.c.until).where(used_jti.c.key == bindparam("of_key"))
_REVOKED = union_all(
    select(revoked_jti.c.until).where(revoked_jti.c.jti == bindparam("of_jti")),
    select(purge_mark.c.moment).where(
        purge_mark.c.name == revoked_jti.name, purge_mark.c.moment > bindparam("expires_at")
    ),
)
_MARK = select(purge_mark.c.moment).where(purge_mark.c.name == used_jti.name)


def used_jti_key(client_id: str, jti: str) -> bytes:
    """Return the 16 bytes under which a client's jti is remembered.

    A SHA-256, cut to 16 bytes, over both values, the first led by its length in bytes: no two pairs have the
    same encoding (threat B11). A jti is the sender's choice, so a lone surrogate must not be an error.
    """
    client, identifier = (value.encode("utf-8", "surrogatepass") for value in (client_id, jti))
    return hashlib.sha256(len(client).to_bytes(8, "big") + client + identifier).digest()[:16]


class SqlReplayGuard:
    """ReplayGuard (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_if_absent(used_jti, database.dialect).returning(used_jti.c.until)

    def claim(self, client_id: str, jti: str, *, until: int) -> bool:
        """Claim the jti by one insert; False when it was claimed before."""
        row = {"key": used_jti_key(client_id, jti), "until": until}
        claimed, mark = self._database.once(lambda connection: self._claim(connection, row))
        if claimed and until < mark:
            # The clock was set back after a purge: an earlier claim of this jti may be among what was forgotten.
            raise StorageUnavailable(detail=f"claims until {mark} are forgotten", reason="clock_set_back")
        return claimed

    def _claim(self, connection: Connection, row: Mapping[str, Any]) -> tuple[bool, int]:
        # A row comes back when one was inserted. rowcount would not say: psycopg reports -1 (threat B10).
        claimed = bool(connection.execute(self._insert, row).all())
        # Read after the insert: a purge writes its mark before it deletes, so who found no row sees the mark.
        return claimed, connection.execute(_MARK).scalar() or 0

    def was_claimed(self, client_id: str, jti: str) -> bool:
        """Say whether the jti was claimed, claiming nothing."""
        with self._database.reading() as connection:
            return connection.execute(_CLAIMED, {"of_key": used_jti_key(client_id, jti)}).first() is not None

    def purge(self, *, before: int) -> int:
        """Forget claims whose `until` is before the given second; return how many."""
        return purge_expired(self._database, used_jti, used_jti.c.key, before=before)


class SqlRevocationList:
    """RevocationList (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = insert_if_absent(revoked_jti, database.dialect)

    def revoke(self, jti: str, *, until: int) -> None:
        """Revoke the token with this jti; twice is as once."""
        row = {"jti": jti, "until": until}
        self._database.once(lambda connection: connection.execute(self._insert, row).close())

    def is_revoked(self, jti: str, *, expires_at: int) -> bool:
        """Say whether the token was revoked, or could have been and was forgotten."""
        with self._database.reading() as connection:
            return connection.execute(_REVOKED, {"of_jti": jti, "expires_at": expires_at}).first() is not None

    def purge(self, *, before: int) -> int:
        """Forget revocations of tokens that expired before the given second; return how many."""
        return purge_expired(self._database, revoked_jti, revoked_jti.c.jti, before=before)


def purge_expired(database: Database, table: Table, key: Column[bytes] | Column[str], *, before: int) -> int:
    """Delete the rows whose `until` is before the given second, in small transactions; return how many.

    The mark is written in a transaction of its own first, so nothing is deleted that it does not cover.
    """
    with database.writing() as connection:
        mark = {"name": table.name, "moment": before}
        connection.execute(insert_if_absent(purge_mark, database.dialect), mark)
        raised = update(purge_mark).where(purge_mark.c.name == table.name, purge_mark.c.moment < before)
        connection.execute(raised.values(moment=before))
    expired = select(key).where(table.c.until < before).order_by(table.c.until).limit(BATCH)
    statement = delete(table).where(key.in_(expired), table.c.until < before).returning(table.c.until)
    forgotten = 0
    while True:
        with database.writing() as connection:
            batch = len(connection.execute(statement).all())
        forgotten += batch
        if batch < BATCH:
            return forgotten
        time.sleep(_PAUSE_SECONDS)  # requests that wait to write go first
