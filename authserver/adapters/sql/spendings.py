"""The SpendingBoard over SQL: one row a process, written over and over, read by all others."""

import json
from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select

from authserver.adapters.sql.database import Database, insert_into
from authserver.adapters.sql.tables import spending

Spent = Mapping[str, Mapping[str, int]]
_OTHERS = select(spending.c.member, spending.c.rounds).where(
    spending.c.member != bindparam("of_member"), spending.c.at >= bindparam("since")
)


class SqlSpendingBoard:
    """SpendingBoard (see the port) on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        added = insert_into(spending, database.dialect)
        self._publish = added.on_conflict_do_update(
            index_elements=[spending.c.member], set_={"at": added.excluded.at, "rounds": added.excluded.rounds}
        )

    def publish(self, member: str, rounds: Mapping[int, Spent], *, now: int) -> None:
        """Put up the notice of this process."""
        text = json.dumps(rounds, separators=(",", ":"))
        with self._database.writing() as connection:
            connection.execute(self._publish, {"member": member, "at": now, "rounds": text})

    def others(self, member: str, *, since: int) -> Mapping[str, Mapping[int, Spent]]:
        """Return the notices of all other processes put up since then."""
        with self._database.reading() as connection:
            rows = connection.execute(_OTHERS, {"of_member": member, "since": since}).all()
        return {row.member: {int(number): spent for number, spent in json.loads(row.rounds).items()} for row in rows}

    def purge(self, *, before: int) -> int:
        """Take down the notices put up before the given second; return how many."""
        with self._database.writing() as connection:
            return connection.execute(delete(spending).where(spending.c.at < before)).rowcount
