"""The registry's stores over one database, as one bundle for the composition root."""

from sqlalchemy import Engine, text

from authserver.adapters.sql.audit import SqlAuditStore
from authserver.adapters.sql.changes import SqlChanges
from authserver.adapters.sql.claims import SqlClaimQueue
from authserver.adapters.sql.database import Database
from authserver.adapters.sql.decisions import SqlDecisionStore
from authserver.adapters.sql.engine import WAIT_SECONDS
from authserver.adapters.sql.failover import FailoverFence
from authserver.adapters.sql.jtis import SqlReplayGuard, SqlRevocationList
from authserver.adapters.sql.key_uses import SqlKeyUseStore
from authserver.adapters.sql.nearby import NearbyResources
from authserver.adapters.sql.receipts import SqlReceiptStore
from authserver.adapters.sql.resources import SqlResourceStore
from authserver.adapters.sql.spendings import SqlSpendingBoard
from authserver.adapters.sql.tables import client_key_use
from authserver.services.ports import MAX_DECISIONS, MAX_RECEIPTS


class SqlStores:
    """Every store of the registry over one engine, which close() closes."""

    def __init__(
        self,
        engine: Engine,
        *,
        wait_seconds: float = WAIT_SECONDS,
        max_receipts: int = MAX_RECEIPTS,
        max_decisions: int = MAX_DECISIONS,
        at_hand_seconds: float | None = None,
        fence: FailoverFence | None = None,
    ) -> None:
        """Build the stores; on SQLite a writer waits `wait_seconds` for its turn among the threads of the process.

        `at_hand_seconds` (see changes; None is what suits the database) must be the same in every process on one
        database. With a `fence` no connection to PostgreSQL is used before it was asked whether the database failed
        over.
        """
        if fence is not None:
            fence.guard(engine)
        self.database = Database(engine, wait_seconds=wait_seconds)
        self.changes = SqlChanges(self.database, engine, at_hand_seconds=at_hand_seconds)
        self.claims = SqlClaimQueue(self.database, wait_seconds=wait_seconds)
        self.resources = SqlResourceStore(self.database, self.changes)
        self.nearby = NearbyResources(engine)
        self.replay_guard = SqlReplayGuard(self.database, self.claims)
        self.revocations = SqlRevocationList(self.database, self.changes)
        self.audit = SqlAuditStore(self.database, self.claims)
        self.receipts = SqlReceiptStore(self.database, max_rows=max_receipts)
        self.key_uses = SqlKeyUseStore(self.database)
        self.client_key_uses = SqlKeyUseStore(self.database, client_key_use)
        self.spendings = SqlSpendingBoard(self.database)
        self.decisions = SqlDecisionStore(self.database, max_rows=max_decisions)

    def ping(self) -> None:
        """Return when the database answers; raises StorageUnavailable when it does not."""
        with self.database.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Write what waits, then close every connection."""
        self.claims.close()
        self.changes.close()
        self.nearby.close()
        self.database.close()
