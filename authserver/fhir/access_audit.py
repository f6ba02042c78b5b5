"""Record each read, search and refusal before it is answered; what cannot be recorded is not answered (row X25).

Requests that run beside each other are recorded together: one of them writes for all, and waits a little for as many
as came last time, so a busy server has one commit for many requests. Writes have their records in their own
transactions, see interactions/.
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

_GROUP = 32
"""Events of a group behind which nobody is waited for."""
PATIENCE = 0.005
"""Seconds without another event after which a group waits no longer: about what five reads take."""


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

    def __init__(self, store: FhirStore, *, patience: float = PATIENCE) -> None:
        self._store, self._patience = store, patience
        self._pending: list[_Waiting] = []
        self._usual, self._writing = 1, False
        self._changed = threading.Condition()

    def write(self, tenant: str, event: Resource) -> None:
        """Return when the event is stored. Raises StorageUnavailable when it cannot be."""
        mine = _Waiting(tenant, event)
        with self._changed:
            self._pending.append(mine)
            self._changed.notify_all()
            self._changed.wait_for(lambda: mine.written.done() or not self._writing)
            leads = not mine.written.done()
            self._writing = self._writing or leads
        if leads:
            self._lead()
        if (problem := mine.written.exception()) is not None:
            raise StorageUnavailable(detail="the access could not be recorded") from problem

    def waiting(self) -> int:
        """Return how many events wait for the group that is being written now."""
        with self._changed:
            return len(self._pending)

    def _lead(self) -> None:
        """Write the group; those of the next one who wait behind it find their own leader then."""
        group = self._gathered()
        try:
            for tenant in dict.fromkeys(one.tenant for one in group):
                self._write_of(tenant, [one for one in group if one.tenant == tenant])
        finally:
            with self._changed:
                self._usual = min(len(group) + len(self._pending), _GROUP)
                self._writing = False
                self._changed.notify_all()

    def _gathered(self) -> list[_Waiting]:
        """Wait for as many as came last time, as long as they keep coming: a request alone waits for nobody."""
        with self._changed:
            while len(self._pending) < self._usual and self._changed.wait(self._patience):
                pass
            group, self._pending = self._pending, []
        return group

    def _write_of(self, tenant: str, group: Sequence[_Waiting]) -> None:
        # Whatever goes wrong, those who wait must not be told that they were recorded.
        problem: AuthServerError | None = StorageUnavailable(detail="the group was not written")
        try:
            self._store.add(Constraint.system(tenant), [one.event for one in group], now=clock.now_microseconds())
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
