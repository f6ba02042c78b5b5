"""Tell the operator of a client that publishes a private or a symmetric key: whoever reads its key set can be it.

Such a key verifies nothing here (threats A03, A20), and the client's other keys go on to work; its owner has to know.
"""

from collections import OrderedDict
from threading import Lock

from authserver.protocol.jwks import JwkSet, RefusedKey
from authserver.services.ports import AuditLog, JwksSource

MAX_TOLD = 10_000
"""Addresses of which is remembered what was told; the one told of first goes first."""


class AlarmingJwks:
    """A JwksSource that records `jwks_contains_secret` once for each set with such keys."""

    def __init__(self, source: JwksSource, audit_log: AuditLog) -> None:
        self._source, self._audit_log = source, audit_log
        self._told: OrderedDict[str, tuple[RefusedKey, ...]] = OrderedDict()
        self._lock = Lock()

    def keys(self, jwks_uri: str, *, kid: str, now: int, since: int = 0, source: str | None = None) -> JwkSet:
        """Return the key set; see the port."""
        found = self._source.keys(jwks_uri, kid=kid, now=now, since=since, source=source)
        if found.secrets:
            self._tell(jwks_uri, found.secrets)
        return found

    def held(self, jwks_uri: str, *, kid: str, since: int = 0) -> JwkSet | None:
        """Return the key set that is held; see the port."""
        return self._source.held(jwks_uri, kid=kid, since=since)

    def proven(self, jwks_uri: str, *, source: str | None) -> None:
        """Tell that the keys proved a caller; see the port."""
        self._source.proven(jwks_uri, source=source)

    def _tell(self, jwks_uri: str, secrets: tuple[RefusedKey, ...]) -> None:
        with self._lock:
            if self._told.get(jwks_uri) == secrets:
                return
            self._told[jwks_uri] = secrets
            while len(self._told) > MAX_TOLD:
                self._told.popitem(last=False)
        # Places and kids alone: the log is no place for the keys that the client should not have published.
        keys = [{"index": key.index, "kid": key.kid, "reason": key.reason} for key in secrets]
        self._audit_log.record("jwks_contains_secret", jwks_uri=jwks_uri, keys=keys)
