"""Keep clients' key sets for as long as their owners allow, and ask the network as seldom as that permits.

Nothing stale is ever served: SMART forbids to cache a key set for longer than its Cache-Control says, so there
is no stale-if-error and an unreachable owner ends in JwksUnavailable once its last set has run out.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from authserver.adapters.fetch_budget import FetchBudget
from authserver.adapters.jwks_entry import (
    Answer,
    CacheTimes,
    Entry,
    Flight,
    Held,
    cooling_down,
    decide,
    landed,
)
from authserver.errors import AuthServerError, JwksUnavailable
from authserver.protocol.jwks import JwkSet
from authserver.protocol.jwks_freshness import OWN_LIMITS, FetchedJwks, fresh_for, renewed, to_keep
from authserver.services.ports import JwksSnapshot

__all__ = ["CacheTimes", "JwksCache", "JwksFetcher", "JwksSnapshot"]


class JwksFetcher(Protocol):
    """What the cache asks for documents, such as JwksHttp."""

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Return the answer of the owner in bounded time. Raises JwksUnavailable, and nothing else."""


class JwksCache:
    """A JwksSource over a fetcher. `parse` makes a JwkSet of a document, or raises an AuthServerError.

    Each address has at most one fetch under way; its callers wait for it and share its answer, callers of
    other addresses never wait. At most `max_entries` addresses are kept, the least recently used go first.
    At most `max_suspects` callers wait for owners who failed last or are slow, and the next is refused: hostile
    owners can use up neither the process's threads nor what the fetcher allows in all. `budget` bounds what
    callers cause who prove nobody. Addresses are compared as exact strings. Safe for use by several threads.
    """

    def __init__(
        self,
        http: JwksFetcher,
        parse: Callable[[bytes], JwkSet],
        *,
        times: CacheTimes | None = None,
        max_entries: int = 10_000,
        max_suspects: int = 8,
        budget: FetchBudget | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._parse = parse
        self._times = times or CacheTimes()
        self._max_entries = max_entries
        self._max_suspects = max_suspects
        self._suspects = 0
        self._budget = budget or FetchBudget(monotonic=monotonic)
        self._monotonic = monotonic
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def keys(self, jwks_uri: str, *, kid: str, now: int, since: int = 0, source: str | None = None) -> JwkSet:
        """Return the fresh key set; see JwksSource.keys(). `now` (epoch seconds) dates an Expires without Date."""
        with self._lock:
            entry = self._entry(jwks_uri, since)
            answer = decide(entry, kid, self._monotonic())
            if answer is Answer.SERVE and entry.held is not None:
                return entry.held.keys
            if answer is Answer.COOLING_DOWN:
                raise cooling_down(jwks_uri, entry)
            flight = entry.flight
            if flight is None:
                flight = self._take_off(jwks_uri, entry, kid=kid, now=now, source=source)
                answer = Answer.FETCH
        if answer is Answer.FETCH:
            self._fly(jwks_uri, entry, flight)
        else:
            self._await(jwks_uri, flight)
        return landed(jwks_uri, flight)

    def held(self, jwks_uri: str, *, kid: str, since: int = 0) -> JwkSet | None:
        """Return the fresh set that has the kid, if it is there; see JwksSource.held()."""
        with self._lock:
            entry = self._entries.get(jwks_uri)
            if entry is None or entry.since < since or entry.held is None:
                return None
            self._entries.move_to_end(jwks_uri)
            fresh = self._monotonic() < entry.held.fresh_until
            return entry.held.keys if fresh and entry.held.keys.has(kid) else None

    def proven(self, jwks_uri: str, *, source: str | None) -> None:
        """Forgive the source what its caller cost; see JwksSource.proven()."""
        if source is not None:
            self._budget.forgive(jwks_uri, source=source)

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
            keys = entry.held.keys if entry.held is not None and left else None
            return replace(entry.seen, fresh_seconds=left, keys=keys)

    def _entry(self, jwks_uri: str, since: int) -> Entry:
        entry = self._entries.setdefault(jwks_uri, Entry(since))
        if entry.since < since:
            # Registered anew or flushed: nothing fetched before counts, nor does a fetch under way or a cool-down.
            entry = self._entries[jwks_uri] = Entry(since, slow=entry.slow, seen=entry.seen)
        self._entries.move_to_end(jwks_uri)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return entry

    def _take_off(self, jwks_uri: str, entry: Entry, *, kid: str, now: int, source: str | None) -> Flight:
        suspect = entry.seen.failures > 0 or entry.slow
        if suspect and self._suspects >= self._max_suspects:
            raise _busy(jwks_uri)
        if source is not None and not self._budget.spend(jwks_uri, source=source):
            raise JwksUnavailable(detail=f"{jwks_uri}: {source} caused too many fetches", reason="jwks_budget")
        self._suspects += suspect
        unknown = entry.held is not None and not entry.held.keys.has(kid)
        entry.flight = Flight(now, self._monotonic(), unknown, suspect, entry.held)
        return entry.flight

    def _await(self, jwks_uri: str, flight: Flight) -> None:
        """Wait for the fetch of another: for a slow owner only where there is room to wait."""
        patience = 0.0 if flight.suspect else flight.started + self._times.patience - self._monotonic()
        if flight.landed.wait(max(0.0, patience)):
            return
        with self._room(jwks_uri):
            if not flight.landed.wait(self._times.longest_wait):
                raise JwksUnavailable(detail=f"{jwks_uri}: the fetch under way takes too long", reason="jwks_timeout")

    @contextmanager
    def _room(self, jwks_uri: str) -> Iterator[None]:
        with self._lock:
            if self._suspects >= self._max_suspects:
                raise _busy(jwks_uri)
            self._suspects += 1
        try:
            yield
        finally:
            with self._lock:
                self._suspects -= 1

    def _fly(self, jwks_uri: str, entry: Entry, flight: Flight) -> None:
        """Fetch without the lock, then settle the entry; whatever happens, nobody is left waiting."""
        try:
            held = self._fetch(jwks_uri, flight)
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

    def _fetch(self, jwks_uri: str, flight: Flight) -> Held:
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
        return Held(keys, to_keep(answer), flight.started + seconds)

    def _parsed(self, jwks_uri: str, document: bytes) -> JwkSet:
        try:
            return self._parse(document)
        except AuthServerError as error:
            raise JwksUnavailable(detail=f"{jwks_uri}: {error}", reason="jwks_malformed") from error

    def _settle_success(self, entry: Entry, flight: Flight, held: Held) -> None:
        entry.held = held
        entry.slow = self._monotonic() - flight.started > self._times.patience
        self._start_kid_cooldown(entry, flight)
        entry.seen = JwksSnapshot(
            last_fetch=flight.asked_at, last_success=flight.asked_at, fetches=entry.seen.fetches + 1
        )

    def _settle_failure(self, entry: Entry, flight: Flight, error: JwksUnavailable) -> None:
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

    def _start_kid_cooldown(self, entry: Entry, flight: Flight) -> None:
        if flight.for_unknown_kid:
            entry.unknown_kid_at = self._monotonic() + self._times.unknown_kid_cooldown


def _busy(jwks_uri: str) -> JwksUnavailable:
    detail = f"{jwks_uri}: too many callers wait for owners who fail or are slow"
    return JwksUnavailable(detail=detail, reason="jwks_fetch_busy")
