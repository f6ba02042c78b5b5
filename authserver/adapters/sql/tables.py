"""The tables of the registry, as SQLAlchemy Core knows them. The migrations create them; a test keeps both equal."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

# Identifiers sort and compare by code point on every database, whatever the cluster's locale: the order
# that the port promises, and an index that no upgrade of the C library can disturb.
CODE_POINTS = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()

# One row per id that was ever used: which version is current, and what no version carries (the secret's hash).
# It stays when the resource is deleted, so that no version and neither generation can start again.
resource = Table(
    "resource",
    metadata,
    Column("resource_type", CODE_POINTS, nullable=False),
    Column("id", CODE_POINTS, nullable=False),
    Column("version_id", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),  # of the generation; microseconds since the epoch
    Column("deleted", Boolean, nullable=False),
    Column("secret_hash", Text),
    Column("token_generation", BigInteger, nullable=False, server_default=text("1")),
    PrimaryKeyConstraint("resource_type", "id", name="pk_resource"),
)

# Every version ever stored, deletions included. Rows are only added.
resource_version = Table(
    "resource_version",
    metadata,
    Column("resource_type", CODE_POINTS, nullable=False),
    Column("id", CODE_POINTS, nullable=False),
    Column("version_id", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("method", Text, nullable=False),  # PUT or DELETE
    Column("body", Text, nullable=False),  # JSON as written; "{}" for a deletion
    Column("created_at", BigInteger, nullable=False),  # of the generation; microseconds since the epoch
    Column("last_updated", BigInteger, nullable=False),  # of this version; microseconds since the epoch
    PrimaryKeyConstraint("resource_type", "id", "version_id", name="pk_resource_version"),
    ForeignKeyConstraint(
        ["resource_type", "id"],
        ["resource.resource_type", "resource.id"],
        name="fk_resource_version_resource",
    ),
)

# What a current resource is found by, for example an AccessPolicy by "Client/x".
resource_link = Table(
    "resource_link",
    metadata,
    Column("resource_type", CODE_POINTS, nullable=False),
    Column("link", CODE_POINTS, nullable=False),
    Column("id", CODE_POINTS, nullable=False),
    PrimaryKeyConstraint("resource_type", "link", "id", name="pk_resource_link"),
    ForeignKeyConstraint(
        ["resource_type", "id"], ["resource.resource_type", "resource.id"], name="fk_resource_link_resource"
    ),
    Index("ix_resource_link_resource", "resource_type", "id"),
)

# Assertions already used. The key is a 16-byte hash of client and jti, so a row is small and of one size.
used_jti = Table(
    "used_jti",
    metadata,
    Column("key", LargeBinary(16), nullable=False),
    Column("until", BigInteger, nullable=False),  # epoch seconds
    PrimaryKeyConstraint("key", name="pk_used_jti"),
    Index("ix_used_jti_until", "until"),
    sqlite_with_rowid=False,
)

# Access tokens revoked before their time.
revoked_jti = Table(
    "revoked_jti",
    metadata,
    Column("jti", CODE_POINTS, nullable=False),
    Column("until", BigInteger, nullable=False),  # the token's exp, epoch seconds
    Column("change", BigInteger, nullable=False, server_default=text("0")),  # see registry_change
    PrimaryKeyConstraint("jti", name="pk_revoked_jti"),
    Index("ix_revoked_jti_until", "until"),
    Index("ix_revoked_jti_change", "change"),
    sqlite_with_rowid=False,
)

# Up to which moment (epoch seconds) rows of a table were forgotten; it never falls (threat B14).
purge_mark = Table(
    "purge_mark",
    metadata,
    Column("name", String(16), nullable=False),
    Column("moment", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", name="pk_purge_mark"),
)

# One row: how many changes of the registry and of the revocations there were. Each is counted in its own transaction,
# and the row stays locked until that ends, so the count grows in the order of the commits.
registry_change = Table(
    "registry_change",
    metadata,
    Column("name", String(16), nullable=False),
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", name="pk_registry_change"),
)

# One row: of which life of a PostgreSQL cluster the rows are, and whether its standby had every commit (see failover).
database_era = Table(
    "database_era",
    metadata,
    Column("name", String(16), nullable=False),
    Column("era", Text, nullable=False),
    Column("synchronous", Boolean, nullable=False),
    PrimaryKeyConstraint("name", name="pk_database_era"),
)

# Why a request was refused, by the request id of the answer. The body is JSON without any secret.
receipt = Table(
    "receipt",
    metadata,
    Column("id", CODE_POINTS, nullable=False),
    Column("until", BigInteger, nullable=False),  # epoch seconds
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("id", name="pk_receipt"),
    Index("ix_receipt_until", "until"),
    sqlite_with_rowid=False,
)

# When an API key was last used, to the hour. The key itself is a resource, and this no version of it.
api_key_use = Table(
    "api_key_use",
    metadata,
    Column("id", CODE_POINTS, nullable=False),
    Column("last_used", BigInteger, nullable=False),  # epoch seconds
    PrimaryKeyConstraint("id", name="pk_api_key_use"),
)

# When a key of a client last proved it, to the hour: the id is the client's, a slash, and the key's thumbprint.
client_key_use = Table(
    "client_key_use",
    metadata,
    Column("id", CODE_POINTS, nullable=False),
    Column("last_used", BigInteger, nullable=False),  # epoch seconds
    PrimaryKeyConstraint("id", name="pk_client_key_use"),
    Index("ix_client_key_use_last_used", "last_used"),
)

# One row per process: what it let callers spend in its last rounds, as JSON, for the limits of all others.
spending = Table(
    "spending",
    metadata,
    Column("member", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),  # epoch seconds
    Column("rounds", Text, nullable=False),
    PrimaryKeyConstraint("member", name="pk_spending"),
)

# What the policies decided, by the request id of the answer. The body is JSON without any value of a request.
decision = Table(
    "decision",
    metadata,
    Column("id", CODE_POINTS, nullable=False),
    Column("until", BigInteger, nullable=False),  # epoch seconds
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("id", name="pk_decision"),
    Index("ix_decision_until", "until"),
    sqlite_with_rowid=False,
)

# The audit: a chain of records, each bound to the one before it (see protocol.audit_chain). Rows are only added, and
# pruned from the beginning. The columns before `previous` say what the body says, for searching.
audit_event = Table(
    "audit_event",
    metadata,
    # On SQLite the rowid: the next one is appended without a search for its place.
    Column("sequence", BigInteger().with_variant(Integer(), "sqlite"), autoincrement=False, nullable=False),
    Column("at", BigInteger, nullable=False),  # microseconds since the epoch
    Column("event", Text, nullable=False),
    Column("outcome", BigInteger, nullable=False),
    Column("agent", CODE_POINTS),
    Column("entity", CODE_POINTS),
    Column("tenant", CODE_POINTS),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON, the very bytes that were hashed
    Column("jti", CODE_POINTS),  # of the token that it is about
    PrimaryKeyConstraint("sequence", name="pk_audit_event"),
    Index("ix_audit_event_at", "at"),
    Index("ix_audit_event_agent", "agent", "sequence"),
)

# One row: where the chain ends and where it begins. It is locked by whoever appends.
audit_head = Table(
    "audit_head",
    metadata,
    Column("name", String(16), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("pruned_sequence", BigInteger, nullable=False),
    Column("pruned_hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("name", name="pk_audit_head"),
)

# Heads of the chain, signed (see services.audit_trail).
audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("number", BigInteger, autoincrement=False, nullable=False),
    Column("sequence", BigInteger, nullable=False),  # of the head
    Column("signed", Text, nullable=False),  # a JWS
    PrimaryKeyConstraint("number", name="pk_audit_checkpoint"),
)
