"""The ReplayGuard and the RevocationList over SQL: one insert each, decided by the database's primary key.

Both forget in small transactions, so that purging never holds up a request for long. Before they forget they write
down up to which moment: what could have been forgotten is never taken for new, though a clock be set back (threat B14).
"""

import time

from sqlalchemy import Column, Table, bindparam, delete, select, text, union_all, update

from authserver.adapters.sql import audit_chain
from authserver.adapters.sql.changes import NUMBER_SQL, SqlChanges, count_change
from authserver.adapters.sql.claims import SqlClaimQueue
from authserver.adapters.sql.database import Database, insert_if_absent
from authserver.adapters.sql.jti_key import used_jti_key
from authserver.adapters.sql.tables import purge_mark, revoked_jti, used_jti
from authserver.protocol.audit_record import AuditChoice, AuditRecord
from authserver.services.ports import Revocations

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
_REVOKED_SINCE = select(revoked_jti.c.jti, revoked_jti.c.until).where(revoked_jti.c.change > bindparam("of_change"))
_FORGOTTEN = select(purge_mark.c.moment).where(purge_mark.c.name == revoked_jti.name)


class SqlReplayGuard:
    """ReplayGuard (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database, claims: SqlClaimQueue) -> None:
        self._database, self._claims = database, claims

    def claim(self, client_id: str, jti: str, *, until: int, audit: AuditChoice | None = None) -> bool:
        """Claim the jti together with others that come now; False when it was claimed before."""
        outcome = self._claims.claim(client_id, jti, until=until, audit=audit)
        if outcome.failure is not None:
            raise outcome.failure
        return outcome.claimed

    def was_claimed(self, client_id: str, jti: str) -> bool:
        """Say whether the jti was claimed, claiming nothing."""
        with self._database.reading() as connection:
            return connection.execute(_CLAIMED, {"of_key": used_jti_key(client_id, jti)}).first() is not None

    def purge(self, *, before: int) -> int:
        """Forget claims whose `until` is before the given second; return how many."""
        return purge_expired(self._database, used_jti, used_jti.c.key, before=before)


class SqlRevocationList:
    """RevocationList (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database, changes: SqlChanges) -> None:
        self._database, self._changes = database, changes
        self._insert = insert_if_absent(revoked_jti, database.dialect)

    def revoke(self, jti: str, *, until: int, audit: AuditRecord | None = None) -> None:
        """Revoke the token with this jti; twice is as once."""
        with self._changes.changing(), self._database.writing() as connection:
            change = count_change(connection)
            connection.execute(self._insert, {"jti": jti, "until": until, "change": change})
            audit_chain.append(connection, [audit] if audit else [])
        self._changes.spread()

    def since(self, number: int) -> Revocations:
        """Return what was revoked after this state of the registry; see the port."""
        with self._database.reading() as connection:
            present = connection.execute(text(NUMBER_SQL)).scalar() or 0
            # After the number: what it counts is there, and what came later does no harm.
            rows = connection.execute(_REVOKED_SINCE, {"of_change": number}).all()
            forgotten = connection.execute(_FORGOTTEN).scalar() or 0
        return Revocations({row.jti: row.until for row in rows}, present, forgotten)

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
