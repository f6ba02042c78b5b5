"""Records of decisions over SQL: kept as receipts are, and read again newest first."""

import json
from collections.abc import Sequence

from sqlalchemy import select

from authserver.adapters.sql.database import Database
from authserver.adapters.sql.receipts import BoundedRows
from authserver.adapters.sql.tables import decision
from authserver.protocol.decision_record import DecisionRecord, from_json
from authserver.services.ports import MAX_DECISIONS


class SqlDecisionStore:
    """Records by request id, on SQLite or PostgreSQL. At most `max_rows` and a twentieth more are kept."""

    def __init__(self, database: Database, *, max_rows: int = MAX_DECISIONS) -> None:
        self._database = database
        self._rows = BoundedRows(database, decision, max_rows=max_rows)

    def add(self, records: Sequence[DecisionRecord]) -> None:
        """Keep these records by one insert; now and then the oldest are forgotten."""
        self._rows.add([{"id": one.id, "until": one.until, "body": json.dumps(one.as_json())} for one in records])

    def get(self, record_id: str) -> DecisionRecord | None:
        """Return the record, or None."""
        body = self._rows.body(record_id)
        return None if body is None else from_json(json.loads(body))

    def recent(self, limit: int) -> Sequence[DecisionRecord]:
        """Return the newest records, at most `limit`."""
        newest = select(decision.c.body).order_by(decision.c.until.desc(), decision.c.id).limit(limit)
        with self._database.reading() as connection:
            bodies = connection.execute(newest).scalars().all()
        return [from_json(json.loads(body)) for body in bodies]

    def purge(self, *, before: int) -> int:
        """Forget records whose `until` is before the given second; return how many."""
        return self._rows.purge(before=before)
