"""Keep records of decisions: what each policy said, by request id."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of decisions."""
    op.create_table(
        "decision",
        sa.Column("id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decision"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_decision_until", "decision", ["until"])


def downgrade() -> None:
    """Drop the table, with all that is in it."""
    op.drop_table("decision")
