"""Insert many rows of one table in one statement, as tuples in the order of the table's columns.

SQLAlchemy's own insert works on each row for longer than the database does; the statement needs nothing of that.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, func, select, text

from authserver.fhir.definitions.extraction import TABLES, Extractor
from authserver.fhir.store import tables

Row = tuple[Any, ...]
IndexRows = dict[str, list[Row]]
Parameters = Mapping[tuple[str, str], int]

_LAST_RID: Final = text("SELECT seq FROM sqlite_sequence WHERE name = 'fhir_resource'")


def insert_rows(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert the rows, each with every column of the table; nothing happens without rows."""
    if not rows:
        return
    # The statement is made of the names of our own tables and of nothing else.
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    into = f'INSERT INTO "{table.name}" ({names})'
    if connection.dialect.name == "postgresql":
        # One array for each column: one message, however many rows there are.
        arrays = ", ".join(f"%s::{_type_of(column, connection)}[]" for column in table.columns)
        columns = [list(values) for values in zip(*rows, strict=True)]
        connection.exec_driver_sql(f"{into} SELECT * FROM unnest({arrays})", tuple(columns))  # noqa: S608
    else:
        places = ", ".join("?" for _ in table.columns)
        connection.exec_driver_sql(f"{into} VALUES ({places})", rows)


def _type_of(column: Column[Any], connection: Connection) -> str:
    # Without its collation, which stands behind the type's name and is the column's own business.
    return str(column.type.compile(connection.dialect)).partition(" COLLATE")[0].replace("BIGSERIAL", "BIGINT")


def new_rids(connection: Connection, count: int) -> Sequence[int]:
    """Return so many rids that nobody has, growing; the connection's transaction is one that writes."""
    if connection.dialect.name == "postgresql":
        following = func.nextval(func.pg_get_serial_sequence("fhir_resource", "rid"))
        return connection.scalars(select(following).select_from(func.generate_series(1, count))).all()
    # The writer has the file to itself (BEGIN IMMEDIATE); SQLite notes the greatest rid that was inserted.
    last = connection.scalar(_LAST_RID) or 0
    return range(last + 1, last + count + 1)


class IndexWriter:
    """Collects the index rows of resources and writes them together."""

    def __init__(self, extractor: Extractor, parameters: Parameters) -> None:
        self._extractor, self._parameters = extractor, parameters
        self._rows: IndexRows = {table: [] for table in TABLES}

    def add(self, resource: Mapping[str, Any], *, tenant: str, rid: int) -> None:
        """Add the rows of one resource."""
        resource_type = resource["resourceType"]
        parameters = self._parameters
        for table, found in self._extractor.rows(resource).items():
            if found:
                self._rows[table].extend(
                    (tenant, parameters[resource_type, code], *values, rid) for code, *values in found
                )

    def write(self, connection: Connection) -> None:
        """Insert what was added."""
        for name, rows in self._rows.items():
            # In the order of the tables' keys: neighbours are written while their page is at hand.
            rows.sort()
            insert_rows(connection, tables.INDEX_TABLES[name], rows)
            rows.clear()
