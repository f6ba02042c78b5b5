"""Remember up to which moment rows were forgotten, so that a clock set back does not bring them to life."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; until the first purge it is empty, because nothing was forgotten."""
    op.create_table(
        "purge_mark",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_purge_mark"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("purge_mark")
