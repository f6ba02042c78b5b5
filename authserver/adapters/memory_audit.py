"""The AuditStore in memory, for the stores in memory: the same chain, gone at exit."""

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from authserver.protocol import audit_chain
from authserver.protocol.audit_chain import Head, Link
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.audit_search import AuditQuery, FoundRecord


class MemoryAuditStore:
    """AuditStore (see services.audit_trail) over a list."""

    def __init__(self) -> None:
        self._links: list[Link] = []
        self._head: Head | None = None
        self._checkpoints: list[str] = []
        self._lock = threading.Lock()

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Put records at the end of the chain."""
        with self._lock:
            for record in records:
                head = self._head or Head()
                body = json.dumps(asdict(record), separators=(",", ":")).encode()
                digest = audit_chain.link(head.hash, head.sequence + 1, body)
                found = (record.agent, record.entity, record.tenant, record.jti)
                filed = (record.event, record.at, record.outcome, *found)
                self._links.append(Link(head.sequence + 1, head.hash, digest, body, filed))
                self._head = Head(head.sequence + 1, digest, head.pruned_sequence, head.pruned_hash)

    def search(self, query: AuditQuery) -> Sequence[FoundRecord]:
        """Return the newest records that fit, newest first."""
        fitting = (link for link in reversed(self._links) if _fits(link, query))
        found = [FoundRecord(link.sequence, link.hash, json.loads(link.body)) for link in fitting]
        return found[: query.count]

    def last_before(self, moment: int) -> int:
        """Return the number of the latest record of before this moment, 0 without one."""
        old = [(link.columns[1], link.sequence) for link in self._links if link.columns[1] < moment]
        return max(old)[1] if old else 0

    def head(self) -> Head | None:
        """Return where the chain begins and ends."""
        return self._head

    def links(self, *, after: int, up_to: int) -> Iterable[Link]:
        """Return every record in this range."""
        return [link for link in self._links if after < link.sequence <= up_to]

    def checkpoints(self) -> Sequence[str]:
        """Return the signed checkpoints, newest first."""
        return self._checkpoints[::-1]

    def keep_checkpoint(self, sequence: int, signed: str) -> None:  # noqa: ARG002 -- the port's
        """Keep a signed checkpoint."""
        self._checkpoints.append(signed)

    def older_than(self, moment: int) -> Head:
        """Return the last record before the first that is of this moment or later."""
        old = Head()
        for link in self._links:
            if link.columns[1] >= moment:
                break
            old = Head(link.sequence, link.hash)
        return old

    def prune(self, *, up_to: int) -> int:
        """Forget the records up to this number."""
        with self._lock:
            old = [link for link in self._links if link.sequence <= up_to]
            if old and self._head is not None:
                self._links = self._links[len(old) :]
                self._head = Head(self._head.sequence, self._head.hash, old[-1].sequence, old[-1].hash)
            return len(old)


def _fits(link: Link, query: AuditQuery) -> bool:
    event, at, outcome, agent, entity, tenant, jti = link.columns
    wanted = (
        (agent, query.agent),
        (entity, query.entity),
        (tenant, query.tenant),
        (jti, query.jti),
        (link.sequence, query.sequence),
    )
    return (
        all(value is None or found == value for found, value in wanted)
        and (query.after is None or link.sequence < query.after)
        and (query.beyond is None or link.sequence > query.beyond)
        and (query.events is None or event in query.events)
        and (query.outcomes is None or outcome in query.outcomes)
        and (query.since is None or at >= query.since)
        and (query.before is None or at < query.before)
        and not any(start <= at < end for start, end in query.without)
    )
