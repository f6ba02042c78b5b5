"""Ask the policies about a request, tell an operator of those that could not be asked (threat G07), and keep records of
what was decided and why (rows X23, X52)."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Protocol

from authserver import clock
from authserver.errors import Forbidden, NotFound
from authserver.protocol import decision_record, policy, policy_impact
from authserver.protocol.client import Client
from authserver.protocol.decision_record import DecisionRecord
from authserver.protocol.policy import AccessPolicy, Decision
from authserver.protocol.policy_request import PolicyRequest, operation_of
from authserver.services.ports import AuditLog
from authserver.services.registry import Registrations

SAMPLE_SECONDS = 60
"""Of one client, operation and allowing policy, one allowed decision in this time is recorded by each process."""

MAX_SAMPLED = 10_000
LOOKED_AT = 10_000
"""Records that an impact is told from, the newest."""


class DecisionLog(Protocol):
    """Where records are noted beside the requests: it returns at once and may drop what comes too fast."""

    def note(self, record: DecisionRecord) -> None:
        """Note the record, to be kept shortly; never fails and never waits for the database."""

    def find(self, record_id: str) -> DecisionRecord | None:
        """Return the record, kept already or only noted; None when there is none."""


class DecisionStore(Protocol):
    """Records of decisions, by id; a bounded number, each until its `until`. Raises StorageUnavailable."""

    def add(self, records: Sequence[DecisionRecord]) -> None:
        """Keep these records, durable before it returns; one with an id that is there already changes nothing."""

    def get(self, record_id: str) -> DecisionRecord | None:
        """Return the record; None when there is none, or none any more."""

    def purge(self, *, before: int) -> int:
        """Forget records whose `until` is before the given second; return how many."""

    def recent(self, limit: int) -> Sequence[DecisionRecord]:
        """Return the newest records, at most `limit`."""


class Samples:
    """Says which allowed decisions are recorded: of each kind one, then none for SAMPLE_SECONDS."""

    def __init__(self) -> None:
        self._last: OrderedDict[object, int] = OrderedDict()
        self._lock = Lock()

    def is_due(self, kind: object, *, now: int) -> bool:
        """Say whether a decision of this kind shall be recorded now (epoch seconds)."""
        with self._lock:
            last = self._last.get(kind)
            # A clock that was set back must not end the samples until it has caught up.
            if last is not None and last <= now < last + SAMPLE_SECONDS:
                return False
            self._last[kind] = now
            self._last.move_to_end(kind)
            if len(self._last) > MAX_SAMPLED:
                self._last.popitem(last=False)
            return True


@dataclass(frozen=True, slots=True)
class Decisions:
    """Leaves records and tells of them. `keep` is for how long a record is kept, in seconds."""

    log: DecisionLog
    history: DecisionStore
    keep: int
    samples: Samples
    now: Callable[[], int] = clock.now
    new_id: Callable[[], str] = lambda: secrets.token_hex(8)

    def note(
        self, decision: Decision, policies: Sequence[AccessPolicy], client: Client, request: PolicyRequest
    ) -> str | None:
        """Record every refusal, and some of what is allowed; return the record's id, None without a record."""
        now = self.now()
        if decision.allowed and not self.samples.is_due((client.id, operation_of(request), decision.policy), now=now):
            return None
        # An answer can be allowed twice, as a question and in what it says; its id is for the one refusal.
        record_id = self.new_id() if decision.allowed else request.id or self.new_id()
        verdicts = policy.explain(policies, client, request)
        kept = decision_record.record(
            decision, verdicts, client=client, request=request, record_id=record_id, at=now, keep=self.keep
        )
        self.log.note(kept)
        return record_id

    def explain(self, record_id: str) -> dict[str, Any]:
        """Return a record as an operator sees it. Raises NotFound."""
        found = self.log.find(record_id)
        if found is None or found.until < self.now():
            raise NotFound(detail=f"decision {record_id[:64]!r}")
        return found.as_json()

    def impact(self, read: AccessPolicy) -> Mapping[str, Any]:
        """Return what would change if the policy was enforced (in shadow mode), or removed."""
        now = self.now()
        records = [one for one in self.history.recent(LOOKED_AT) if one.until >= now]
        return policy_impact.impact(read, records).as_json()


def decide(
    registry: Registrations,
    audit_log: AuditLog,
    client: Client,
    request: PolicyRequest,
    *,
    decisions: Decisions | None = None,
) -> Decision:
    """Return the decision of the candidates for this client; a policy that fails allows nothing.

    With `decisions` it leaves a record, whose id stands in what is returned.
    """
    policies = registry.policies_for(client)
    decision = policy.decide(policies, client, request)
    for failed in decision.failed:
        audit_log.record("policy_failed", policy=failed, client_id=client.id, interaction=request.interaction)
    if decisions is None:
        return decision
    record = decisions.note(decision, policies, client, request)
    return decision if record is None else replace(decision, record=record)


def refusal(decision: Decision, detail: str) -> Forbidden:
    """Return the error of a refused request; its reason tells whether a policy failed on the way."""
    if decision.failed:
        return Forbidden(detail=f"{detail}; failed: {', '.join(decision.failed)}", reason="policy_failed")
    return Forbidden(detail=detail)
