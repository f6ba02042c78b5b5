"""The KeyUseStore over SQL: one row a key, raised by an upsert."""

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, select

from authserver.adapters.sql.database import Database, insert_into
from authserver.adapters.sql.tables import api_key_use

_LAST = select(api_key_use).where(api_key_use.c.id.in_(bindparam("of_ids", expanding=True)))


class SqlKeyUseStore:
    """KeyUseStore (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        added = insert_into(api_key_use, database.dialect)
        self._mark = added.on_conflict_do_update(
            index_elements=[api_key_use.c.id],
            set_={"last_used": added.excluded.last_used},
            where=api_key_use.c.last_used < added.excluded.last_used,
        )

    def mark(self, uses: Mapping[str, int]) -> None:
        """Keep the moment for each key id, unless a later one is kept."""
        rows = [{"id": key_id, "last_used": at} for key_id, at in sorted(uses.items())]
        if not rows:
            return
        with self._database.writing() as connection:
            connection.execute(self._mark, rows)

    def last_used(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the moment kept for each of these keys that has one."""
        with self._database.reading() as connection:
            rows = connection.execute(_LAST, {"of_ids": list(key_ids)}).all()
        return {row.id: row.last_used for row in rows}
