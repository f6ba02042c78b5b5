"""Which access tokens of a client are alive, and the end of one of them (row X5).

A token has no row of its own; the audit has a record of each that was issued. Introspection decides what is alive.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.errors import BadRequest, NotFound, ResourceError
from authserver.protocol.audit_record import MICROSECONDS, AuditRecord
from authserver.protocol.audit_search import AuditQuery, FoundRecord
from authserver.protocol.client import Client
from authserver.protocol.instants import instant
from authserver.protocol.source_address import UNKNOWN
from authserver.services.audit_trail import AuditStore, AuditTrail
from authserver.services.ports import CLIENT
from authserver.services.registration import Registration
from authserver.services.token_introspection import ActiveToken, TokenIntrospection

DEFAULT_COUNT, MAX_COUNT = 50, 200
_JTI = re.compile(r"[!-~]{1,256}")

MAX_LOOKED_AT = 1_000
"""Records that one answer looks at; where the rest is, its `next` says."""

DISORDER = 3_600
"""By how many seconds the moments of records may be out of the order of their numbers: clocks of several hosts."""

_ISSUED = frozenset({"token_issued"})


class AuditOff(ResourceError):
    """Nothing records which tokens are issued, so nobody can say which are alive."""

    status, issue_code, default_reason = 404, "not-supported", "audit_off"
    default_public = "The audit of this server is off, so it does not know which tokens there are."


@dataclass(frozen=True, slots=True)
class LiveTokens:
    """The use cases. `longest` is how many seconds a token lives at most."""

    store: AuditStore
    audit: AuditTrail
    introspection: TokenIntrospection
    longest: int

    def of_client(
        self,
        registration: Registration,
        client_id: str,
        *,
        caller: Client,
        count: int = DEFAULT_COUNT,
        after: int | None = None,
        now: int,
    ) -> dict[str, Any]:
        """Return a page of the client's live tokens, newest first; `after` is the `next` of the page before.

        That they were looked at is recorded. Raises NotFound, AuditOff, Unavailable. `now` in epoch seconds.
        """
        self._require_registered(registration, client_id)
        asked = AuditRecord(
            "audit_read",
            now * MICROSECONDS,
            agent=caller.id,
            tenant=caller.tenant,
            facts={"query": f"{CLIENT}/{client_id}/$tokens"},
        )
        self.audit.record(asked)
        tokens, following = self._page(client_id, registration.tenant, count=count, after=after, now=now)
        shown = [_shown(found.said) for found in tokens]
        return {"client": client_id, "server_time": instant(now * MICROSECONDS), "tokens": shown, "next": following}

    def revoke(self, registration: Registration, client_id: str, jti: str, *, caller: Client, now: int) -> bool:
        """End the one token of the client with this jti; return whether it was alive. `now` in epoch seconds.

        Raises NotFound when none of the client's tokens that may have time left has it, AuditOff, BadRequest for what
        is no jti, Unavailable.
        """
        if _JTI.fullmatch(jti) is None:
            raise BadRequest("A jti is a text of 1 to 256 visible ASCII characters.")
        self._require_registered(registration, client_id)
        since, beyond = self._window(now)
        query = AuditQuery(
            agent=client_id, events=_ISSUED, jti=jti, tenant=registration.tenant, since=since, beyond=beyond, count=1
        )
        issued = self.store.search(query)
        if not issued:
            raise NotFound("This client has no such token.", detail=f"{client_id}: no record of the token")
        active = self._alive(issued[0].said, now)
        if active is not None:
            self.introspection.end(active, caller=caller, now=now)
        return active is not None

    def _require_registered(self, registration: Registration, client_id: str) -> None:
        registration.get(CLIENT, client_id)
        if not self.audit.is_on:
            raise AuditOff

    def _page(
        self, client_id: str, tenant: str | None, *, count: int, after: int | None, now: int
    ) -> tuple[list[FoundRecord], int | None]:
        """Return at most `count` records of live tokens, and behind which record the next page begins, if any."""
        alive: list[FoundRecord] = []
        looked_at = 0
        for found in self._issued(client_id, tenant, after=after, now=now):
            if len(alive) == count or looked_at == MAX_LOOKED_AT:
                return alive, after
            after, looked_at = found.sequence, looked_at + 1
            if self._alive(found.said, now) is not None:
                alive.append(found)
        return alive, None

    def _issued(self, client_id: str, tenant: str | None, *, after: int | None, now: int) -> Iterator[FoundRecord]:
        """Yield the records of tokens that may have time left, newest first."""
        oldest, beyond = self._window(now)
        while True:
            query = AuditQuery(
                agent=client_id, events=_ISSUED, since=oldest, beyond=beyond, after=after, count=MAX_COUNT
            )
            page = self.store.search(query)
            yield from (found for found in page if tenant in (None, found.said["tenant"]))
            if len(page) < MAX_COUNT:
                return
            after = page[-1].sequence

    def _window(self, now: int) -> tuple[int, int]:
        """Return since when tokens may have time left, and behind which record all of theirs are."""
        oldest = (now - self.longest) * MICROSECONDS
        return oldest, self.store.last_before(oldest - DISORDER * MICROSECONDS)

    def _alive(self, said: Mapping[str, Any], now: int) -> ActiveToken | None:
        """Return the token that a record of its issue tells of, when it is active."""
        claims = {**said["facts"], "iss": self.introspection.issuer, "client_id": said["agent"]}
        return self.introspection.of_claims(claims, now=now)


def _shown(said: Mapping[str, Any]) -> dict[str, Any]:
    facts, source = said["facts"], said.get("source")
    return {
        "jti": facts["jti"],
        "scope": facts["scope"],
        "issued_at": instant(said["at"]),
        "expires_at": instant(facts["exp"] * MICROSECONDS),
        "remote_address": None if source == UNKNOWN else source,
        "request_id": said.get("request_id"),
    }
