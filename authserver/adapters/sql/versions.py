"""Versions of resources as SQL has them: rows read as values, and the statement for a page of history."""

import json
from typing import Any

from sqlalchemy import Row, Select, select, tuple_

from authserver.adapters.sql.tables import resource_version
from authserver.services.ports import HistoryPosition, StoredResource


def stored(row: Row[Any], token_generation: int = 0, *, secret_hash: str | None = None) -> StoredResource:
    """Return the version that a row of `resource_version` holds."""
    return StoredResource(
        resource_type=row.resource_type,
        id=row.id,
        version_id=row.version_id,
        generation=row.generation,
        body=json.loads(row.body),
        created_at=row.created_at,
        last_updated=row.last_updated,
        deleted=row.method == "DELETE",
        secret_hash=secret_hash,
        token_generation=token_generation,
    )


def page_of_history(
    resource_type: str,
    resource_id: str | None,
    *,
    since: int | None = None,
    before: HistoryPosition | None = None,
) -> Select[Any]:
    """Return the statement for ResourceStore.versions(), still without limit and offset."""
    versions = resource_version.c
    statement = select(resource_version).where(versions.resource_type == resource_type)
    if since is not None:
        statement = statement.where(versions.last_updated >= since)
    if resource_id is not None:
        statement = statement.where(versions.id == resource_id).order_by(versions.version_id.desc())
        return statement if before is None else statement.where(versions.version_id < before.version_id)
    place = (versions.last_updated, versions.id, versions.version_id)
    if before is not None:
        statement = statement.where(tuple_(*place) < tuple_(before.last_updated, before.id, before.version_id))
    return statement.order_by(*(column.desc() for column in place))
