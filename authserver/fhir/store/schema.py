"""Bring a database to the current schema, step by step, safely when several processes start at once.

Steps are only ever added; a database remembers how many of them it has seen.
"""

import secrets
from collections.abc import Callable

from sqlalchemy import Connection, Engine, func, insert, inspect, select, text, update

from authserver.errors import StorageUnavailable
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store import tables
from authserver.fhir.store.engine import writing
from authserver.fhir.store.reindex import rebuild_when_changed

_REVISION = "schema_revision"
CURSOR_SECRET = "cursor_secret"  # noqa: S105 -- the name of a row, not a secret
# Any fixed number serves; it must differ from those of other users of the database.
_LOCK = 0x46484952


def upgrade(engine: Engine, definitions: Definitions) -> None:
    """Create or upgrade the schema, number the search parameters that have no number yet, and bring indexes up to date.

    Raises StorageUnavailable when the database was upgraded by a newer version of this program.
    """
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        tables.meta.create(connection, checkfirst=True)
        _apply(connection)
        _number_parameters(connection, definitions)
        rebuild_when_changed(connection, definitions, load_parameters(connection))


def _apply(connection: Connection) -> None:
    revision = _revision(connection)
    if revision > len(_STEPS):
        raise StorageUnavailable(detail=f"schema revision {revision} is newer than this program's {len(_STEPS)}")
    for step in _STEPS[revision:]:
        step(connection)
    connection.execute(
        update(tables.meta).where(tables.meta.c.name == _REVISION).values(value=str(len(_STEPS)).encode())
    )


def _revision(connection: Connection) -> int:
    value = connection.scalar(select(tables.meta.c.value).where(tables.meta.c.name == _REVISION))
    if value is None:
        connection.execute(insert(tables.meta).values(name=_REVISION, value=b"0"))
    return int(value or 0)


def _create_tables(connection: Connection) -> None:
    tables.metadata.create_all(connection)
    connection.execute(insert(tables.meta).values(name=CURSOR_SECRET, value=secrets.token_bytes(32)))


def _create_export_jobs(connection: Connection) -> None:
    # A new database has the table from the first step.
    tables.export_job.create(connection, checkfirst=True)


def _add_methods_to_versions(connection: Connection) -> None:
    # A new database has column and index from the first step.
    if "method" not in {column["name"] for column in inspect(connection).get_columns(tables.version.name)}:
        connection.execute(text("ALTER TABLE fhir_version ADD COLUMN method VARCHAR NOT NULL DEFAULT 'PUT'"))
        (by_time,) = tables.version.indexes
        by_time.create(connection)


def _create_composites(connection: Connection) -> None:
    tables.composite.create(connection, checkfirst=True)


_STEPS: tuple[Callable[[Connection], None], ...] = (
    _create_tables,
    _create_export_jobs,
    _add_methods_to_versions,
    _create_composites,
)


def _number_parameters(connection: Connection, definitions: Definitions) -> None:
    """Give new parameters the next numbers; a number once given stays."""
    known = load_parameters(connection)
    wanted = (
        (resource_type, parameter.code)
        for resource_type in sorted(definitions.resource_types)
        for parameter in definitions.parameters(resource_type)
    )
    new = [key for key in wanted if key not in known]
    first = max(known.values(), default=0) + 1
    if new:
        rows = [
            {"param": number, "resource_type": resource_type, "code": code}
            for number, (resource_type, code) in enumerate(new, first)
        ]
        connection.execute(insert(tables.parameter), rows)


def load_parameters(connection: Connection) -> dict[tuple[str, str], int]:
    """Return (resource type, code) -> number."""
    return {(row.resource_type, row.code): row.param for row in connection.execute(select(tables.parameter))}
