"""Keep the audit: a chain of records, its head, and signed checkpoints of it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the three tables."""
    _create_events()
    _create_head()
    _create_checkpoints()


def _create_events() -> None:
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "audit_event",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("outcome", sa.BigInteger(), nullable=False),
        sa.Column("agent", by_code_point),
        sa.Column("entity", by_code_point),
        sa.Column("tenant", by_code_point),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_event"),
    )
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    op.create_index("ix_audit_event_agent", "audit_event", ["agent", "sequence"])
    for column in ("entity", "tenant"):
        given = sa.text(f"{column} IS NOT NULL")
        columns = [column, "sequence"]
        op.create_index(f"ix_audit_event_{column}", "audit_event", columns, sqlite_where=given, postgresql_where=given)


def _create_head() -> None:
    op.create_table(
        "audit_head",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("pruned_sequence", sa.BigInteger(), nullable=False),
        sa.Column("pruned_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_audit_head"),
    )


def _create_checkpoints() -> None:
    op.create_table(
        "audit_checkpoint",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_checkpoint"),
    )


def downgrade() -> None:
    """Drop them, with all that is in them."""
    for table in ("audit_checkpoint", "audit_head", "audit_event"):
        op.drop_table(table)
