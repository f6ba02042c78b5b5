"""How records are put at the end of the chain, in the transaction of whoever writes: a lock, one insert, the new head.

The row `audit_head` is locked from the moment it is read until the transaction ends, so there is one chain however many
processes write. It is always the last row that a transaction locks.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, insert, select

from authserver.adapters.sql.database import insert_if_absent, insert_into
from authserver.adapters.sql.tables import audit_event, audit_head
from authserver.protocol import audit_chain
from authserver.protocol.audit_chain import GENESIS, Head
from authserver.protocol.audit_record import AuditRecord

NAME = "audit"
Row = tuple[int, int, str, int, str | None, str | None, str | None, bytes, bytes, bytes, str | None]

_COLUMNS = "sequence, at, event, outcome, agent, entity, tenant, previous, hash, body, jti"
_HEAD_SQL = "SELECT sequence, hash FROM audit_head WHERE name = 'audit'"
_INTO = f"INSERT INTO audit_event ({_COLUMNS})"
_SQLITE_INSERT = f"{_INTO} VALUES ({', '.join('?' * 11)})"
_SQLITE_HEAD = (
    "INSERT INTO audit_head (name, sequence, hash, pruned_sequence, pruned_hash)"
    " VALUES ('audit', ?, ?, 0, zeroblob(32))"
    " ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash"
)
LOCK_SQL = f"{_HEAD_SQL} FOR UPDATE"
# In binary: bytes as text would be twice as many.
_ARRAYS = ", ".join(
    f"%b::{kind}[]" for kind in "bigint bigint text bigint text text text bytea bytea bytea text".split()
)
_POSTGRESQL_INSERT = f"{_INTO} SELECT * FROM unnest({_ARRAYS})"  # noqa: S608 -- constants
_POSTGRESQL_HEAD = "UPDATE audit_head SET sequence = %s, hash = %s WHERE name = 'audit'"
_POSTGRESQL_FIRST = (
    "INSERT INTO audit_head (name, sequence, hash, pruned_sequence, pruned_hash)"
    " VALUES ('audit', 0, %s, 0, %s) ON CONFLICT DO NOTHING"
)
_HEAD = select(audit_head).where(audit_head.c.name == bindparam("of_name"))


def encode(record: AuditRecord) -> bytes:
    """Return the record as JSON, the bytes that are stored and hashed."""
    return orjson.dumps(record)


def rows(head: tuple[int, bytes], records: Sequence[AuditRecord]) -> list[Row]:
    """Return the rows of these records behind this head (number and hash of the last one)."""
    sequence, previous = head[0], bytes(head[1])
    made: list[Row] = []
    for record in records:
        sequence += 1
        body = encode(record)
        digest = audit_chain.link(previous, sequence, body)
        found = (record.agent, record.entity, record.tenant)
        made.append((sequence, record.at, record.event, record.outcome, *found, previous, digest, body, record.jti))
        previous = digest
    return made


def append_sqlite(driver: Any, records: Sequence[AuditRecord]) -> None:
    """Append within a transaction of the driver's own connection, which holds SQLite's one write lock."""
    head = driver.execute(_HEAD_SQL).fetchone() or (0, GENESIS)
    made = rows(head, records)
    driver.executemany(_SQLITE_INSERT, made)
    driver.execute(_SQLITE_HEAD, (made[-1][0], made[-1][8]))


def append_postgresql(driver: Any, head: tuple[int, bytes] | None, records: Sequence[AuditRecord]) -> None:
    """Append and commit, in one round trip; `head` is what LOCK_SQL found earlier in this transaction."""
    if head is None:
        # The first record ever: whoever comes second waits here for the first.
        driver.execute(_POSTGRESQL_FIRST, (GENESIS, GENESIS))
        head = driver.execute(LOCK_SQL).fetchone()
    made = rows(head, records)
    with driver.pipeline():
        driver.execute(_POSTGRESQL_INSERT, [list(column) for column in zip(*made, strict=True)], prepare=True)
        driver.execute(_POSTGRESQL_HEAD, (made[-1][0], made[-1][8]), prepare=True)
        driver.execute("COMMIT")


def append(connection: Connection, records: Sequence[AuditRecord]) -> None:
    """Append within a transaction of SQLAlchemy's; nothing may be locked after it in the same transaction."""
    if not records:
        return
    head = locked_head(connection)
    names = [name.strip() for name in _COLUMNS.split(",")]
    made = rows((head.sequence, head.hash), records)
    connection.execute(insert(audit_event), [dict(zip(names, row, strict=True)) for row in made])
    write_head(connection, {"sequence": made[-1][0], "hash": made[-1][8]})


def locked_head(connection: Connection) -> Head:
    """Return the head, kept from other writers until the transaction ends; it is made when there is none."""
    first = {"name": NAME, "sequence": 0, "hash": GENESIS, "pruned_sequence": 0, "pruned_hash": GENESIS}
    if connection.dialect.name == "postgresql":
        connection.execute(insert_if_absent(audit_head, connection.dialect), first)
    row = connection.execute(_HEAD.with_for_update(), {"of_name": NAME}).first()
    if row is None:
        return Head()
    return Head(row.sequence, row.hash, row.pruned_sequence, row.pruned_hash)


def write_head(connection: Connection, values: dict[str, object]) -> None:
    """Write these columns of the head, which this transaction has locked."""
    first = {"name": NAME, "sequence": 0, "hash": GENESIS, "pruned_sequence": 0, "pruned_hash": GENESIS}
    statement = insert_into(audit_head, connection.dialect).values(first | values)
    connection.execute(statement.on_conflict_do_update(index_elements=[audit_head.c.name], set_=values))
