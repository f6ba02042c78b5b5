"""The ClaimQueue in memory, for the stores in memory: every claim is made at once."""

from collections.abc import Callable

from authserver.adapters.memory_audit import MemoryAuditStore
from authserver.adapters.memory_changes import MemoryChanges
from authserver.errors import Unavailable
from authserver.protocol.audit_record import AuditChoice
from authserver.services.claim_queue import ClaimOutcome
from authserver.services.ports import ReplayGuard


class MemoryClaimQueue:
    """ClaimQueue (see the port) that claims at once."""

    def __init__(self, guard: ReplayGuard, changes: MemoryChanges, audit: MemoryAuditStore) -> None:
        self._guard, self._changes, self._audit = guard, changes, audit

    def submit(
        self,
        client_id: str,
        jti: str,
        *,
        until: int,
        done: Callable[[ClaimOutcome], None],
        audit: AuditChoice | None = None,
    ) -> None:
        """Claim the jti and hand over the outcome."""
        try:
            claimed, change = self._guard.claim(client_id, jti, until=until), self._changes.number()
            record = None if audit is None else audit.of(claimed=claimed, change=change)
            if record is not None:
                self._audit.append([record])
        except Unavailable as error:
            done(ClaimOutcome(failure=error))
            return
        done(ClaimOutcome(claimed, change, recorded=record is not None))

    def deliver_by(self, run: Callable[[Callable[[], None]], None]) -> None:
        """Outcomes are handed over within submit()."""
