"""At which revision a database's schema is, told without the library that migrates: every start asks, few migrate."""

from pathlib import Path

from sqlalchemy import Engine, inspect, text

from authserver.adapters.sql.engine import storage_errors

MIGRATIONS = Path(__file__).parent / "migrations"


def newest() -> str:
    """Return the revision that this version of the package needs: the files are named by theirs."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current_revision(engine: Engine) -> str | None:
    """Return the revision that the database is at; None when it has no schema yet. Raises StorageUnavailable."""
    with storage_errors(), engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision


def is_current(engine: Engine) -> bool:
    """Say whether the database has exactly the schema that this version of the package needs."""
    return current_revision(engine) == newest()
