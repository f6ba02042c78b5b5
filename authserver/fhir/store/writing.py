"""Store resources: decide which are new, changed or the same, then write versions and index rows in bulk.

Runs inside the transaction that its caller began.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, and_, bindparam, delete, false, insert, or_, select, update

from authserver.errors import InvalidResource, Issue
from authserver.fhir import exact_json
from authserver.fhir.definitions.extraction import TABLES, Extractor
from authserver.fhir.store import tables
from authserver.fhir.store.port import WriteResult
from authserver.protocol.instants import instant

CREATED_AT = "https://fhir.aidbox.app/fhir/StructureDefinition/created-at"
_DIGEST_BYTES = 16
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)

Resource = Mapping[str, Any]


def check(resources: Sequence[Resource], resource_types: Collection[str]) -> None:
    """Raise InvalidResource for what could not be stored: an unknown type, no legal id, one id twice, odd meta."""
    seen: set[tuple[str, str]] = set()
    for resource in resources:
        resource_type, resource_id = resource.get("resourceType"), resource.get("id")
        if not isinstance(resource_type, str) or resource_type not in resource_types:
            raise _invalid("resourceType", "This resource type is not known.")
        if not isinstance(resource_id, str) or not _ID.fullmatch(resource_id):
            raise _invalid(f"{resource_type}.id", "The id is missing or not legal.")
        if (resource_type, resource_id) in seen:
            raise _invalid(f"{resource_type}.id", "The id comes twice.")
        seen.add((resource_type, resource_id))
        meta = resource.get("meta", {})
        extensions = meta.get("extension", []) if isinstance(meta, dict) else None
        if not isinstance(extensions, list) or not all(isinstance(item, dict) for item in extensions):
            raise _invalid(f"{resource_type}.meta", "The element is malformed.")


@dataclass(frozen=True, slots=True)
class Writer:
    """What writing needs beside the connection; `now` is in microseconds, `method` the HTTP method for the history."""

    extractor: Extractor
    parameters: Mapping[tuple[str, str], int]
    tenant: str
    now: int
    method: str = "PUT"

    def put(self, connection: Connection, resources: Sequence[Resource]) -> list[WriteResult]:
        """Write what is new or changed and return one result for each resource, in order."""
        known = self._known(connection, resources)
        plans = [self._plan(resource, known.get((resource["resourceType"], resource["id"]))) for resource in resources]
        changed = [plan for plan in plans if plan is not None and plan.changed]
        rids = self._write_resources(connection, changed)
        version_rows = [plan.version_row(rids[plan.key], self.now, self.method) for plan in changed]
        if version_rows:
            connection.execute(insert(tables.version), version_rows)
            self._write_index(connection, [(rids[plan.key], plan) for plan in changed])
        return [WriteResult(*plan.key, plan.version_id, plan.changed) for plan in plans]

    def _known(self, connection: Connection, resources: Sequence[Resource]) -> dict[tuple[str, str], RowMapping]:
        ids: dict[str, list[str]] = {}
        for resource in resources:
            ids.setdefault(resource["resourceType"], []).append(resource["id"])
        columns = tables.resource.c
        # One list of ids for each type: PostgreSQL is slow at long lists of pairs.
        wanted = [and_(columns.resource_type == name, columns.id.in_(of_type)) for name, of_type in ids.items()]
        statement = select(tables.resource).where(columns.tenant == self.tenant, or_(false(), *wanted))
        rows = connection.execute(statement).mappings()
        return {(row["resource_type"], row["id"]): row for row in rows}

    def _plan(self, resource: Resource, known: RowMapping | None) -> "_Plan":
        content = _content(resource)
        digest = hashlib.sha256(_json(content, sort_keys=True)).digest()[:_DIGEST_BYTES]
        if known is not None and known["digest"] == digest and not known["deleted"]:
            return _Plan(content, b"", digest, known, known["version_id"], changed=False)
        version_id = known["version_id"] + 1 if known is not None else 1
        created_at = known["created_at"] if known is not None else self.now
        stored = {
            "resourceType": content["resourceType"],
            "id": content["id"],
            **content,
            "meta": _meta(content.get("meta", {}), version_id=version_id, now=self.now, created_at=created_at),
        }
        return _Plan(stored, _json(stored), digest, known, version_id, changed=True)

    def _write_resources(self, connection: Connection, plans: Sequence["_Plan"]) -> dict[tuple[str, str], int]:
        """Insert or update the rows of `fhir_resource` and return (type, id) -> rid."""
        columns = tables.resource.c
        new = [plan.resource_row(self.tenant, self.now) for plan in plans if plan.known is None]
        rids: dict[tuple[str, str], int] = {}
        if new:
            statement = insert(tables.resource).returning(columns.rid, columns.resource_type, columns.id)
            for rid, resource_type, resource_id in connection.execute(statement, new):
                rids[resource_type, resource_id] = rid
        old = [plan for plan in plans if plan.known is not None]
        if old:
            rids |= {plan.key: plan.known["rid"] for plan in old if plan.known is not None}
            change = update(tables.resource).where(columns.rid == bindparam("known_rid"))
            connection.execute(
                change.values(version_id=bindparam("v"), last_updated=self.now, deleted=False, digest=bindparam("d")),
                [{"known_rid": rids[plan.key], "v": plan.version_id, "d": plan.digest} for plan in old],
            )
        return rids

    def _write_index(self, connection: Connection, written: Sequence[tuple[int, "_Plan"]]) -> None:
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for rid, plan in written:
            resource_type = plan.key[0]
            for table, values in self.extractor.rows(plan.resource).items():
                names = tables.VALUE_COLUMNS[table]
                for code, *value in values:
                    row = dict(zip(names, value, strict=True))
                    param = self.parameters[resource_type, code]
                    rows[table].append({"tenant": self.tenant, "param": param, "rid": rid, **row})
        updated = [rid for rid, plan in written if plan.known is not None]
        for name, index in tables.INDEX_TABLES.items():
            _replace(connection, index, updated=updated, rows=rows[name])


@dataclass(frozen=True, slots=True)
class _Plan:
    resource: Resource
    body: bytes
    digest: bytes
    known: RowMapping | None
    version_id: int
    changed: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.resource["resourceType"], self.resource["id"]

    def resource_row(self, tenant: str, now: int) -> dict[str, Any]:
        resource_type, resource_id = self.key
        return {
            "tenant": tenant,
            "resource_type": resource_type,
            "id": resource_id,
            "version_id": self.version_id,
            "created_at": now,
            "last_updated": now,
            "deleted": False,
            "digest": self.digest,
        }

    def version_row(self, rid: int, now: int, method: str) -> dict[str, Any]:
        return {
            "rid": rid,
            "version_id": self.version_id,
            "last_updated": now,
            "deleted": False,
            "method": method,
            "body": self.body,
        }


def _replace(connection: Connection, table: Table, *, updated: list[int], rows: list[dict[str, Any]]) -> None:
    if updated:
        connection.execute(delete(table).where(table.c.rid.in_(updated)))
    if rows:
        connection.execute(insert(table), rows)


def _content(resource: Resource) -> dict[str, Any]:
    """Return the resource without what the server writes into meta."""
    content = dict(resource)
    meta = {k: v for k, v in content.pop("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    extensions = [e for e in meta.pop("extension", []) if e.get("url") != CREATED_AT]
    if extensions:
        meta["extension"] = extensions
    if meta:
        content["meta"] = meta
    return content


def _meta(meta: Mapping[str, Any], *, version_id: int, now: int, created_at: int) -> dict[str, Any]:
    created = {"url": CREATED_AT, "valueInstant": instant(created_at)}
    return {
        "versionId": str(version_id),
        "lastUpdated": instant(now),
        **meta,
        "extension": [*meta.get("extension", []), created],
    }


def _json(resource: Resource, *, sort_keys: bool = False) -> bytes:
    try:
        return exact_json.dumps(resource, sort_keys=sort_keys)
    except exact_json.NotJson as error:
        where = f"{resource['resourceType']}/{resource['id']}"
        raise InvalidResource((Issue("", "The resource is no JSON."),), detail=where) from error


def _invalid(expression: str, diagnostics: str) -> InvalidResource:
    return InvalidResource((Issue(expression, diagnostics),))
