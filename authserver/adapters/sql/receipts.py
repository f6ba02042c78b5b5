"""The ReceiptStore over SQL: refusals by request id, many in one insert, bounded in time and number."""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import bindparam, select

from authserver.adapters.sql.database import Database, insert_if_absent
from authserver.adapters.sql.jtis import purge_expired
from authserver.adapters.sql.tables import receipt
from authserver.services.ports import MAX_RECEIPTS, Receipt

_BY_ID = select(receipt.c.body).where(receipt.c.id == bindparam("of_id"))


class SqlReceiptStore:
    """ReceiptStore (see the port) on SQLite or PostgreSQL. At most `max_rows` and a twentieth more are kept."""

    def __init__(self, database: Database, *, max_rows: int = MAX_RECEIPTS) -> None:
        self._database, self._max_rows = database, max_rows
        self._insert = insert_if_absent(receipt, database.dialect)
        self._added, self._lock = 0, threading.Lock()

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Keep these receipts by one insert; now and then the oldest are forgotten."""
        rows = [{"id": one.id, "until": one.until, "body": json.dumps(asdict(one))} for one in receipts]
        if not rows:
            return
        with self._database.writing() as connection:
            connection.execute(self._insert, rows)
        if self._is_time_to_trim(len(rows)):
            self._trim()

    def get(self, receipt_id: str) -> Receipt | None:
        """Return the receipt, or None."""
        with self._database.reading() as connection:
            body = connection.execute(_BY_ID, {"of_id": receipt_id}).scalar()
        return None if body is None else Receipt(**json.loads(body))

    def purge(self, *, before: int) -> int:
        """Forget receipts whose `until` is before the given second; return how many."""
        return purge_expired(self._database, receipt, receipt.c.id, before=before)

    def _is_time_to_trim(self, added: int) -> bool:
        with self._lock:
            self._added += added
            due = self._added > self._max_rows // 20
            if due:
                self._added = 0
            return due

    def _trim(self) -> None:
        """Forget what is older than the newest `max_rows`, and what is of the same second as the first too old."""
        too_old = select(receipt.c.until).order_by(receipt.c.until.desc()).offset(self._max_rows).limit(1)
        with self._database.reading() as connection:
            until = connection.execute(too_old).scalar()
        if until is not None:
            self.purge(before=until + 1)
