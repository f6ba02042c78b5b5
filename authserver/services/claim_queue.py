"""Claims of jtis that run beside each other, as a port: what becomes of each, and of its audit record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from authserver.errors import Unavailable
from authserver.protocol.audit_record import AuditChoice


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """What became of a claim. `change` is the number of the registry's state, read after the claim was made.

    With a `failure` nothing is known: none of the others counts. `recorded`: the claim's audit record is durable too.
    """

    claimed: bool = False
    change: int = -1
    failure: Unavailable | None = None
    recorded: bool = False


class ClaimQueue(Protocol):
    """Claims jtis of requests that run beside each other together: one transaction, one wait for the disk."""

    def submit(
        self,
        client_id: str,
        jti: str,
        *,
        until: int,
        done: Callable[[ClaimOutcome], None],
        audit: AuditChoice | None = None,
    ) -> None:
        """Let the jti be claimed as ReplayGuard.claim() would; `done` gets the outcome when it is durable.

        Never waits and never raises; when too many are waiting already, the outcome is a failure. For one thread,
        the one that deliver_by() tells of.
        """

    def deliver_by(self, run: Callable[[Callable[[], None]], None]) -> None:
        """Let claims be gathered and outcomes be handed over by `run`, at the next turn of an event loop's thread."""
