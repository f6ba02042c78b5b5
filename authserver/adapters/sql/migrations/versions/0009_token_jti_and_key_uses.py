"""Find what the audit says of a token by its jti; keep when each key of a client was last used."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ABOUT_TOKENS = "event IN ('token_issued', 'token_revoked')"
_JTI = {
    "sqlite": "json_extract(CAST(body AS TEXT), '$.facts.jti')",
    "postgresql": "convert_from(body, 'UTF8')::json #>> '{facts,jti}'",
}
_IS_JSON = {"sqlite": " AND json_valid(CAST(body AS TEXT))", "postgresql": ""}


def upgrade() -> None:
    """Add the column, filled for the records that are there, and the table."""
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("audit_event", sa.Column("jti", by_code_point))
    dialect = op.get_bind().dialect.name
    where = f"{_ABOUT_TOKENS}{_IS_JSON[dialect]}"
    op.execute(f"UPDATE audit_event SET jti = {_JTI[dialect]} WHERE {where}")  # noqa: S608 -- constants
    op.create_table(
        "client_key_use",
        sa.Column("id", by_code_point, nullable=False),
        sa.Column("last_used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_client_key_use"),
    )
    op.create_index("ix_client_key_use_last_used", "client_key_use", ["last_used"])


def downgrade() -> None:
    """Drop both; the records themselves say the jti."""
    op.drop_table("client_key_use")
    op.drop_column("audit_event", "jti")
