"""What is kept of one key set's address, and what to do for a caller who asks for it. Knows no network, no lock."""

import threading
from dataclasses import dataclass, field
from enum import Enum

from authserver.errors import JwksUnavailable
from authserver.protocol.jwks import JwkSet
from authserver.protocol.jwks_freshness import DEFAULT_SECONDS, LONGEST_SECONDS, FetchedJwks
from authserver.services.ports import JwksSnapshot


@dataclass(frozen=True, slots=True)
class CacheTimes:
    """The cache's own times, in seconds.

    `default_fresh` holds when the owner says nothing, `longest_fresh` whatever the owner says.
    `unknown_kid_cooldown` separates two fetches made because a kid was missing. After a failed fetch nothing
    is asked for `first_retry`, twice as long after the next failure, at most `longest_retry`. `longest_wait`
    bounds how long a caller waits for the fetch of another; it has to exceed the fetcher's deadline. An owner who
    takes longer than `patience` is slow.
    """

    default_fresh: int = DEFAULT_SECONDS
    longest_fresh: int = LONGEST_SECONDS
    unknown_kid_cooldown: float = 30.0
    first_retry: float = 5.0
    longest_retry: float = 30.0
    longest_wait: float = 5.0
    patience: float = 1.0


@dataclass(frozen=True, slots=True)
class Held:
    """The last good set, with the answer that it came from and the monotonic second at which it goes stale."""

    keys: JwkSet
    answer: FetchedJwks
    fresh_until: float


@dataclass(slots=True)
class Flight:
    """One fetch under way. `keys` or `failure` is set before `landed`."""

    asked_at: int
    started: float
    for_unknown_kid: bool
    suspect: bool
    held: Held | None
    landed: threading.Event = field(default_factory=threading.Event)
    keys: JwkSet | None = None
    failure: JwksUnavailable | None = None


@dataclass(slots=True)
class Entry:
    """All that is kept of one address. Read and changed under the cache's lock only.

    `since` is the moment of the registration that it serves (see JwksSource); `slow`: its last good answer was.
    """

    since: int = 0
    slow: bool = False
    held: Held | None = None
    flight: Flight | None = None
    retry_at: float = float("-inf")
    unknown_kid_at: float = float("-inf")
    seen: JwksSnapshot = field(default_factory=JwksSnapshot)


class Answer(Enum):
    """What a caller gets: the fresh set, the fetch under way, a fetch of its own, or a refusal."""

    SERVE, JOIN, FETCH, COOLING_DOWN = range(4)


def decide(entry: Entry, kid: str, at: float) -> Answer:
    """Say what to do for a caller who asks for the kid at the monotonic second `at`."""
    fresh = entry.held is not None and at < entry.held.fresh_until
    unknown = entry.held is not None and not entry.held.keys.has(kid)
    if fresh and not unknown:
        return Answer.SERVE
    if entry.flight is not None:
        return Answer.JOIN
    # A stale set is no source of keys any more, yet it tells which kids nobody published lately: random kids
    # cause no more fetches at an owner who allows no caching than at any other.
    if at < entry.retry_at or (unknown and at < entry.unknown_kid_at):
        return Answer.SERVE if fresh else Answer.COOLING_DOWN
    return Answer.FETCH


def cooling_down(jwks_uri: str, entry: Entry) -> JwksUnavailable:
    """Return the error for a caller who came while nothing may be asked."""
    last = entry.seen.last_reason if entry.seen.failures else "the kid is not in the set"
    return JwksUnavailable(detail=f"{jwks_uri}: not asked again yet; last: {last}", reason="jwks_cooling_down")


def landed(jwks_uri: str, flight: Flight) -> JwkSet:
    """Return what a fetch brought, or raise its failure."""
    if flight.keys is not None:
        return flight.keys
    # An exception of its own for each waiting thread: raising one object in several mixes their traces.
    detail = flight.failure.detail if flight.failure else f"{jwks_uri}: the fetch was broken off"
    reason = flight.failure.reason if flight.failure else None
    raise JwksUnavailable(detail=detail, reason=reason)
