"""What a process knows for sure without asking anybody: kept values, each with the state of the registry it is of.

These are the ports of the use cases once more, for a caller who must not wait: each answers as the asking one would,
or raises NotAtHand. docs/caches.md says what is kept and what drops it.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, Protocol, TypeVar

from authserver.protocol.audit_record import AuditChoice, AuditRecord
from authserver.protocol.jwks import JwkSet
from authserver.services.ports import (
    Changes,
    JwksSource,
    RevocationList,
    Revocations,
    SecretHasher,
    StoredResource,
)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_REVOCATIONS = 200_000
"""Revocations that a process keeps a copy of; where there are more, the database is asked about each token."""


class NotAtHand(Exception):
    """The answer needs a database, a network or much time: ask again where waiting is allowed."""


class Present:
    """The state of the registry that one request is answered by, looked up once; for one thread only.

    `required` is the state that kept values must be of at least, `oldest` the state of the oldest one that was used.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self.required = self.oldest = -1

    def look(self) -> int:
        """Take the present state for the request that begins; return its number. Raises NotAtHand."""
        number = self._changes.at_hand()
        if number is None:
            raise NotAtHand
        self.required = self.oldest = number
        return number

    def take_any(self) -> None:
        """Take values of any state for the request that begins: who does must compare `oldest` with a later look."""
        self.required, self.oldest = -1, sys.maxsize

    def used(self, number: int) -> None:
        """Note that a value of this state was used."""
        self.oldest = min(self.oldest, number)


class Nearby(Protocol):
    """The registry's resources, as far as they can be read without waiting for anybody."""

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return what ResourceStore.get() would; None also where that cannot be known without waiting."""


class Kept(Generic[K, V]):
    """Values by key, each good for one state of the registry; the least recently used of `size` goes first."""

    def __init__(self, changes: Changes, *, size: int) -> None:
        self._changes, self._size = changes, size
        self._values: OrderedDict[K, tuple[int, V]] = OrderedDict()
        self._lock = Lock()

    def read(self, key: K, ask: Callable[[], V]) -> V:
        """Return what `ask` returns, and keep it.

        The state is looked up before asking, so a value is never kept for a state later than its own.
        """
        number = self._changes.at_hand()
        value = ask()
        if number is not None and value is not None:
            with self._lock:
                self._values[key] = number, value
                self._values.move_to_end(key)
                if len(self._values) > self._size:
                    self._values.popitem(last=False)
        return value

    def get(self, key: K, present: Present) -> V:
        """Return the value if it is of the required state or a later one; raises NotAtHand."""
        with self._lock:
            found = self._values.get(key)
            if found is None or found[0] < present.required:
                raise NotAtHand
            self._values.move_to_end(key)
        present.used(found[0])
        return found[1]


class KeptRevocations:
    """A RevocationList with a copy of the whole list beside it, brought up to date whenever somebody asks."""

    def __init__(self, revocations: RevocationList, changes: Changes, *, max_kept: int = MAX_REVOCATIONS) -> None:
        self._list, self._changes, self._max_kept = revocations, changes, max_kept
        self._kept: dict[str, int] = {}
        self._number, self._forgotten = -1, 0
        self._lock = Lock()

    def revoke(self, jti: str, *, until: int, audit: AuditRecord | None = None) -> None:
        """Revoke the token with this jti; see the port."""
        self._list.revoke(jti, until=until, audit=audit)

    def is_revoked(self, jti: str, *, expires_at: int) -> bool:
        """Ask the list itself; see the port."""
        number = self._changes.at_hand()
        if number is not None and self._number < number:
            self._catch_up()
        return self._list.is_revoked(jti, expires_at=expires_at)

    def purge(self, *, before: int) -> int:
        """Forget expired revocations; see the port."""
        return self._list.purge(before=before)

    def since(self, number: int) -> Revocations:
        """Return what was revoked after this state; see the port."""
        return self._list.since(number)

    def kept(self, jti: str, *, expires_at: int, number: int) -> bool:
        """Say whether the token was revoked, by the copy alone; raises NotAtHand when it is of a former state."""
        if self._number < number:
            raise NotAtHand
        return expires_at < self._forgotten or jti in self._kept

    def _catch_up(self) -> None:
        with self._lock:
            if len(self._kept) > self._max_kept:
                return
            news = self._list.since(self._number)
            expired = [jti for jti, until in self._kept.items() if until < news.forgotten]
            for jti in expired:
                del self._kept[jti]
            self._kept.update(news.revoked)
            self._forgotten = news.forgotten
            # Last: whoever reads the number finds what belongs to it.
            self._number = news.number if len(self._kept) <= self._max_kept else -1


@dataclass(frozen=True, slots=True)
class RevocationsAtHand:
    """RevocationList for a caller who must not wait."""

    revocations: KeptRevocations
    present: Present

    def revoke(self, _jti: str, *, until: int, audit: AuditRecord | None = None) -> None:
        """Writing takes its time."""
        raise NotAtHand

    def is_revoked(self, jti: str, *, expires_at: int) -> bool:
        """Say whether the token was revoked; see the port."""
        return self.revocations.kept(jti, expires_at=expires_at, number=self.present.required)

    def since(self, number: int) -> Revocations:
        """Reading the list takes its time."""
        raise NotAtHand

    def purge(self, *, before: int) -> int:
        """Writing takes its time."""
        raise NotAtHand


class ReplayGuardAtHand:
    """ReplayGuard for a caller who must not wait: a claim is a write, so it is never at hand."""

    def claim(self, _client_id: str, _jti: str, *, until: int, audit: AuditChoice | None = None) -> bool:
        """Writing takes its time."""
        raise NotAtHand

    def was_claimed(self, _client_id: str, _jti: str) -> bool:
        """Reading the database takes its time."""
        raise NotAtHand

    def purge(self, *, before: int) -> int:
        """Writing takes its time."""
        raise NotAtHand


@dataclass(frozen=True, slots=True)
class JwksAtHand:
    """JwksSource for a caller who must not wait."""

    source: JwksSource

    def keys(self, jwks_uri: str, *, kid: str, now: int, since: int = 0, source: str | None = None) -> JwkSet:
        """Return the fresh set that is held and has the kid; see the port."""
        found = self.source.held(jwks_uri, kid=kid, since=since)
        if found is None:
            raise NotAtHand
        return found

    def held(self, jwks_uri: str, *, kid: str, since: int = 0) -> JwkSet | None:
        """Return the fresh set that is held and has the kid; see the port."""
        return self.source.held(jwks_uri, kid=kid, since=since)

    def proven(self, jwks_uri: str, *, source: str | None) -> None:
        """Tell that the keys proved a caller; see the port."""
        self.source.proven(jwks_uri, source=source)


@dataclass(frozen=True, slots=True)
class HasherAtHand:
    """SecretHasher for a caller who must not wait: only a secret that was right before is known to be right."""

    hasher: SecretHasher

    def hash(self, secret: str) -> str:
        """Hashing takes its time."""
        raise NotAtHand

    def verify(self, secret: str, secret_hash: str | None) -> bool:
        """Return True for a remembered secret; raises NotAtHand for every other."""
        if not self.remembers(secret, secret_hash):
            raise NotAtHand
        return True

    def remembers(self, secret: str, secret_hash: str | None) -> bool:
        """Say whether the secret was right before; see the port."""
        return self.hasher.remembers(secret, secret_hash)
