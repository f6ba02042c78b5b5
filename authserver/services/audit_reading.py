"""Read the audit: a search or one record, within the caller's tenant; that it was read is recorded too."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from authserver.errors import NotFound
from authserver.protocol import audit_search
from authserver.protocol.audit_record import MICROSECONDS, AuditRecord
from authserver.protocol.audit_search import FoundRecord
from authserver.protocol.client import Client
from authserver.services.audit_trail import AuditStore, AuditTrail

MAX_ID_DIGITS = 18


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Records, newest first; `next` is the cursor of the page after them, None after the last."""

    records: Sequence[FoundRecord]
    next: int | None = None


@dataclass(frozen=True, slots=True)
class AuditReading:
    """The use case. A caller of a tenant sees its tenant's records alone."""

    store: AuditStore
    audit: AuditTrail

    def search(self, pairs: Sequence[tuple[str, str]], *, caller: Client, now: int) -> AuditPage:
        """Return the records that fit these query parameters; raises BadRequest, NotSupported, Unavailable."""
        query = audit_search.parse(pairs, tenant=caller.tenant)
        found = self.store.search(replace(query, count=query.count + 1))
        self._record(urlencode(pairs)[:1_000], caller, now)
        page = found[: query.count]
        return AuditPage(page, page[-1].sequence if len(found) > query.count else None)

    def read(self, record_id: str, *, caller: Client, now: int) -> FoundRecord:
        """Return one record; raises NotFound for one of another tenant too, and Unavailable."""
        if not (record_id.isascii() and record_id.isdecimal() and len(record_id) <= MAX_ID_DIGITS):
            raise NotFound(detail="no id of a record")
        found = self.store.search(audit_search.AuditQuery(tenant=caller.tenant, sequence=int(record_id), count=1))
        if not found:
            raise NotFound(detail=f"AuditEvent/{record_id}")
        self._record(f"_id={record_id}", caller, now)
        return found[0]

    def _record(self, query: str, caller: Client, now: int) -> None:
        facts = {"query": query}
        made = AuditRecord("audit_read", now * MICROSECONDS, agent=caller.id, tenant=caller.tenant, facts=facts)
        self.audit.record(made)
