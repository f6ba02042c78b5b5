"""Record each read, search and refusal before it is answered; what cannot be recorded is not answered (row X25).

Requests that run beside each other are recorded together: one of them writes for all that wait behind it, so a busy
server has one commit for many requests. Writes have their records in their own transactions, see interactions/.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authserver import clock
from authserver.errors import AuthServerError, StorageUnavailable
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.access_event import access_event
from authserver.fhir.interactions.bodies import with_tenant_tag
from authserver.fhir.interactions.task import WRITING
from authserver.fhir.request import TRANSACTION, FhirRequest
from authserver.fhir.store.port import FhirSession, FhirStore

Resource = dict[str, Any]


@dataclass(slots=True)
class Seen:
    """How a request went on: the status of its answer, and whose resource that is, None when it is no resource."""

    status: int = 500
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    tenant: str
    event: Resource
    written: "Future[None]" = field(default_factory=Future)


class GroupedEvents:
    """Writes events in groups: whoever comes first writes, and those who come meanwhile are the next group."""

    def __init__(self, store: FhirStore) -> None:
        self._store = store
        self._pending: list[_Waiting] = []
        self._adding, self._writing = threading.Lock(), threading.Lock()

    def write(self, tenant: str, event: Resource) -> None:
        """Return when the event is stored. Raises StorageUnavailable when it cannot be."""
        mine = _Waiting(tenant, event)
        with self._adding:
            self._pending.append(mine)
        with self._writing:
            if not mine.written.done():
                self._write_pending()
        if (problem := mine.written.exception()) is not None:
            raise StorageUnavailable(detail="the access could not be recorded") from problem

    def waiting(self) -> int:
        """Return how many events wait for the group that is being written now."""
        with self._adding:
            return len(self._pending)

    def _write_pending(self) -> None:
        with self._adding:
            group, self._pending = self._pending, []
        for tenant in dict.fromkeys(one.tenant for one in group):
            self._write_of(tenant, [one for one in group if one.tenant == tenant])

    def _write_of(self, tenant: str, group: Sequence[_Waiting]) -> None:
        # Whatever goes wrong, those who wait must not be told that they were recorded.
        problem: AuthServerError | None = StorageUnavailable(detail="the group was not written")
        try:
            self._store.put(Constraint.system(tenant), [one.event for one in group], now=clock.now_microseconds())
            problem = None
        except AuthServerError as error:
            problem = error
        finally:
            for one in group:
                one.written.set_exception(problem) if problem is not None else one.written.set_result(None)


class AccessAudit:
    """Records over one store; `tag_system` is that of the tenant's tag."""

    def __init__(
        self, store: FhirStore, *, base_url: str, tag_system: str, new_id: Callable[[], str], records: bool
    ) -> None:
        self._events = GroupedEvents(store)
        self._base_url, self._tag_system, self._new_id, self._records = base_url, tag_system, new_id, records

    @contextmanager
    def recording(self, caller: Caller, request: FhirRequest, *, request_id: str) -> Iterator[Seen]:
        """Record the request that runs inside when it ended; its status goes into what is given.

        Raises StorageUnavailable, whatever the request's end was, when it cannot be recorded.
        """
        seen = Seen()
        try:
            yield seen
        except AuthServerError as error:
            self._record(caller, request, Seen(error.status), reason=error.reason, request_id=request_id)
            raise
        # These left records in their transactions; a Bundle's are those of its entries.
        if request.interaction not in (*WRITING, TRANSACTION):
            self._record(caller, request, seen, request_id=request_id)

    def write(self, session: FhirSession, caller: Caller, request: FhirRequest, *, seen: Seen, request_id: str) -> None:
        """Record a read of a transaction inside it."""
        if self._records:
            now = clock.now_microseconds()
            event = self._event(caller, request, seen, request_id=request_id, now=now)
            session.put(Constraint.system(caller.tenant), event, method="POST", now=now)

    def _record(self, caller: Caller, request: FhirRequest, seen: Seen, *, request_id: str, reason: str = "") -> None:
        if self._records:
            now = clock.now_microseconds()
            event = self._event(caller, request, seen, reason=reason, request_id=request_id, now=now)
            self._events.write(caller.tenant, event)

    def _event(
        self, caller: Caller, request: FhirRequest, seen: Seen, *, request_id: str, now: int, reason: str = ""
    ) -> Resource:
        event = access_event(
            caller,
            request,
            status=seen.status,
            reason=reason,
            base_url=self._base_url,
            now=now,
            request_id=request_id,
            tenant=seen.tenant,
        )
        return {**with_tenant_tag(event, tenant=caller.tenant, system=self._tag_system), "id": self._new_id()}
