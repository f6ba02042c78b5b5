"""The ResourceStore in memory: versions by key, bodies as JSON text."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from authserver.adapters.memory_audit import MemoryAuditStore
from authserver.adapters.memory_changes import MemoryChanges
from authserver.errors import VersionConflict
from authserver.protocol.audit_record import AuditRecord
from authserver.services.ports import UNLINKED, AlreadyExists, ChangeRecord, HistoryPosition, StoredResource

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Record:
    """All that is kept of one id. Bodies are JSON text, so no caller shares a mutable value with the store."""

    versions: tuple[tuple[StoredResource, str], ...] = ()
    secret_hash: str | None = None
    links: frozenset[str] = frozenset()
    token_generation: int = 0

    @property
    def current(self) -> StoredResource | None:
        """The version that get() returns, without the hash."""
        last = self.versions[-1] if self.versions else None
        if last is None or last[0].deleted:
            return None
        return replace(_opened(last), token_generation=self.token_generation)


class MemoryResourceStore:
    """ResourceStore (see the port) over a dict."""

    def __init__(self, changes: MemoryChanges | None = None, audit: MemoryAuditStore | None = None) -> None:
        self._records: dict[_Key, _Record] = {}
        self._lock = threading.Lock()
        self._changes, self._audit = changes or MemoryChanges(), audit or MemoryAuditStore()

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return the current version with its secret hash, or None."""
        record = self._record(resource_type, resource_id)
        current = record.current
        return None if current is None else replace(current, secret_hash=record.secret_hash)

    def current(self, resource_type: str) -> Sequence[StoredResource]:
        """Return every current resource of the type, ordered by id."""
        return [current for _, current in self._of_type(resource_type)]

    def linked(self, resource_type: str, links: Sequence[str]) -> Sequence[StoredResource]:
        """Return, ordered by id, the current resources filed under any of the links."""
        wanted = frozenset(links)
        return [current for record, current in self._of_type(resource_type) if record.links & wanted]

    def history(self, resource_type: str, resource_id: str) -> Sequence[StoredResource]:
        """Return every version, newest first."""
        return [_opened(version) for version in reversed(self._record(resource_type, resource_id).versions)]

    def version(self, resource_type: str, resource_id: str, version_id: int) -> StoredResource | None:
        """Return this version, or None; see the port."""
        return next((v for v in self.history(resource_type, resource_id) if v.version_id == version_id), None)

    def versions(
        self,
        resource_type: str,
        resource_id: str | None = None,
        *,
        limit: int,
        offset: int = 0,
        since: int | None = None,
        before: HistoryPosition | None = None,
    ) -> Sequence[StoredResource]:
        """Return a page of history; see the port."""
        with self._lock:
            ids = [key[1] for key in self._records if key[0] == resource_type and resource_id in (None, key[1])]
        place = _by_moment if resource_id is None else _by_version
        found = [v for one in ids for v in self.history(resource_type, one) if since is None or v.last_updated >= since]
        after = [v for v in found if before is None or place(v) < place(before)]
        return sorted(after, key=place, reverse=True)[offset : offset + limit]

    def put(
        self,
        resource_type: str,
        resource_id: str,
        body: Mapping[str, Any],
        *,
        now: int,
        if_match: int | None = None,
        secret_hash: str | None = None,
        links: Sequence[str] = (UNLINKED,),
        revoke_tokens: bool = False,
        only_new: bool = False,
        audit: ChangeRecord | None = None,
    ) -> StoredResource:
        """Store a new version and return it; see the port."""
        text = json.dumps(body, allow_nan=False)
        with self._lock:
            record = former = self._record(resource_type, resource_id)
            _require_version(record.current, if_match)
            if only_new and record.current is not None:
                raise AlreadyExists(detail=f"{resource_type}/{resource_id}")
            version = (_following(record, (resource_type, resource_id), now=now), text)
            ends_tokens = revoke_tokens or record.current is None
            record = _Record(
                (*record.versions, version),
                secret_hash or record.secret_hash,
                frozenset(links),
                record.token_generation + (1 if ends_tokens else 0),
            )
            stored = replace(_opened(version), token_generation=record.token_generation)
            self._audit.append([audit(former.current, stored)] if audit is not None else [])
            self._records[resource_type, resource_id] = record
            self._changes.count()
        return stored

    def delete(
        self,
        resource_type: str,
        resource_id: str,
        *,
        now: int,
        if_match: int | None = None,
        audit: ChangeRecord | None = None,
    ) -> StoredResource | None:
        """Delete and return the last version before it; None when there was none."""
        with self._lock:
            record = self._record(resource_type, resource_id)
            current = record.current
            _require_version(current, if_match)
            if current is not None:
                self._audit.append([audit(current, current)] if audit is not None else [])
                mark = replace(_following(record, (resource_type, resource_id), now=now), deleted=True)
                versions = (*record.versions, (mark, "{}"))
                count = record.token_generation
                self._records[resource_type, resource_id] = _Record(versions, token_generation=count)
                self._changes.count()
            return current

    def revoke_tokens(self, resource_type: str, resource_id: str, *, audit: AuditRecord | None = None) -> int | None:
        """Start a new token generation and return it; None when there is no such resource."""
        with self._lock:
            record = self._record(resource_type, resource_id)
            if record.current is None:
                return None
            self._audit.append([audit] if audit is not None else [])
            record = replace(record, token_generation=record.token_generation + 1)
            self._records[resource_type, resource_id] = record
            self._changes.count()
            return record.token_generation

    def _record(self, resource_type: str, resource_id: str) -> _Record:
        return self._records.get((resource_type, resource_id), _Record())

    def _of_type(self, resource_type: str) -> list[tuple[_Record, StoredResource]]:
        with self._lock:
            records = sorted((key[1], record) for key, record in self._records.items() if key[0] == resource_type)
        return [(record, current) for _, record in records if (current := record.current)]


def _require_version(current: StoredResource | None, if_match: int | None) -> None:
    version_id = current.version_id if current else None
    if if_match is not None and version_id != if_match:
        raise VersionConflict(detail=f"{version_id} is not {if_match}")


def _by_moment(version: StoredResource | HistoryPosition) -> tuple[int, str, int]:
    return version.last_updated, version.id, version.version_id


def _by_version(version: StoredResource | HistoryPosition) -> tuple[int, str, int]:
    return version.version_id, "", 0


def _following(record: _Record, key: _Key, *, now: int) -> StoredResource:
    """Return the version after the record's last one, without its body."""
    last = record.versions[-1][0] if record.versions else None
    starts = last is None or last.deleted
    return StoredResource(
        resource_type=key[0],
        id=key[1],
        version_id=last.version_id + 1 if last else 1,
        generation=(last.generation if last else 0) + (1 if starts else 0),
        body={},
        created_at=now if last is None or last.deleted else last.created_at,
        last_updated=now,
    )


def _opened(version: tuple[StoredResource, str]) -> StoredResource:
    stored, text = version
    return replace(stored, body=json.loads(text))
