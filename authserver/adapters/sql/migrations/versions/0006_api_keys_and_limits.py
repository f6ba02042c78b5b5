"""Keep when API keys were last used, and what each process let callers spend."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; the keys themselves are resources."""
    code_points = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "api_key_use",
        sa.Column("id", code_points, nullable=False),
        sa.Column("last_used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_key_use"),
    )
    op.create_table(
        "spending",
        sa.Column("member", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("rounds", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("member", name="pk_spending"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("spending")
    op.drop_table("api_key_use")
