"""How Alembic runs the migrations: on the connection, and in the transaction, that schema.upgrade() gives it."""

from alembic import context

from authserver.adapters.sql.partial_indexes import COMPLETE

context.configure(connection=context.config.attributes["connection"], target_metadata=COMPLETE)
context.run_migrations()
