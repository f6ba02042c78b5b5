"""The indexes that hold some rows only, for whoever makes a schema from the tables, or compares one with them.

Apart from the tables, because naming what only PostgreSQL reads loads all of SQLAlchemy's part for it.
"""

from sqlalchemy import Index, text

from authserver.adapters.sql.tables import audit_event, metadata

Index(
    "ix_audit_event_entity",
    audit_event.c.entity,
    audit_event.c.sequence,
    sqlite_where=text("entity IS NOT NULL"),
    postgresql_where=text("entity IS NOT NULL"),
)
Index(
    "ix_audit_event_tenant",
    audit_event.c.tenant,
    audit_event.c.sequence,
    sqlite_where=text("tenant IS NOT NULL"),
    postgresql_where=text("tenant IS NOT NULL"),
)

COMPLETE = metadata
"""The tables with all of their indexes."""
