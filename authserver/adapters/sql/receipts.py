"""The ReceiptStore over SQL: refusals by request id, many in one insert, bounded in time and number."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Table, bindparam, select

from authserver.adapters.sql.database import Database, insert_if_absent
from authserver.adapters.sql.jtis import purge_expired
from authserver.adapters.sql.tables import receipt
from authserver.services.ports import MAX_RECEIPTS, Receipt


class BoundedRows:
    """Rows of a table with `id`, `until` and `body`. At most `max_rows` and a twentieth more are kept."""

    def __init__(self, database: Database, table: Table, *, max_rows: int) -> None:
        self._database, self._table, self._max_rows = database, table, max_rows
        self._insert = insert_if_absent(table, database.dialect)
        self._by_id = select(table.c.body).where(table.c.id == bindparam("of_id"))
        self._added, self._lock = 0, threading.Lock()

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep these rows by one insert; now and then the oldest are forgotten."""
        if not rows:
            return
        with self._database.writing() as connection:
            connection.execute(self._insert, rows)
        if self._is_time_to_trim(len(rows)):
            self._trim()

    def body(self, row_id: str) -> str | None:
        """Return the body, or None."""
        with self._database.reading() as connection:
            return connection.execute(self._by_id, {"of_id": row_id}).scalar()

    def purge(self, *, before: int) -> int:
        """Forget rows whose `until` is before the given second; return how many."""
        return purge_expired(self._database, self._table, self._table.c.id, before=before)

    def _is_time_to_trim(self, added: int) -> bool:
        with self._lock:
            self._added += added
            due = self._added > self._max_rows // 20
            if due:
                self._added = 0
            return due

    def _trim(self) -> None:
        """Forget what is older than the newest `max_rows`, and what is of the same second as the first too old."""
        until_of = self._table.c.until
        too_old = select(until_of).order_by(until_of.desc()).offset(self._max_rows).limit(1)
        with self._database.reading() as connection:
            until = connection.execute(too_old).scalar()
        if until is not None:
            self.purge(before=until + 1)


class SqlReceiptStore:
    """ReceiptStore (see the port) on SQLite or PostgreSQL. At most `max_rows` and a twentieth more are kept."""

    def __init__(self, database: Database, *, max_rows: int = MAX_RECEIPTS) -> None:
        self._rows = BoundedRows(database, receipt, max_rows=max_rows)

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Keep these receipts by one insert; now and then the oldest are forgotten."""
        self._rows.add([{"id": one.id, "until": one.until, "body": json.dumps(asdict(one))} for one in receipts])

    def get(self, receipt_id: str) -> Receipt | None:
        """Return the receipt, or None."""
        body = self._rows.body(receipt_id)
        return None if body is None else Receipt(**json.loads(body))

    def purge(self, *, before: int) -> int:
        """Forget receipts whose `until` is before the given second; return how many."""
        return self._rows.purge(before=before)
