"""Rebuild every index row when this program reads other values out of resources than the one that wrote them.

Runs inside the transaction of an upgrade: no search ever sees an index half rebuilt.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, false, insert, select, update

from authserver.fhir import exact_json
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store import tables
from authserver.fhir.store.rows import IndexWriter, Parameters

INDEX_REVISION: Final = b"2"
"""Raised with every change of what Extractor reads: 2 has composites, identifiers of references and presence."""

_NAME = "index_revision"
_PORTION = 500


def rebuild_when_changed(connection: Connection, definitions: Definitions, parameters: Parameters) -> None:
    """Rebuild the index rows unless they are of this revision already."""
    name = tables.meta.c.name == _NAME
    known = connection.scalar(select(tables.meta.c.value).where(name))
    if known == INDEX_REVISION:
        return
    _rebuild(connection, Extractor(definitions), parameters)
    if known is None:
        connection.execute(insert(tables.meta).values(name=_NAME, value=INDEX_REVISION))
    else:
        connection.execute(update(tables.meta).where(name).values(value=INDEX_REVISION))


def _rebuild(connection: Connection, extractor: Extractor, parameters: Parameters) -> None:
    for table in tables.INDEX_TABLES.values():
        connection.execute(delete(table))
    after = 0
    writer = IndexWriter(extractor, parameters)
    while portion := _portion(connection, after):
        for row in portion:
            writer.add(exact_json.loads(bytes(row.body)), tenant=row.tenant, rid=row.rid)
        writer.write(connection)
        after = portion[-1].rid


def _portion(connection: Connection, after: int) -> Sequence[Any]:
    resource, version = tables.resource.c, tables.version.c
    current = and_(version.rid == resource.rid, version.version_id == resource.version_id)
    return connection.execute(
        select(resource.rid, resource.tenant, version.body)
        .join_from(tables.resource, tables.version, current)
        .where(resource.rid > after, resource.deleted == false())
        .order_by(resource.rid)
        .limit(_PORTION)
    ).all()
