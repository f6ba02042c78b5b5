"""What is written into the audit: one value for each decision, and which refusals are decisions worth a record.

A record names identifiers, reasons and moments. It never holds a secret, an assertion, a token or a request's text, so
the private `detail` of an error does not go in: it quotes what callers sent.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from authserver.errors import (
    AuthServerError,
    Forbidden,
    InvalidClientMetadata,
    InvalidResource,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    LoginRequired,
    MethodNotAllowed,
    NonCanonicalPath,
    OAuthError,
    TokenRequired,
    TooManyRequests,
    UnauthorizedClient,
    VersionConflict,
)

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = 0, 4, 8
"""Outcomes (http://hl7.org/fhir/R4/valueset-audit-event-outcome.html): done, refused, refused for want of rights."""

MICROSECONDS = 1_000_000
_PATHS = {
    "/auth/token": "token_refused",
    "/auth/introspect": "introspection_refused",
    "/auth/revoke": "revocation_refused",
    "/auth/register": "registration_refused",
}
_RESOURCE_PATH = re.compile(r"/(Client|AccessPolicy|AuditEvent)(?:/([A-Za-z0-9\-.]{1,64}))?(?:/\$[a-z-]{1,32})?")
_OPERATOR_PATH = re.compile(r"/auth/(?:assertion|receipt)\b")
_DECISIONS = (
    OAuthError,
    LoginRequired,
    TokenRequired,
    InvalidToken,
    Forbidden,
    InvalidResource,
    VersionConflict,
    TooManyRequests,
)
_OF_PROVEN = (
    UnauthorizedClient,
    InvalidScope,
    InvalidTarget,
    InvalidClientMetadata,
    Forbidden,
    InvalidResource,
    VersionConflict,
)
REPLAYED = "jti_replayed"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One decision. `at` is in microseconds since the epoch, UTC; `outcome` one of the constants above.

    `agent` is the client that was proven to ask, never one that was only claimed; `entity` what it was about, as
    `Client/x`, `AccessPolicy/x` or `SigningKey/x`; `tenant` whose record it is. `source` is from where the request
    came (see source_address). `facts` are members of JSON, by event.
    """

    event: str
    at: int
    outcome: int = SUCCESS
    agent: str | None = None
    entity: str | None = None
    tenant: str | None = None
    request_id: str | None = None
    source: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def jti(self) -> str | None:
        """Return the jti of the token that it is about."""
        jti = self.facts.get("jti")
        return jti if isinstance(jti, str) else None


@dataclass(frozen=True, slots=True)
class AuditChoice:
    """What is recorded of a token request together with the claim of its jti, by the claim's outcome.

    `record` says what was decided, for the request that claims its jti. `number` is the state of the registry (see
    services.ports.Changes) that the decision rests on: after a later one nothing is recorded, for it is decided anew.
    """

    record: AuditRecord
    number: int = sys.maxsize

    def of(self, *, claimed: bool, change: int) -> AuditRecord | None:
        """Return the record of this outcome; None when somebody else is to record it."""
        if change > self.number:
            return None
        return self.record if claimed else self._replayed()

    def _replayed(self) -> AuditRecord:
        asked = self.record
        return AuditRecord(
            "token_refused",
            asked.at,
            MINOR_FAILURE,
            asked.agent,
            tenant=asked.tenant,
            request_id=asked.request_id,
            source=asked.source,
            facts={"path": "/auth/token", "error": "invalid_client", "reason": REPLAYED},
        )


def is_decision(error: AuthServerError, path: str) -> bool:
    """Say whether the refusal of a request to this path is recorded.

    All refusals of the token endpoint are; elsewhere those about identity, rights and the registry. A resource that is
    not there, a wrong method or media type decides nothing, and a failure of this server (5xx) leaves its log line.
    """
    if error.status >= 500 or event_of(path) is None:
        return False
    if path == "/auth/token":
        return not isinstance(error, MethodNotAllowed | NonCanonicalPath)
    return isinstance(error, _DECISIONS)


def is_proven(error: AuthServerError) -> bool:
    """Say whether only a client that had proven itself can get this refusal; `client_id` of the error is its id."""
    proven = isinstance(error, _OF_PROVEN) or error.reason in (REPLAYED, "insufficient_scope")
    return proven and error.client_id is not None


def event_of(path: str) -> str | None:
    """Return the event that a refusal at this path is; None where refusals are not recorded."""
    if path in _PATHS:
        return _PATHS[path]
    return "request_refused" if _RESOURCE_PATH.fullmatch(path) or _OPERATOR_PATH.match(path) else None


def refusal(
    error: AuthServerError,
    *,
    path: str,
    at: int,
    tenant: str | None = None,
    request_id: str | None = None,
    source: str | None = None,
    unlisted: int = 0,
) -> AuditRecord:
    """Return the record of a refusal; `unlisted` is how many like it were counted without a record of their own."""
    proven = is_proven(error)
    facts: dict[str, object] = {"path": _shown(path), "error": error.oauth_code, "reason": error.reason}
    if not proven and error.client_id is not None:
        facts["claimed_client"] = error.client_id[:64]
    if unlisted:
        facts["unlisted"] = unlisted
    return AuditRecord(
        event_of(path) or "request_refused",
        at,
        SERIOUS_FAILURE if isinstance(error, Forbidden) else MINOR_FAILURE,
        error.client_id if proven else None,
        _entity(path),
        tenant if proven else None,
        request_id,
        source,
        facts,
    )


def _shown(path: str) -> str:
    """Return the path without what a caller may have written by mistake where an id belongs."""
    match = _RESOURCE_PATH.fullmatch(path)
    return f"/{match[1]}" if match else path if path in _PATHS else "/".join(path.split("/")[:3])


def _entity(path: str) -> str | None:
    match = _RESOURCE_PATH.fullmatch(path)
    return f"{match[1]}/{match[2]}" if match and match[2] else None


def key_change(event: str, kid: str, algorithm: str, *, at: int, by: str = "command line") -> AuditRecord:
    """Return the record of a change of our signing keys, `key_announced` or `key_retired`; `by` is what made it."""
    return AuditRecord(event, at, entity=f"SigningKey/{kid}", facts={"by": by, "algorithm": algorithm})
