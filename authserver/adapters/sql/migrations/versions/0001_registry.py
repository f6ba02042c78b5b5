"""Create the registry: resources with their versions and links, used and revoked jtis."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _create_resources()
    _create_links()
    _create_jtis()


def downgrade() -> None:
    """Drop every table, with all that is in it."""
    for table in ("revoked_jti", "used_jti", "resource_link", "resource_version", "resource"):
        op.drop_table(table)


def _identifier() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _create_resources() -> None:
    op.create_table(
        "resource",
        sa.Column("resource_type", _identifier(), nullable=False),
        sa.Column("id", _identifier(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("resource_type", "id", name="pk_resource"),
    )
    op.create_table(
        "resource_version",
        sa.Column("resource_type", _identifier(), nullable=False),
        sa.Column("id", _identifier(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource_type", "id", "version_id", name="pk_resource_version"),
        sa.ForeignKeyConstraint(
            ["resource_type", "id"],
            ["resource.resource_type", "resource.id"],
            name="fk_resource_version_resource",
        ),
    )


def _create_links() -> None:
    op.create_table(
        "resource_link",
        sa.Column("resource_type", _identifier(), nullable=False),
        sa.Column("link", _identifier(), nullable=False),
        sa.Column("id", _identifier(), nullable=False),
        sa.PrimaryKeyConstraint("resource_type", "link", "id", name="pk_resource_link"),
        sa.ForeignKeyConstraint(
            ["resource_type", "id"],
            ["resource.resource_type", "resource.id"],
            name="fk_resource_link_resource",
        ),
    )
    op.create_index("ix_resource_link_resource", "resource_link", ["resource_type", "id"])


def _create_jtis() -> None:
    op.create_table(
        "used_jti",
        sa.Column("key", sa.LargeBinary(16), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_used_jti"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_used_jti_until", "used_jti", ["until"])
    op.create_table(
        "revoked_jti",
        sa.Column("jti", _identifier(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_revoked_jti"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_revoked_jti_until", "revoked_jti", ["until"])
