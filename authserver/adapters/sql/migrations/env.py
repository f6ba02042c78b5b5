"""How Alembic runs the migrations: on the connection, and in the transaction, that schema.upgrade() gives it."""

from alembic import context

from authserver.adapters.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
