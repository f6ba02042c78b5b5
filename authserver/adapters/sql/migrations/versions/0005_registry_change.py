"""Count the changes of the registry, so that a process knows whether what it keeps is true; note failovers."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count, to each revocation the change that it was (0: before all), and whose life the database is in."""
    op.create_table(
        "registry_change",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_registry_change"),
    )
    op.create_table(
        "database_era",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("era", sa.Text(), nullable=False),
        sa.Column("synchronous", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_database_era"),
    )
    op.add_column("revoked_jti", sa.Column("change", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_revoked_jti_change", "revoked_jti", ["change"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_revoked_jti_change", "revoked_jti")
    op.drop_column("revoked_jti", "change")
    op.drop_table("database_era")
    op.drop_table("registry_change")
