"""The migrations make exactly the tables that the stores use, on every database."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedIndex

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.partial_indexes import COMPLETE
from authserver.adapters.sql.revision import current_revision, is_current
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.audit_search import AuditQuery


def test_migrated_schema_is_the_schema_of_the_tables(database_url: str) -> None:
    engine = open_engine(database_url)
    upgrade(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, COMPLETE)
    engine.dispose()

    assert differences == []


def test_migrated_columns_and_constraints_are_those_of_the_tables(database_url: str) -> None:
    """What Alembic does not compare: nullability of keys, names of constraints, collations, SQLite's table options."""
    migrated = open_engine(database_url)
    upgrade(migrated)
    with migrated.connect() as connection:
        by_migration = _definition(connection)
        connection.rollback()
    with migrated.begin() as connection:
        COMPLETE.drop_all(connection)
        COMPLETE.create_all(connection)
    with migrated.connect() as connection:
        by_metadata = _definition(connection)
    migrated.dispose()

    assert by_migration == by_metadata


def _definition(connection: Connection) -> dict[str, tuple[object, ...]]:
    """Return per table its columns, keys and indexes, and whether SQLite keeps it by its primary key alone."""
    found = inspect(connection)
    without_rowid: dict[str, bool] = {}
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        without_rowid = {name: "WITHOUT ROWID" in sql for name, sql in rows}
    return {
        table: (
            [_column(column) for column in found.get_columns(table)],
            found.get_pk_constraint(table),
            sorted(map(str, found.get_foreign_keys(table))),
            sorted(map(_index, found.get_indexes(table))),
            without_rowid.get(table),
        )
        for table in COMPLETE.tables
    }


def _index(index: ReflectedIndex) -> str:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return f"{index['name']} {index['column_names']} {index['unique']} {sorted(options.items())}"


def _column(column: ReflectedColumn) -> tuple[object, ...]:
    kind = column["type"]
    return column["name"], str(kind), getattr(kind, "collation", None), column["nullable"], column["default"]


def test_empty_database_is_not_current_and_is_after_the_upgrade(database_url: str) -> None:
    engine = open_engine(database_url)
    before = (current_revision(engine), is_current(engine))

    upgrade(engine)

    after = (current_revision(engine), is_current(engine))
    engine.dispose()
    assert (before, after) == ((None, False), ("0009", True))


def test_second_upgrade_changes_nothing(database_url: str) -> None:
    engine = open_engine(database_url)
    upgrade(engine)
    stores = SqlStores(engine)
    stored = stores.resources.put("Client", "acme", {}, now=1)

    upgrade(engine)

    assert stores.resources.get("Client", "acme") == stored
    stores.close()


def test_schema_of_a_later_version_is_refused_and_left_alone(database_url: str) -> None:
    """An old server on a newer database must not start."""
    engine = open_engine(database_url)
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StorageUnavailable) as caught:
        upgrade(engine)

    seen = (caught.value.reason, current_revision(engine), is_current(engine))
    engine.dispose()
    assert seen == ("schema_unknown", "9999", False)


def test_tokens_alive_at_the_upgrade_live_on(database_url: str) -> None:
    """Row X46: the count of token generations begins where the registrations were, as the tokens' jti says."""
    engine = open_engine(database_url)
    upgrade(engine)
    with engine.begin() as connection:
        later = (
            "audit_event",
            "audit_head",
            "audit_checkpoint",
            "spending",
            "api_key_use",
            "client_key_use",
            "decision",
            "registry_change",
        )
        for table in later:
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("DROP TABLE database_era"))
        connection.execute(text("DROP INDEX ix_revoked_jti_change"))
        connection.execute(text("ALTER TABLE revoked_jti DROP COLUMN change"))
        connection.execute(text("DROP TABLE purge_mark"))
        connection.execute(text("ALTER TABLE resource DROP COLUMN token_generation"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
        values = "('Client', 'acme', 7, 3, 1, false)"
        columns = "resource_type, id, version_id, generation, created_at, deleted"
        connection.execute(text(f"INSERT INTO resource ({columns}) VALUES {values}"))

    upgrade(engine)

    with engine.connect() as connection:
        found = connection.execute(text("SELECT generation, token_generation FROM resource")).one()
    engine.dispose()
    assert tuple(found) == (3, 3)


def test_tokens_recorded_before_the_upgrade_are_found_by_their_jti(database_url: str) -> None:
    """Row X5: the column is filled from the records; those about no token have none, and the chain is as it was."""
    engine = open_engine(database_url)
    upgrade(engine)
    stores = SqlStores(engine)
    facts = {"jti": "1.a", "exp": 2}
    stores.audit.append([AuditRecord("token_issued", 1, agent="acme", facts=facts), AuditRecord("audit_read", 2)])
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_event DROP COLUMN jti"))
        connection.execute(text("DROP TABLE client_key_use"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0008'"))

    upgrade(engine)

    found = [one.said["facts"] for one in stores.audit.search(AuditQuery(jti="1.a"))]
    columns = [link.columns[-1] for link in stores.audit.links(after=0, up_to=9)]
    stores.close()
    assert (found, columns) == ([facts], ["1.a", None])


def test_used_jtis_are_purged_and_links_found_by_index(database_url: str) -> None:
    engine = open_engine(database_url)
    upgrade(engine)

    indexes = {
        (table, tuple(index["column_names"]))
        for table in COMPLETE.tables
        for index in inspect(engine).get_indexes(table)
    }
    engine.dispose()

    assert indexes == {
        ("used_jti", ("until",)),
        ("revoked_jti", ("until",)),
        ("revoked_jti", ("change",)),
        ("receipt", ("until",)),
        ("decision", ("until",)),
        ("resource_link", ("resource_type", "id")),
        ("audit_event", ("at",)),
        ("audit_event", ("agent", "sequence")),
        ("audit_event", ("entity", "sequence")),
        ("audit_event", ("tenant", "sequence")),
        ("client_key_use", ("last_used",)),
    }
