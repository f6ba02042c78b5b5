"""Count the generations of each client's access tokens apart from its registrations."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count. Tokens alive now carry the generation of the registration, so it begins there."""
    count = sa.Column("token_generation", sa.BigInteger(), nullable=False, server_default=sa.text("1"))
    op.add_column("resource", count)
    op.execute("UPDATE resource SET token_generation = generation")


def downgrade() -> None:
    """Drop the count."""
    op.drop_column("resource", "token_generation")
