"""The KeyUseStore over SQL, for API keys and for keys of clients: one row a key, raised by an upsert."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table, delete, select

from authserver.adapters.sql.database import Database, insert_into
from authserver.adapters.sql.tables import api_key_use


class SqlKeyUseStore:
    """KeyUseStore (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database, table: Table = api_key_use) -> None:
        """Keep the uses in this table: its columns are `id` and `last_used`."""
        self._database, self._table = database, table
        added = insert_into(table, database.dialect)
        self._mark = added.on_conflict_do_update(
            index_elements=[table.c.id],
            set_={"last_used": added.excluded.last_used},
            where=table.c.last_used < added.excluded.last_used,
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
        last = select(self._table).where(self._table.c.id.in_(list(key_ids)))
        with self._database.reading() as connection:
            return {row.id: row.last_used for row in connection.execute(last)}

    def purge(self, *, before: int) -> int:
        """Forget the uses of before this second; return how many."""
        with self._database.writing() as connection:
            return connection.execute(delete(self._table).where(self._table.c.last_used < before)).rowcount
