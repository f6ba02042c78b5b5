"""The tables: resources, their versions, export jobs, and one index table per kind of search parameter.

Index tables are clustered by (tenant, parameter, value, rid), so that a search walks one range of one tree.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData()

# Byte order, so that a prefix is one range of the index whatever the database's locale.
_text = String().with_variant(String(collation="C"), "postgresql")
# SQLite's autoincrementing key must be an INTEGER, which has 64 bits there.
_rid = BigInteger().with_variant(Integer(), "sqlite")

meta = Table(
    "fhir_meta", metadata, Column("name", Text, primary_key=True), Column("value", LargeBinary, nullable=False)
)

parameter = Table(
    "fhir_parameter",
    metadata,
    Column("param", SmallInteger, primary_key=True, autoincrement=False),
    Column("resource_type", Text, nullable=False),
    Column("code", Text, nullable=False),
    UniqueConstraint("resource_type", "code"),
)

resource = Table(
    "fhir_resource",
    metadata,
    Column("rid", _rid, primary_key=True, autoincrement=True),
    Column("tenant", _text, nullable=False),
    Column("resource_type", _text, nullable=False),
    Column("id", _text, nullable=False),
    Column("version_id", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_updated", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    UniqueConstraint("tenant", "resource_type", "id"),
    Index("fhir_resource_by_type", "tenant", "resource_type", "rid"),
    Index("fhir_resource_by_time", "tenant", "resource_type", "last_updated"),
    sqlite_autoincrement=True,
)

version = Table(
    "fhir_version",
    metadata,
    Column("rid", _rid, nullable=False),
    Column("version_id", Integer, nullable=False),
    Column("last_updated", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("method", _text, nullable=False, server_default="PUT"),
    PrimaryKeyConstraint("rid", "version_id"),
    Index("fhir_version_by_time", "last_updated", "rid", "version_id"),
)

export_job = Table(
    "fhir_export_job",
    metadata,
    Column("id", _text, primary_key=True),
    Column("client_id", _text, nullable=False),
    Column("tenant", _text, nullable=False),
    Column("request_url", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("state", _text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("owner", _text),
    Column("leased_until", BigInteger),
    Column("transaction_time", BigInteger),
    Column("expires_at", BigInteger),
    Column("outputs", Text, nullable=False),
    Index("fhir_export_job_by_client", "tenant", "client_id", "state"),
)


def _index_table(name: str, *columns: Column[Any], key: tuple[str, ...]) -> Table:
    return Table(
        f"fhir_{name}",
        metadata,
        Column("tenant", _text, nullable=False),
        Column("param", SmallInteger, nullable=False),
        *columns,
        Column("rid", _rid, nullable=False),
        PrimaryKeyConstraint("tenant", "param", *key),
        Index(f"fhir_{name}_by_rid", "rid", "param"),
        sqlite_with_rowid=False,
    )


def _column(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]] = _text) -> Column[Any]:
    return Column(name, kind, nullable=False)


# The second part of each value stands behind rid, so that the matches of one value come in the order of rid.
token = _index_table("token", _column("code"), _column("system"), key=("code", "rid", "system"))
Index("fhir_token_by_system", token.c.tenant, token.c.param, token.c.system, token.c.rid)
reference = _index_table("reference", _column("target"), _column("target_type"), key=("target", "rid", "target_type"))
string = _index_table("string", _column("folded"), _column("exact"), key=("folded", "rid", "exact"))
date = _index_table("date", _column("start", BigInteger), _column("end", BigInteger), key=("start", "end", "rid"))
quantity = _index_table(
    "quantity",
    _column("low", Float(53)),
    _column("high", Float(53)),
    _column("code"),
    _column("system"),
    _column("unit"),
    key=("low", "high", "rid", "code", "system", "unit"),
)

# One row for each tuple of values that stand on one element; the first is a token, the others of any kind.
composite = _index_table(
    "composite",
    _column("code"),
    _column("number", Integer()),
    _column("system"),
    *(Column(name, _text) for name in ("code2", "system2", "unit2")),
    *(Column(name, Float(53)) for name in ("low2", "high2")),
    *(Column(name, BigInteger) for name in ("start2", "end2")),
    *(Column(name, Float(53)) for name in ("low3", "high3")),
    key=("code", "rid", "number"),
)

INDEX_TABLES = {
    "token": token,
    "reference": reference,
    "string": string,
    "date": date,
    "quantity": quantity,
    "composite": composite,
}
# The columns of each table's rows, as Extractor yields them behind the parameter's code.
VALUE_COLUMNS = {
    "token": ("code", "system"),
    "reference": ("target", "target_type"),
    "string": ("folded", "exact"),
    "date": ("start", "end"),
    "quantity": ("low", "high", "code", "system", "unit"),
    "composite": tuple(column.name for column in composite.columns if column.name not in ("tenant", "param", "rid")),
}
