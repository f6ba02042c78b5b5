"""The AuditStore over SQL: records found by index, newest first; the chain read in order; checkpoints; pruning."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import orjson
from sqlalchemy import ColumnElement, Row, and_, delete, func, not_, select

from authserver.adapters.sql import audit_chain
from authserver.adapters.sql.claims import SqlClaimQueue
from authserver.adapters.sql.database import Database
from authserver.adapters.sql.tables import audit_checkpoint, audit_event, audit_head
from authserver.protocol.audit_chain import GENESIS, Head, Link
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.audit_search import AuditQuery, FoundRecord

PAGE = 1_000
"""Records that a check of the chain reads at a time."""

BATCH = 500
"""Records pruned per transaction."""

KEPT_CHECKPOINTS = 1_000
_PAUSE_SECONDS = 0.002
_HEAD = select(audit_head).where(audit_head.c.name == audit_chain.NAME)


class SqlAuditStore:
    """AuditStore (see services.audit_trail) on SQLite or PostgreSQL."""

    def __init__(self, database: Database, claims: SqlClaimQueue) -> None:
        self._database, self._claims = database, claims

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Put records at the end of the chain, together with the claims that come now; durable before it returns."""
        failure = self._claims.record(records)
        if failure is not None:
            raise failure

    @contextmanager
    def appending(self) -> Iterator[Callable[[AuditRecord], None]]:
        """Yield a function that appends in a transaction which ends with the block: for a change outside the database.

        What cannot be recorded is found out before the change, not after it.
        """
        with self._database.writing() as connection:
            audit_chain.locked_head(connection)
            yield lambda record: audit_chain.append(connection, [record])

    def search(self, query: AuditQuery) -> Sequence[FoundRecord]:
        """Return the newest records that fit, newest first, at most `query.count`."""
        columns = (audit_event.c.sequence, audit_event.c.hash, audit_event.c.body)
        statement = select(*columns).where(*_conditions(query))
        with self._database.reading() as connection:
            found = connection.execute(statement.order_by(audit_event.c.sequence.desc()).limit(query.count))
            return [FoundRecord(row.sequence, row.hash, orjson.loads(row.body)) for row in found]

    def last_before(self, moment: int) -> int:
        """Return the number of the latest record of before this moment, found by the index of the moments."""
        at, number = audit_event.c.at, audit_event.c.sequence
        latest = select(number).where(at < moment).order_by(at.desc()).limit(1)
        with self._database.reading() as connection:
            return connection.execute(latest).scalar() or 0

    def head(self) -> Head | None:
        """Return where the chain begins and ends; None when the database does not say."""
        with self._database.reading() as connection:
            row = connection.execute(_HEAD).first()
        return None if row is None else Head(row.sequence, row.hash, row.pruned_sequence, row.pruned_hash)

    def links(self, *, after: int, up_to: int) -> Iterable[Link]:
        """Yield every record in this range in the order of their numbers."""
        page = select(audit_event).order_by(audit_event.c.sequence).limit(PAGE)
        while True:
            with self._database.reading() as connection:
                numbers = audit_event.c.sequence
                found = connection.execute(page.where(numbers > after, numbers <= up_to)).all()
            yield from map(_link, found)
            if len(found) < PAGE:
                return
            after = found[-1].sequence

    def checkpoints(self) -> Sequence[str]:
        """Return the signed checkpoints, newest first."""
        newest = select(audit_checkpoint.c.signed).order_by(audit_checkpoint.c.number.desc())
        with self._database.reading() as connection:
            return list(connection.execute(newest.limit(KEPT_CHECKPOINTS)).scalars())

    def keep_checkpoint(self, sequence: int, signed: str) -> None:
        """Keep a signed checkpoint; the oldest go when there are too many."""
        number = audit_checkpoint.c.number
        with self._database.writing() as connection:
            audit_chain.locked_head(connection)  # two processes do not number theirs alike
            last = connection.execute(select(func.coalesce(func.max(number), 0))).scalar_one()
            values = {"number": last + 1, "sequence": sequence, "signed": signed}
            connection.execute(audit_checkpoint.insert().values(values))
            connection.execute(delete(audit_checkpoint).where(number <= last + 1 - KEPT_CHECKPOINTS))

    def older_than(self, moment: int) -> Head:
        """Return the last record before the first that is of this moment or later."""
        kept = select(func.min(audit_event.c.sequence)).where(audit_event.c.at >= moment).scalar_subquery()
        last = select(audit_event.c.sequence, audit_event.c.hash).order_by(audit_event.c.sequence.desc()).limit(1)
        before = last.where(audit_event.c.sequence < func.coalesce(kept, audit_event.c.sequence + 1))
        with self._database.reading() as connection:
            row = connection.execute(before).first()
        return Head(row.sequence, row.hash) if row else Head()

    def prune(self, *, up_to: int) -> int:
        """Forget the records up to this number, in small transactions that each say where the chain begins now."""
        pruned = 0
        while batch := self._prune_batch(up_to):
            pruned += batch
            if batch < BATCH:
                break
            time.sleep(_PAUSE_SECONDS)  # requests that wait to write go first
        return pruned

    def _prune_batch(self, up_to: int) -> int:
        number = audit_event.c.sequence
        oldest = select(number, audit_event.c.hash).where(number <= up_to).order_by(number).limit(BATCH)
        with self._database.writing() as connection:
            audit_chain.locked_head(connection)
            batch = connection.execute(oldest).all()
            if batch:
                connection.execute(delete(audit_event).where(number <= batch[-1].sequence))
                pruned = {"pruned_sequence": batch[-1].sequence, "pruned_hash": batch[-1].hash}
                audit_chain.write_head(connection, pruned)
        return len(batch)


def _link(row: Row[tuple[object, ...]]) -> Link:
    columns = (row.event, row.at, row.outcome, row.agent, row.entity, row.tenant, row.jti)
    return Link(row.sequence, row.previous or GENESIS, row.hash, row.body, columns)


def _conditions(query: AuditQuery) -> Iterator[ColumnElement[bool]]:
    columns = audit_event.c
    equal = (
        (columns.agent, query.agent),
        (columns.entity, query.entity),
        (columns.tenant, query.tenant),
        (columns.jti, query.jti),
    )
    yield from (column == value for column, value in equal if value is not None)
    if query.sequence is not None:
        yield columns.sequence == query.sequence
    if query.after is not None:
        yield columns.sequence < query.after
    if query.beyond is not None:
        yield columns.sequence > query.beyond
    if query.events is not None:
        yield columns.event.in_(sorted(query.events))
    if query.outcomes is not None:
        yield columns.outcome.in_(sorted(query.outcomes))
    if query.since is not None:
        yield columns.at >= query.since
    if query.before is not None:
        yield columns.at < query.before
    for start, end in query.without:
        yield not_(and_(columns.at >= start, columns.at < end))
