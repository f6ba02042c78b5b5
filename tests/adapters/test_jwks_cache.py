"""How often a key set's owner is asked: features A3, requirements A12 and A13, threats C08, C09, C11 and C12."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from authserver.adapters.jwks_cache import CacheTimes, JwksCache, JwksSnapshot
from authserver.adapters.jwks_http import JwksHttp
from authserver.errors import JwksUnavailable, NotSupported
from authserver.protocol.jwks_freshness import FetchedJwks
from authserver.protocol.jwks_url import JwksUrlRules

URL, OTHER = "https://keys.example/jwks.json", "https://other.example/jwks.json"
NOW = 1_767_225_600


@dataclass(frozen=True)
class Kids:
    """Stands for a JwkSet: the cache asks it for nothing but has()."""

    names: tuple[str, ...]

    def has(self, kid: str) -> bool:
        return kid in self.names


def parse(document: bytes) -> Any:
    """Return the set of a document such as `a b`; `!` is no key set."""
    if document == b"!":
        raise NotSupported(detail="no key set")
    return Kids(tuple(document.decode().split()))


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


class Owner:
    """Answers for every address alike, and counts. `answer` is what comes next, an exception to be raised."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.answer: FetchedJwks | Exception = document("a")

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        self.asked.append((url, etag, last_modified))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def document(kids: str, cache_control: str | None = "max-age=100", **headers: str) -> FetchedJwks:
    return FetchedJwks(status=200, body=kids.encode(), cache_control=cache_control, **headers)


def broken(reason: str = "jwks_connection") -> JwksUnavailable:
    return JwksUnavailable(detail="refused", reason=reason)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def cache(owner: Owner, clock: Clock) -> JwksCache:
    return JwksCache(owner, parse, monotonic=clock)


def names(cache: JwksCache, kid: str = "a", *, url: str = URL) -> tuple[str, ...]:
    """Return the kids of the set that the cache gives to a caller who needs `kid`."""
    found: Any = cache.keys(url, kid=kid, now=NOW)
    kids: tuple[str, ...] = found.names
    return kids


def refusal(cache: JwksCache, kid: str = "a", *, url: str = URL) -> str:
    with pytest.raises(JwksUnavailable) as failure:
        cache.keys(url, kid=kid, now=NOW)
    return failure.value.reason


def outcome(cache: JwksCache, kid: str = "a") -> tuple[str, ...] | str:
    """Return the kids of the set, or the reason why there is none."""
    try:
        return names(cache, kid)
    except JwksUnavailable as error:
        return error.reason


def test_a_fresh_set_is_reused_until_its_last_moment(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    """A3, A12, A13: one fetch, then memory, and not a moment longer than the header says."""
    assert names(cache) == ("a",)
    clock.at += 99.9
    assert names(cache) == ("a",)
    assert len(owner.asked) == 1

    clock.at += 0.1
    owner.answer = document("b")

    assert names(cache, "b") == ("b",)
    assert len(owner.asked) == 2


def test_freshness_counts_from_the_request(owner: Owner, clock: Clock) -> None:
    """RFC 9111 section 4.2.3: the answer has aged while it was on its way."""

    class Slow(Owner):
        def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
            clock.at += 3
            return super().fetch(url, etag=etag, last_modified=last_modified)

    slow = Slow()
    cache = JwksCache(slow, parse, monotonic=clock)
    names(cache)
    clock.at += 97

    names(cache)

    assert len(slow.asked) == 2


@pytest.mark.parametrize("cache_control", ["no-store", "no-cache", "max-age=0", "max-age=x"])
def test_a_set_that_may_not_be_cached_is_fetched_each_time(cache: JwksCache, owner: Owner, cache_control: str) -> None:
    """C11."""
    owner.answer = document("a", cache_control)

    assert [names(cache) for _ in range(3)] == [("a",)] * 3
    assert len(owner.asked) == 3


def test_a_stale_set_is_renewed_by_304(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    owner.answer = document("a", etag='"1"', last_modified="then")
    names(cache)
    clock.at += 100
    owner.answer = FetchedJwks(status=304)

    assert names(cache) == ("a",)
    clock.at += 99
    assert names(cache) == ("a",)

    assert owner.asked == [(URL, None, None), (URL, '"1"', "then")]


def test_the_headers_of_a_304_replace_the_former_ones(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    owner.answer = document("a", etag='"1"')
    names(cache)
    clock.at += 100
    owner.answer = FetchedJwks(status=304, cache_control="max-age=10", etag='"2"', age="4")
    names(cache)
    clock.at += 6

    names(cache)

    assert [etag for _, etag, _ in owner.asked] == [None, '"1"', '"2"']


def test_no_store_keeps_no_validators(cache: JwksCache, owner: Owner) -> None:
    owner.answer = document("a", "no-store", etag='"1"', last_modified="then")

    names(cache)
    names(cache)

    assert owner.asked == [(URL, None, None)] * 2


def test_a_set_without_cache_headers_lives_for_the_default(owner: Owner, clock: Clock) -> None:
    owner.answer = document("a", None)
    cache = JwksCache(owner, parse, times=CacheTimes(default_fresh=7), monotonic=clock)
    names(cache)
    clock.at += 6.9
    names(cache)
    assert len(owner.asked) == 1

    clock.at += 0.1
    names(cache)

    assert len(owner.asked) == 2


def test_an_unknown_kid_causes_one_refetch_which_may_find_it(cache: JwksCache, owner: Owner) -> None:
    """A3: rotation; the client published a new key while its set was fresh here."""
    names(cache)
    owner.answer = document("a b")

    assert names(cache, "b") == ("a", "b")
    assert len(owner.asked) == 2


def test_an_unknown_kid_gets_the_fresh_set_during_the_cooldown(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    """C08."""
    names(cache)
    assert [names(cache, f"x{number}") for number in range(10)] == [("a",)] * 10
    clock.at += 29.9
    assert names(cache, "x") == ("a",)
    assert len(owner.asked) == 2

    clock.at += 0.1
    names(cache, "x")

    assert len(owner.asked) == 3


@pytest.mark.parametrize("cache_control", ["max-age=100", "max-age=1", "max-age=0", "no-store", None])
def test_a_storm_of_random_kids_causes_two_fetches_at_most(
    cache: JwksCache, owner: Owner, clock: Clock, cache_control: str | None
) -> None:
    """C08: 1,000 requests within the cool-down, whatever the owner allows to cache."""
    owner.answer = document("a", cache_control)

    outcomes = set()
    for number in range(1_000):
        clock.at += 0.029
        outcomes.add(outcome(cache, f"random-{number}"))

    assert outcomes <= {("a",), "jwks_cooling_down"}
    assert len(owner.asked) == 2


def test_a_storm_does_not_lock_out_a_published_kid(cache: JwksCache, owner: Owner) -> None:
    """C08: also where nothing may be cached."""
    owner.answer = document("a", "no-store")
    names(cache)
    names(cache, "x")

    assert refusal(cache, "y") == "jwks_cooling_down"
    assert names(cache, "a") == ("a",)


def test_a_failed_refetch_for_an_unknown_kid_leaves_the_fresh_set(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    names(cache)
    owner.answer = broken()

    assert names(cache, "x") == ("a",)
    clock.at += 29
    assert names(cache, "x") == ("a",)
    assert names(cache, "a") == ("a",)
    assert len(owner.asked) == 2


def test_a_stale_set_is_never_served(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    """C12, in the strict reading of A12: no stale-if-error."""
    names(cache)
    clock.at += 100
    owner.answer = broken()

    assert refusal(cache) == "jwks_connection"
    assert refusal(cache) == "jwks_cooling_down"


def test_failures_cool_down_longer_and_longer(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    """C08: a dead host is not asked at every request."""
    owner.answer = broken()
    for wait in (5, 10, 20, 30, 30):
        assert refusal(cache) == "jwks_connection"
        clock.at += wait - 0.1
        assert refusal(cache) == "jwks_cooling_down"
        clock.at += 0.1

    assert len(owner.asked) == 5


def test_a_success_ends_the_cooldown_and_its_growth(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    owner.answer = broken()
    refusal(cache)
    clock.at += 5
    owner.answer = document("a", "no-store")
    assert names(cache) == ("a",)

    owner.answer = broken()
    assert refusal(cache) == "jwks_connection"
    clock.at += 5
    assert refusal(cache) == "jwks_connection"


@pytest.mark.parametrize("reason", ["jwks_fetch_busy", "jwks_dns_busy"])
def test_this_servers_own_limits_do_not_count_against_the_owner(cache: JwksCache, owner: Owner, reason: str) -> None:
    owner.answer = broken(reason)
    assert refusal(cache) == reason
    owner.answer = document("a")

    assert names(cache) == ("a",)


def test_a_document_that_is_no_key_set_counts_as_failure(cache: JwksCache, owner: Owner) -> None:
    owner.answer = document("!")

    assert refusal(cache) == "jwks_malformed"
    assert refusal(cache) == "jwks_cooling_down"
    assert len(owner.asked) == 1


def test_a_document_that_is_no_key_set_leaves_the_fresh_set(cache: JwksCache, owner: Owner) -> None:
    """A21: the last good set is kept."""
    names(cache)
    owner.answer = document("!")

    assert names(cache, "x") == ("a",)


def test_addresses_are_kept_apart(cache: JwksCache, owner: Owner) -> None:
    names(cache)
    owner.answer = broken()

    assert refusal(cache, url=OTHER) == "jwks_connection"
    assert names(cache) == ("a",)
    assert refusal(cache, url=URL + "?") == "jwks_connection"


def test_drop_forgets_the_set_and_every_cooldown(cache: JwksCache, owner: Owner) -> None:
    """C11, C14: an administrator's flush takes effect on the next request."""
    names(cache)
    cache.drop(URL)
    owner.answer = broken()
    assert refusal(cache) == "jwks_connection"
    cache.drop(URL)
    owner.answer = document("b")

    assert names(cache, "b") == ("b",)


def test_the_least_recently_used_address_is_forgotten_first(owner: Owner, clock: Clock) -> None:
    cache = JwksCache(owner, parse, max_entries=2, monotonic=clock)
    for url in ("1", "2", "1", "3"):
        names(cache, url=url)

    assert [cache.snapshot(url) is None for url in ("1", "2", "3")] == [False, True, False]
    assert [url for url, _, _ in owner.asked] == ["1", "2", "3"]


def test_the_snapshot_tells_what_happened(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    assert cache.snapshot(URL) is None

    cache.keys(URL, kid="a", now=NOW)
    clock.at += 40
    assert cache.snapshot(URL) == JwksSnapshot(last_fetch=NOW, last_success=NOW, fetches=1, fresh_seconds=60.0)

    clock.at += 60
    owner.answer = broken()
    for _ in range(2):
        with pytest.raises(JwksUnavailable):
            cache.keys(URL, kid="a", now=NOW + 100)
        clock.at += 5
    assert cache.snapshot(URL) == JwksSnapshot(
        last_fetch=NOW + 100,
        last_success=NOW,
        failing_since=NOW + 100,
        last_reason="jwks_connection",
        fetches=3,
        failures=2,
    )
    assert len(owner.asked) == 3


class HeldOwner(Owner):
    """Answers for URL only when let go, and says when it was asked; answers others at once."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.let_go = threading.Event(), threading.Event()

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        if url == URL:
            self.arrived.set()
            assert self.let_go.wait(5)
        return super().fetch(url, etag=etag, last_modified=last_modified)


@pytest.fixture
def held_owner() -> Iterator[HeldOwner]:
    owner = HeldOwner()
    yield owner
    owner.let_go.set()


class CountingClock(Clock):
    """Knows how often it was read: once by each caller that enters the cache, once by each fetch that starts."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self._changed = threading.Condition()

    def __call__(self) -> float:
        with self._changed:
            self.reads += 1
            self._changed.notify_all()
        return self.at

    def wait_for_callers(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.reads >= count + 1, 5)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (document("a"), ("a",)),
        (document("a", "no-store"), ("a",)),
        (broken(), "jwks_connection"),
        (document("!"), "jwks_malformed"),
    ],
)
def test_fifty_callers_at_once_share_one_fetch(
    held_owner: HeldOwner, answer: FetchedJwks | Exception, expected: tuple[str, ...] | str
) -> None:
    """C08: single flight, for success and failure alike."""
    held_owner.answer = answer
    clock = CountingClock()
    cache = JwksCache(held_owner, parse, monotonic=clock)

    with ThreadPoolExecutor(50) as pool:
        answers = [pool.submit(outcome, cache) for _ in range(50)]
        clock.wait_for_callers(50)
        held_owner.let_go.set()
        found = [answer.result(5) for answer in answers]

    assert found == [expected] * 50
    assert len(held_owner.asked) == 1


def test_each_waiting_caller_gets_an_exception_of_its_own(held_owner: HeldOwner) -> None:
    held_owner.answer = broken()
    clock = CountingClock()
    cache = JwksCache(held_owner, parse, monotonic=clock)

    with ThreadPoolExecutor(2) as pool:
        callers = [pool.submit(cache.keys, URL, kid="a", now=NOW) for _ in range(2)]
        clock.wait_for_callers(2)
        held_owner.let_go.set()
        errors = [caller.exception(5) for caller in callers]

    assert [str(error) for error in errors] == ["jwks_connection: refused"] * 2
    assert errors[0] is not errors[1]


def test_a_slow_owner_delays_nobody_elses_clients(held_owner: HeldOwner) -> None:
    """C09: told by the order of events; the slow fetch is still under way when the others are done."""
    cache = JwksCache(held_owner, parse)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(names, cache)
        assert held_owner.arrived.wait(5)

        assert [names(cache, url=f"{OTHER}?{number}") for number in range(100)] == [("a",)] * 100
        assert cache.snapshot(URL) == JwksSnapshot()
        assert slow.done() is False

        held_owner.let_go.set()
        assert slow.result(5) == ("a",)


def test_failing_owners_leave_room_for_the_others(held_owner: HeldOwner, clock: Clock) -> None:
    """C09: with one place for owners that failed, a second one is refused at once and a new one is asked."""
    cache = JwksCache(held_owner, parse, max_suspects=1, monotonic=clock)
    held_owner.let_go.set()
    held_owner.answer = broken()
    assert [refusal(cache), refusal(cache, url=OTHER)] == ["jwks_connection"] * 2
    clock.at += 5
    held_owner.let_go.clear()
    held_owner.arrived.clear()
    held_owner.answer = document("a")
    with ThreadPoolExecutor(1) as pool:
        suspect = pool.submit(names, cache)
        assert held_owner.arrived.wait(5)

        assert refusal(cache, url=OTHER) == "jwks_fetch_busy"
        assert names(cache, url="https://new.example/") == ("a",)

        held_owner.let_go.set()
        assert suspect.result(5) == ("a",)
    assert names(cache, url=OTHER) == ("a",)


def test_a_known_kid_is_served_while_a_refetch_is_under_way(held_owner: HeldOwner) -> None:
    cache = JwksCache(held_owner, parse)
    held_owner.let_go.set()
    names(cache)
    held_owner.let_go.clear()
    held_owner.arrived.clear()
    held_owner.answer = document("a b")
    with ThreadPoolExecutor(1) as pool:
        refetch = pool.submit(names, cache, "b")
        assert held_owner.arrived.wait(5)

        assert names(cache, "a") == ("a",)
        assert refetch.done() is False

        held_owner.let_go.set()
        assert refetch.result(5) == ("a", "b")


def test_nobody_waits_longer_than_the_limit(held_owner: HeldOwner) -> None:
    cache = JwksCache(held_owner, parse, times=CacheTimes(longest_wait=0.05))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(names, cache)
        assert held_owner.arrived.wait(5)

        assert refusal(cache) == "jwks_timeout"

        held_owner.let_go.set()
        assert slow.result(5) == ("a",)


def test_a_set_dropped_while_it_is_fetched_is_not_kept(held_owner: HeldOwner) -> None:
    """C14: the answer of a former registration does not outlive it."""
    cache = JwksCache(held_owner, parse)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(names, cache)
        assert held_owner.arrived.wait(5)
        cache.drop(URL)
        held_owner.let_go.set()
        slow.result(5)

    assert cache.snapshot(URL) is None
    names(cache)
    assert len(held_owner.asked) == 2


def test_an_unforeseen_error_leaves_nobody_waiting(owner: Owner, clock: Clock) -> None:
    cache = JwksCache(owner, parse, monotonic=clock)
    owner.answer = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        names(cache)
    owner.answer = document("a")

    assert names(cache) == ("a",)


@dataclass
class KeyServer:
    """A real key server that counts; `kids` and `cache_control` may change."""

    url: str
    kids: list[str]
    cache_control: str = "max-age=60"
    gets: int = 0

    def answer(self, request: Request) -> Response:
        self.gets += 1
        etag = f'"{"-".join(self.kids)}"'
        headers = {"Cache-Control": self.cache_control, "ETag": etag}
        if request.headers.get("If-None-Match") == etag:
            return Response(status=304, headers=headers)
        body = json.dumps({"keys": [{"kid": kid} for kid in self.kids]})
        return Response(body, headers=headers, mimetype="application/json")


@pytest.fixture
def key_server(httpserver: HTTPServer) -> KeyServer:
    server = KeyServer(httpserver.url_for("/jwks.json"), ["a"])
    httpserver.expect_request("/jwks.json", method="GET").respond_with_handler(server.answer)
    return server


def kids_of(document: bytes) -> Any:
    return Kids(tuple(key["kid"] for key in json.loads(document)["keys"]))


@pytest.fixture
def real_cache(clock: Clock) -> JwksCache:
    """The cache around the real fetcher, over real sockets."""
    return JwksCache(JwksHttp(JwksUrlRules(development=True)), kids_of, monotonic=clock)


def test_one_get_on_first_use_then_memory_then_one_refetch_for_an_unknown_kid(
    real_cache: JwksCache, key_server: KeyServer
) -> None:
    """A3, over HTTP."""
    for _ in range(20):
        assert names(real_cache, url=key_server.url) == ("a",)
    assert key_server.gets == 1

    key_server.kids = ["a", "b"]
    for _ in range(20):
        assert names(real_cache, "b", url=key_server.url) == ("a", "b")
    assert key_server.gets == 2


def test_a_removed_key_is_gone_when_the_header_says_so(
    real_cache: JwksCache, key_server: KeyServer, clock: Clock
) -> None:
    """C11, over HTTP, with a revalidation by ETag in between."""
    key_server.cache_control = "max-age=1"
    names(real_cache, url=key_server.url)
    clock.at += 1
    assert names(real_cache, url=key_server.url) == ("a",)
    key_server.kids = ["b"]
    clock.at += 1

    assert names(real_cache, url=key_server.url) == ("b",)
    assert key_server.gets == 3


def test_fifty_threads_and_a_storm_cost_two_gets(real_cache: JwksCache, key_server: KeyServer) -> None:
    """C08, over HTTP: 50 threads with 1,000 random kids."""
    with ThreadPoolExecutor(50) as pool:
        found = set(pool.map(lambda n: names(real_cache, f"random-{n}", url=key_server.url), range(1_000)))

    assert found == {("a",)}
    assert key_server.gets <= 2
