"""The registry's stores in memory, for tests and demonstrations: the same answers as over SQL, gone at exit."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from authserver.adapters.memory_audit import MemoryAuditStore
from authserver.adapters.memory_changes import MemoryChanges
from authserver.adapters.memory_claims import MemoryClaimQueue
from authserver.errors import StorageUnavailable, VersionConflict
from authserver.protocol.audit_record import AuditChoice, AuditRecord
from authserver.services.ports import MAX_RECEIPTS, UNLINKED, ChangeRecord, Receipt, Revocations, StoredResource

_Key = tuple[str, str]
_K = TypeVar("_K")


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
        audit: ChangeRecord | None = None,
    ) -> StoredResource:
        """Store a new version and return it; see the port."""
        text = json.dumps(body, allow_nan=False)
        with self._lock:
            record = former = self._record(resource_type, resource_id)
            _require_version(record.current, if_match)
            version = (_following(record, (resource_type, resource_id), now=now), text)
            ends_tokens = revoke_tokens or record.current is None
            record = _Record(
                (*record.versions, version),
                secret_hash or record.secret_hash,
                frozenset(links),
                record.token_generation + (1 if ends_tokens else 0),
            )
            stored = replace(_opened(version), token_generation=record.token_generation)
            if audit is not None:
                self._audit.append([audit(former.current, stored)])
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
                if audit is not None:
                    self._audit.append([audit(current, current)])
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
            self._audit.append([audit] if audit else [])
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


class MemoryReplayGuard:
    """ReplayGuard (see the port) over a dict."""

    def __init__(self, audit: MemoryAuditStore | None = None) -> None:
        self._audit = audit or MemoryAuditStore()
        self._until: dict[_Key, int] = {}
        self._forgotten = 0
        self._lock = threading.Lock()

    def claim(self, client_id: str, jti: str, *, until: int, audit: AuditChoice | None = None) -> bool:
        """Claim the jti; False when it was claimed before."""
        with self._lock:
            claimed = self._claim(client_id, jti, until=until)
            record = None if audit is None else audit.of(claimed=claimed, change=-1)
            self._audit.append([record] if record else [])
            if claimed:
                self._until[client_id, jti] = until
            return claimed

    def _claim(self, client_id: str, jti: str, *, until: int) -> bool:
        if (client_id, jti) in self._until:
            return False
        if until < self._forgotten:
            raise StorageUnavailable(detail=f"claims until {self._forgotten} are forgotten", reason="clock_set_back")
        return True

    def was_claimed(self, client_id: str, jti: str) -> bool:
        """Say whether the jti was claimed, claiming nothing."""
        return (client_id, jti) in self._until

    def purge(self, *, before: int) -> int:
        """Forget claims whose `until` is before the given second; return how many."""
        with self._lock:
            self._forgotten = max(self._forgotten, before)
            return _forget(self._until, before)


class MemoryRevocationList:
    """RevocationList (see the port) over a dict."""

    def __init__(self, changes: MemoryChanges | None = None, audit: MemoryAuditStore | None = None) -> None:
        self._until: dict[str, int] = {}
        self._at: dict[str, int] = {}
        self._forgotten = 0
        self._lock = threading.Lock()
        self._changes, self._audit = changes or MemoryChanges(), audit or MemoryAuditStore()

    def revoke(self, jti: str, *, until: int, audit: AuditRecord | None = None) -> None:
        """Revoke the token with this jti; twice is as once."""
        with self._lock:
            self._audit.append([audit] if audit else [])
            self._until.setdefault(jti, until)
            self._at.setdefault(jti, self._changes.count())

    def since(self, number: int) -> Revocations:
        """Return what was revoked after this state of the registry."""
        with self._lock:
            revoked = {jti: until for jti, until in self._until.items() if self._at[jti] > number}
            return Revocations(revoked, self._changes.number(), self._forgotten)

    def is_revoked(self, jti: str, *, expires_at: int) -> bool:
        """Say whether the token was revoked, or could have been and was forgotten."""
        return jti in self._until or expires_at < self._forgotten

    def purge(self, *, before: int) -> int:
        """Forget revocations of tokens that expired before the given second; return how many."""
        with self._lock:
            self._forgotten = max(self._forgotten, before)
            return _forget(self._until, before)


class MemoryReceiptStore:
    """ReceiptStore (see the port) over a dict."""

    def __init__(self, max_rows: int = MAX_RECEIPTS) -> None:
        self._receipts: dict[str, Receipt] = {}
        self._max_rows = max_rows
        self._lock = threading.Lock()

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Keep these receipts; the oldest go when there are too many."""
        with self._lock:
            for receipt in receipts:
                self._receipts.setdefault(receipt.id, receipt)
            newest = sorted(self._receipts.values(), key=lambda receipt: receipt.until, reverse=True)
            self._receipts = {receipt.id: receipt for receipt in newest[: self._max_rows]}

    def get(self, receipt_id: str) -> Receipt | None:
        """Return the receipt, or None."""
        return self._receipts.get(receipt_id)

    def purge(self, *, before: int) -> int:
        """Forget receipts whose `until` is before the given second; return how many."""
        with self._lock:
            untils = {receipt.id: receipt.until for receipt in self._receipts.values()}
            forgotten = _forget(untils, before)
            self._receipts = {name: self._receipts[name] for name in untils}
            return forgotten


class MemoryStores:
    """Every store of the registry, in memory."""

    def __init__(self) -> None:
        self.changes, self.audit = MemoryChanges(), MemoryAuditStore()
        self.resources = MemoryResourceStore(self.changes, self.audit)
        self.replay_guard = MemoryReplayGuard(self.audit)
        self.claims = MemoryClaimQueue(self.replay_guard, self.changes, self.audit)
        self.revocations = MemoryRevocationList(self.changes, self.audit)
        self.receipts = MemoryReceiptStore()

    def ping(self) -> None:
        """Return at once: memory always answers."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _require_version(current: StoredResource | None, if_match: int | None) -> None:
    version_id = current.version_id if current else None
    if if_match is not None and version_id != if_match:
        raise VersionConflict(detail=f"{version_id} is not {if_match}")


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


def _forget(rows: dict[_K, int], before: int) -> int:
    kept = {key: until for key, until in rows.items() if until >= before}
    forgotten = len(rows) - len(kept)
    rows.clear()
    rows.update(kept)
    return forgotten
