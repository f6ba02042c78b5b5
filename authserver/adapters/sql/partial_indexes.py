"""The indexes that hold some rows only, for whoever makes a schema from the tables, or compares one with them.

Apart from the tables, because naming what only PostgreSQL reads loads all of SQLAlchemy's part for it.
"""

from sqlalchemy import Index

from authserver.adapters.sql.tables import audit_event, metadata

for _column in (audit_event.c.entity, audit_event.c.tenant):
    _given = _column.is_not(None)
    Index(
        f"ix_audit_event_{_column.name}",
        _column,
        audit_event.c.sequence,
        sqlite_where=_given,
        postgresql_where=_given,
    )

COMPLETE = metadata
"""The tables with all of their indexes."""
