"""Store resources: decide which are new, changed or the same, then write versions and index rows in bulk.

Runs inside the transaction that its caller began.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, false, or_, select, update

from authserver.errors import InvalidResource, Issue
from authserver.fhir import exact_json
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.store import tables
from authserver.fhir.store.port import Stored, WriteResult
from authserver.fhir.store.rows import IndexWriter, Row, insert_rows, new_rids
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
        return self._put(connection, resources, known)

    def add(self, connection: Connection, resources: Sequence[Resource]) -> None:
        """Write resources under ids that nobody has; one that is taken is an IntegrityError."""
        self._put(connection, resources, {})

    def put_one(self, connection: Connection, resource: Resource, known: RowMapping | None) -> WriteResult:
        """Write one resource whose row of `fhir_resource`, or None, the caller has read and holds."""
        key = (resource["resourceType"], resource["id"])
        (result,) = self._put(connection, [resource], {key: known} if known is not None else {})
        return result

    def _put(
        self, connection: Connection, resources: Sequence[Resource], known: Mapping[tuple[str, str], RowMapping]
    ) -> list[WriteResult]:
        plans = [self._plan(resource, known.get((resource["resourceType"], resource["id"]))) for resource in resources]
        changed = [plan for plan in plans if plan is not None and plan.changed]
        rids = self._write_resources(connection, changed)
        version_rows = [plan.version_row(rids[plan.key], self.now, self.method) for plan in changed]
        insert_rows(connection, tables.version, version_rows)
        self._write_index(connection, [(rids[plan.key], plan) for plan in changed])
        return [
            WriteResult(
                *plan.key,
                plan.version_id,
                plan.changed,
                self._stored(rids[plan.key], plan) if plan.changed else None,
            )
            for plan in plans
        ]

    def _stored(self, rid: int, plan: "_Plan") -> Stored:
        return Stored(rid, *plan.key, plan.version_id, self.now, plan.body, self.tenant)

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
        new = [plan for plan in plans if plan.known is None]
        rids = {plan.key: plan.known["rid"] for plan in plans if plan.known is not None}
        self._update_resources(connection, [plan for plan in plans if plan.known is not None], rids)
        if new:
            rids |= dict(zip((plan.key for plan in new), new_rids(connection, len(new)), strict=True))
            rows = [plan.resource_row(rids[plan.key], self.tenant, self.now) for plan in new]
            insert_rows(connection, tables.resource, rows)
        return rids

    def _update_resources(
        self, connection: Connection, plans: Sequence["_Plan"], rids: Mapping[tuple[str, str], int]
    ) -> None:
        if plans:
            change = update(tables.resource).where(tables.resource.c.rid == bindparam("known_rid"))
            connection.execute(
                change.values(version_id=bindparam("v"), last_updated=self.now, deleted=False, digest=bindparam("d")),
                [{"known_rid": rids[plan.key], "v": plan.version_id, "d": plan.digest} for plan in plans],
            )

    def _write_index(self, connection: Connection, written: Sequence[tuple[int, "_Plan"]]) -> None:
        updated = [rid for rid, plan in written if plan.known is not None]
        if updated:
            for index in tables.INDEX_TABLES.values():
                connection.execute(delete(index).where(index.c.rid.in_(updated)))
        writer = IndexWriter(self.extractor, self.parameters)
        for rid, plan in written:
            writer.add(plan.resource, tenant=self.tenant, rid=rid)
        writer.write(connection)


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

    def resource_row(self, rid: int, tenant: str, now: int) -> Row:
        return (rid, tenant, *self.key, self.version_id, now, now, False, self.digest)

    def version_row(self, rid: int, now: int, method: str) -> Row:
        return (rid, self.version_id, now, False, self.body, method)


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
