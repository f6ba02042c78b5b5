"""Count the changes of the registry, so that a process knows whether what it keeps of it is still true."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count, and to each revocation the change that it was; those of before count as the first."""
    op.create_table(
        "registry_change",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_registry_change"),
    )
    op.add_column("revoked_jti", sa.Column("change", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_revoked_jti_change", "revoked_jti", ["change"])


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_revoked_jti_change", "revoked_jti")
    op.drop_column("revoked_jti", "change")
    op.drop_table("registry_change")
