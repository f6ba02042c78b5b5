"""Keep clients' key sets for as long as their owners allow, and ask the network as seldom as that permits.

Nothing stale is ever served: SMART forbids to cache a key set for longer than its Cache-Control says, so there
is no stale-if-error and an unreachable owner ends in JwksUnavailable once its last set has run out.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from authserver.errors import AuthServerError, JwksUnavailable
from authserver.protocol.jwks import JwkSet
from authserver.protocol.jwks_freshness import (
    DEFAULT_SECONDS,
    LONGEST_SECONDS,
    OWN_LIMITS,
    FetchedJwks,
    fresh_for,
    renewed,
    to_keep,
)


class JwksFetcher(Protocol):
    """What the cache asks for documents, such as JwksHttp."""

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Return the answer of the owner in bounded time. Raises JwksUnavailable, and nothing else."""


@dataclass(frozen=True, slots=True)
class CacheTimes:
    """The cache's own times, in seconds.

    `default_fresh` holds when the owner says nothing, `longest_fresh` whatever the owner says.
    `unknown_kid_cooldown` separates two fetches made because a kid was missing. After a failed fetch nothing
    is asked for `first_retry`, twice as long after the next failure, at most `longest_retry`. `longest_wait`
    bounds how long a caller waits for the fetch of another; it has to exceed the fetcher's deadline.
    """

    default_fresh: int = DEFAULT_SECONDS
    longest_fresh: int = LONGEST_SECONDS
    unknown_kid_cooldown: float = 30.0
    first_retry: float = 5.0
    longest_retry: float = 30.0
    longest_wait: float = 5.0


@dataclass(frozen=True, slots=True)
class JwksSnapshot:
    """What is known of one address, for the operator. Times are epoch seconds, None when it never happened.

    `fetches` counts requests sent or refused by this server's own limits; `failures` those in a row.
    `fresh_seconds` is how long the held set may still be used, 0 when there is none.
    """

    last_fetch: int | None = None
    last_success: int | None = None
    failing_since: int | None = None
    last_reason: str | None = None
    fetches: int = 0
    failures: int = 0
    fresh_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Held:
    """The last good set, with the answer that it came from and the monotonic second at which it goes stale."""

    keys: JwkSet
    answer: FetchedJwks
    fresh_until: float


@dataclass(slots=True)
class _Flight:
    """One fetch under way. `keys` or `failure` is set before `landed`."""

    asked_at: int
    for_unknown_kid: bool
    suspect: bool
    held: _Held | None
    landed: threading.Event = field(default_factory=threading.Event)
    keys: JwkSet | None = None
    failure: JwksUnavailable | None = None


@dataclass(slots=True)
class _Entry:
    """All that is kept of one address. Read and changed under the cache's lock only."""

    held: _Held | None = None
    flight: _Flight | None = None
    retry_at: float = float("-inf")
    unknown_kid_at: float = float("-inf")
    seen: JwksSnapshot = field(default_factory=JwksSnapshot)


class _Answer(Enum):
    SERVE, JOIN, FETCH, COOLING_DOWN = range(4)


class JwksCache:
    """A JwksSource over a fetcher. `parse` makes a JwkSet of a document, or raises an AuthServerError.

    Each address has at most one fetch under way; its callers wait for it and share its answer, callers of
    other addresses never wait. At most `max_entries` addresses are kept, the least recently used go first.
    Addresses whose last fetch failed may have `max_suspects` fetches under way together, and the next is
    refused: hostile owners cannot use up what the fetcher allows in all. Addresses are compared as exact
    strings. Safe for use by several threads.
    """

    def __init__(
        self,
        http: JwksFetcher,
        parse: Callable[[bytes], JwkSet],
        *,
        times: CacheTimes | None = None,
        max_entries: int = 10_000,
        max_suspects: int = 8,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._parse = parse
        self._times = times or CacheTimes()
        self._max_entries = max_entries
        self._max_suspects = max_suspects
        self._suspects = 0
        self._monotonic = monotonic
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def keys(self, jwks_uri: str, *, kid: str, now: int) -> JwkSet:
        """Return the fresh key set; see JwksSource.keys(). `now` (epoch seconds) dates an Expires without Date."""
        with self._lock:
            entry = self._entry(jwks_uri)
            answer = _decide(entry, kid, self._monotonic())
            if answer is _Answer.SERVE and entry.held is not None:
                return entry.held.keys
            if answer is _Answer.COOLING_DOWN:
                raise _cooling_down(jwks_uri, entry)
            flight = entry.flight
            if flight is None:
                flight = entry.flight = self._take_off(jwks_uri, entry, kid=kid, now=now)
                answer = _Answer.FETCH
        if answer is _Answer.FETCH:
            self._fly(jwks_uri, entry, flight)
        return self._await(jwks_uri, flight)

    def drop(self, jwks_uri: str) -> None:
        """Forget the address; the next keys() asks its owner. A fetch under way ends without being kept."""
        with self._lock:
            self._entries.pop(jwks_uri, None)

    def snapshot(self, jwks_uri: str) -> JwksSnapshot | None:
        """Return what is known of the address, None when nothing is. Asks nobody."""
        with self._lock:
            entry = self._entries.get(jwks_uri)
            if entry is None:
                return None
            left = 0.0 if entry.held is None else max(0.0, entry.held.fresh_until - self._monotonic())
            return replace(entry.seen, fresh_seconds=left)

    def _entry(self, jwks_uri: str) -> _Entry:
        entry = self._entries.setdefault(jwks_uri, _Entry())
        self._entries.move_to_end(jwks_uri)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return entry

    def _take_off(self, jwks_uri: str, entry: _Entry, *, kid: str, now: int) -> _Flight:
        suspect = entry.seen.failures > 0
        if suspect and self._suspects >= self._max_suspects:
            raise JwksUnavailable(detail=f"{jwks_uri}: too many failing owners", reason="jwks_fetch_busy")
        self._suspects += suspect
        unknown = entry.held is not None and not entry.held.keys.has(kid)
        return _Flight(asked_at=now, for_unknown_kid=unknown, suspect=suspect, held=entry.held)

    def _await(self, jwks_uri: str, flight: _Flight) -> JwkSet:
        if not flight.landed.wait(self._times.longest_wait):
            raise JwksUnavailable(detail=f"{jwks_uri}: the fetch under way takes too long", reason="jwks_timeout")
        if flight.keys is not None:
            return flight.keys
        # An exception of its own for each waiting thread: raising one object in several mixes their traces.
        detail = flight.failure.detail if flight.failure else f"{jwks_uri}: the fetch was broken off"
        reason = flight.failure.reason if flight.failure else None
        raise JwksUnavailable(detail=detail, reason=reason)

    def _fly(self, jwks_uri: str, entry: _Entry, flight: _Flight) -> None:
        """Fetch without the lock, then settle the entry; whatever happens, nobody is left waiting."""
        started = self._monotonic()
        try:
            held = self._fetch(jwks_uri, flight, started)
            flight.keys = held.keys
            with self._lock:
                self._settle_success(entry, flight, held)
        except JwksUnavailable as error:
            with self._lock:
                self._settle_failure(entry, flight, error)
        finally:
            with self._lock:
                entry.flight = None
                self._suspects -= flight.suspect
            flight.landed.set()

    def _fetch(self, jwks_uri: str, flight: _Flight, started: float) -> _Held:
        known = flight.held.answer if flight.held else FetchedJwks(status=200)
        answer = self._http.fetch(jwks_uri, etag=known.etag, last_modified=known.last_modified)
        if answer.status == 304 and flight.held is not None:
            keys, answer = flight.held.keys, renewed(known, answer)
        else:
            keys = self._parsed(jwks_uri, answer.body)
        seconds = fresh_for(
            answer.cache_control,
            answer.age,
            expires=answer.expires,
            date=answer.date,
            now=flight.asked_at,
            default=self._times.default_fresh,
            cap=self._times.longest_fresh,
        )
        # Counted from the request: RFC 9111 section 4.2.3 adds the delay of the answer to its age.
        return _Held(keys, to_keep(answer), started + seconds)

    def _parsed(self, jwks_uri: str, document: bytes) -> JwkSet:
        try:
            return self._parse(document)
        except AuthServerError as error:
            raise JwksUnavailable(detail=f"{jwks_uri}: {error}", reason="jwks_malformed") from error

    def _settle_success(self, entry: _Entry, flight: _Flight, held: _Held) -> None:
        entry.held = held
        self._start_kid_cooldown(entry, flight)
        entry.seen = JwksSnapshot(
            last_fetch=flight.asked_at, last_success=flight.asked_at, fetches=entry.seen.fetches + 1
        )

    def _settle_failure(self, entry: _Entry, flight: _Flight, error: JwksUnavailable) -> None:
        flight.failure = error
        seen = replace(entry.seen, last_fetch=flight.asked_at, last_reason=error.reason, fetches=entry.seen.fetches + 1)
        if error.reason not in OWN_LIMITS:
            wait = min(self._times.longest_retry, self._times.first_retry * 2 ** min(seen.failures, 16))
            entry.retry_at = self._monotonic() + wait
            self._start_kid_cooldown(entry, flight)
            seen = replace(
                seen,
                failures=seen.failures + 1,
                failing_since=flight.asked_at if seen.failing_since is None else seen.failing_since,
            )
        entry.seen = seen
        if flight.held is not None and flight.held.fresh_until > self._monotonic():
            flight.keys = flight.held.keys  # the copy is fresh still: the failed refetch takes nothing away

    def _start_kid_cooldown(self, entry: _Entry, flight: _Flight) -> None:
        if flight.for_unknown_kid:
            entry.unknown_kid_at = self._monotonic() + self._times.unknown_kid_cooldown


def _decide(entry: _Entry, kid: str, at: float) -> _Answer:
    """Say what to do for a caller who asks for the kid at the monotonic second `at`."""
    fresh = entry.held is not None and at < entry.held.fresh_until
    unknown = entry.held is not None and not entry.held.keys.has(kid)
    if fresh and not unknown:
        return _Answer.SERVE
    if entry.flight is not None:
        return _Answer.JOIN
    # A stale set is no source of keys any more, yet it tells which kids nobody published lately: random kids
    # cause no more fetches at an owner who allows no caching than at any other.
    if at < entry.retry_at or (unknown and at < entry.unknown_kid_at):
        return _Answer.SERVE if fresh else _Answer.COOLING_DOWN
    return _Answer.FETCH


def _cooling_down(jwks_uri: str, entry: _Entry) -> JwksUnavailable:
    last = entry.seen.last_reason if entry.seen.failures else "the kid is not in the set"
    return JwksUnavailable(detail=f"{jwks_uri}: not asked again yet; last: {last}", reason="jwks_cooling_down")
