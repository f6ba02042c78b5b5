"""The audit: what is recorded before an answer goes out, how much a flood of refusals may cost, and the checkpoints.

A record that cannot be written fails its request with 503 (`audit_unavailable`). Without a store the audit is off.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Protocol

from authserver.errors import AuthServerError, Unavailable
from authserver.protocol import audit_record
from authserver.protocol.audit_chain import CHECKPOINT_TYP, Checkpoint, Head, Link
from authserver.protocol.audit_record import MICROSECONDS, AuditChoice, AuditRecord
from authserver.protocol.audit_search import AuditQuery, FoundRecord
from authserver.services.ports import AuditLog, Signer
from authserver.services.registry import Registrations

UNPROVEN_PER_MINUTE = 30
"""Refusals of unproven callers that get a record of their own: for one path and reason, in a minute, per process."""

MAX_KINDS = 1_000
DAY = 86_400


class AuditStore(Protocol):
    """The chain of records. Every method raises Unavailable when the database gives no answer."""

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Put records at the end of the chain, durable before it returns."""

    def search(self, query: AuditQuery) -> Sequence[FoundRecord]:
        """Return the newest records that fit, newest first, at most `query.count` of them."""

    def last_before(self, moment: int) -> int:
        """Return the number of a record with the latest moment before this one (microseconds), 0 without one.

        Records are numbered in the order of writing, which is that of their moments but for seconds.
        """

    def head(self) -> Head | None:
        """Return where the chain begins and ends; None when there is no record of it."""

    def links(self, *, after: int, up_to: int) -> Iterable[Link]:
        """Yield every record with a number above `after` and not above `up_to`, in the order of their numbers."""

    def checkpoints(self) -> Sequence[str]:
        """Return the signed checkpoints, newest first."""

    def keep_checkpoint(self, sequence: int, signed: str) -> None:
        """Keep a signed checkpoint of the head with this sequence number."""

    def older_than(self, moment: int) -> Head:
        """Return the head of what is to be pruned: the last record before the first that is of this moment or later.

        `moment` is in microseconds; only `sequence` and `hash` of the answer count.
        """

    def prune(self, *, up_to: int) -> int:
        """Forget the records up to this number, in small batches; return how many."""


class RefusalLimit:
    """How many refusals of unproven callers are recorded one by one; the others are only counted.

    Each path and reason has a share of its own in each minute, so a flood of one kind hides no other.
    """

    def __init__(self, *, per_minute: int = UNPROVEN_PER_MINUTE) -> None:
        self._per_minute, self._lock = per_minute, Lock()
        self._kinds: OrderedDict[tuple[str, str], tuple[int, int, int]] = OrderedDict()

    def admit(self, path: str, reason: str, *, now: int) -> int | None:
        """Return how many like it were only counted since the last record; None to count this one too."""
        minute = now // 60
        with self._lock:
            began, admitted, unlisted = self._kinds.get((path, reason), (minute, 0, 0))
            if began != minute:
                admitted = 0
            if admitted >= self._per_minute:
                self._kinds[path, reason] = minute, admitted, unlisted + 1
                return None
            self._kinds[path, reason] = minute, admitted + 1, 0
            while len(self._kinds) > MAX_KINDS:
                self._kinds.popitem(last=False)
            return unlisted

    def take(self) -> list[tuple[str, str, int]]:
        """Return the path, reason and number of all that were only counted, and begin anew."""
        with self._lock:
            found = [(path, reason, entry[2]) for (path, reason), entry in self._kinds.items() if entry[2]]
            self._kinds = OrderedDict((kind, (began, n, 0)) for kind, (began, n, _) in self._kinds.items())
        return found


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The use case. `request_id` tells the id of the request that is served now."""

    store: AuditStore | None
    registry: Registrations
    request_id: Callable[[], str | None] = lambda: None
    limit: RefusalLimit = field(default_factory=RefusalLimit)

    @property
    def is_on(self) -> bool:
        """Say whether anything is recorded."""
        return self.store is not None

    def of_this_request(self, record: AuditRecord) -> AuditRecord:
        """Return the record with the id of the request that is served now."""
        return replace(record, request_id=self.request_id())

    def optional(self, record: AuditRecord) -> AuditRecord | None:
        """Return the record for a store that writes it with a change; None when the audit is off."""
        return self.of_this_request(record) if self.is_on else None

    def choice(self, make: Callable[[str | None], AuditRecord], *, number: int | None = None) -> AuditChoice | None:
        """Return what `make` returns for the request with this id, for the claim that it depends on.

        None when the audit is off. `number` is the state of the registry that it rests on, None for the present one.
        """
        if self.store is None:
            return None
        record = make(self.request_id())
        return AuditChoice(record) if number is None else AuditChoice(record, number)

    def record(self, record: AuditRecord) -> None:
        """Record what was done, durably before this returns; raises Unavailable (`audit_unavailable`)."""
        if self.store is not None:
            _append(self.store, [self.of_this_request(record)])

    def refused(self, error: AuthServerError, *, path: str, now: int, source: str | None = None) -> None:
        """Record a refusal before its answer goes out; raises Unavailable. `now` in epoch seconds.

        What an unproven caller was refused is only counted, and waits for nothing, where there is too much of it.
        """
        if self.store is None or error.recorded or not audit_record.is_decision(error, path):
            return
        tenant, unlisted = None, 0
        if audit_record.is_proven(error):
            client = self.registry.client(error.client_id or "")
            tenant = client.tenant if client else None
        else:
            admitted = self.limit.admit(path, error.reason, now=now)
            if admitted is None:
                return
            unlisted = admitted
        made = audit_record.refusal(
            error,
            path=path,
            at=now * MICROSECONDS,
            tenant=tenant,
            request_id=self.request_id(),
            source=source,
            unlisted=unlisted,
        )
        _append(self.store, [made])
        error.recorded = True

    def record_unlisted(self, *, now: int) -> None:
        """Record how many refusals were only counted; raises Unavailable. `now` in epoch seconds."""
        if self.store is None:
            return
        counted = self.limit.take()
        records = [
            AuditRecord(
                audit_record.event_of(path) or "request_refused",
                now * MICROSECONDS,
                audit_record.MINOR_FAILURE,
                facts={"path": path, "reason": reason, "unlisted": number},
            )
            for path, reason, number in counted
        ]
        if records:
            _append(self.store, records)


@dataclass(frozen=True, slots=True)
class AuditUpkeep:
    """What is done beside the requests: counted refusals, signed checkpoints, pruning. `keep_days`: the retention."""

    trail: AuditTrail
    signer: Signer
    audit_log: AuditLog
    keep_days: int

    def __call__(self, *, now: int) -> int:
        """Do all of it; return how many records were pruned. Raises Unavailable. `now` in epoch seconds."""
        if self.trail.store is None:
            return 0
        self.trail.record_unlisted(now=now)
        return prune(self.trail.store, self.signer, self.audit_log, keep_days=self.keep_days, now=now)


def prune(store: AuditStore, signer: Signer, audit_log: AuditLog, *, keep_days: int, now: int) -> int:
    """Sign the head and where the chain is to begin, then forget what is before it; return how many records."""
    old = store.older_than((now - keep_days * DAY) * MICROSECONDS)
    sign_head(store, signer, audit_log, now=now, pruned=old)
    return store.prune(up_to=old.sequence) if old.sequence else 0


def sign_head(
    store: AuditStore, signer: Signer, audit_log: AuditLog, *, now: int, pruned: Head | None = None
) -> Head | None:
    """Sign the head of the chain, keep it and export it to the log; return it, None where there is nothing to sign.

    `pruned` is where the chain is to begin from now on, where that is later than where it begins. Nothing is done when
    the newest checkpoint says the same. Raises Unavailable. `now` in epoch seconds.
    """
    head = store.head()
    if head is None:
        return None
    if pruned is not None and pruned.sequence > head.pruned_sequence:
        head = replace(head, pruned_sequence=pruned.sequence, pruned_hash=pruned.hash)
    last = newest_good(store.checkpoints()[:1], signer)
    if last is None or last.head != head:
        store.keep_checkpoint(head.sequence, signer.sign(Checkpoint(now, head).claims(), typ=CHECKPOINT_TYP))
        audit_log.record("audit_checkpoint", sequence=head.sequence, hash=head.hash.hex())
    return head


def newest_good(signed: Sequence[str], signer: Signer) -> Checkpoint | None:
    """Return the first of these checkpoints when a key that is published now signed it, else None."""
    claims = signer.verify(signed[0], typ=CHECKPOINT_TYP) if signed else None
    return None if claims is None else Checkpoint.of(claims)


def _append(store: AuditStore, records: Sequence[AuditRecord]) -> None:
    try:
        store.append(records)
    except Unavailable as error:
        # The detail of the decision itself: no line of its own says it now.
        what = "; ".join(f"{record.event} {record.facts.get('reason', '')}".strip() for record in records[:3])
        raise Unavailable(detail=f"not recorded: {what}: {error.detail}", reason="audit_unavailable") from error
