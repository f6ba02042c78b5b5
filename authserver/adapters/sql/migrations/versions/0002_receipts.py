"""Keep receipts: why the token endpoint refused, by request id."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of receipts."""
    op.create_table(
        "receipt",
        sa.Column("id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_receipt"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_receipt_until", "receipt", ["until"])


def downgrade() -> None:
    """Drop the table, with all that is in it."""
    op.drop_table("receipt")
