"""Bring a database to the schema that this version of the package needs; see revision for whether it is there.

The migrations are files of this package, so an installed wheel carries them; nothing outside it is read.
"""

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from authserver.adapters.sql.engine import storage_errors
from authserver.adapters.sql.revision import MIGRATIONS
from authserver.errors import StorageUnavailable

_ADVISORY_LOCK = 0x61757468_73636865  # "authsche", in the one 64-bit space that all users of a database share
_LOCK_SECONDS = 60


def upgrade(engine: Engine) -> None:
    """Run every migration that the database lacks, in one transaction; safe when several processes start at once.

    Raises StorageUnavailable, and changes nothing, when the database does not answer, or has a
    schema that this version does not know.
    """
    with storage_errors(), engine.begin() as connection:
        _lock(connection)
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageUnavailable(detail=f"migration: {error}", reason="schema_unknown") from error


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _lock(connection: Connection) -> None:
    """Let one process migrate at a time; on SQLite the transaction began with the write lock already."""
    if connection.dialect.name != "postgresql":
        return
    for setting in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET LOCAL {setting} = '{_LOCK_SECONDS}s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
