"""The key cache under storms, hostile owners and flushes: threats C08 to C11, with docs/client-keys.md's numbers."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from authserver.adapters.jwks_cache import CacheTimes, JwksCache
from authserver.adapters.jwks_http import JwksHttp
from authserver.errors import JwksUnavailable
from authserver.protocol.jwks_freshness import FetchedJwks
from authserver.protocol.jwks_url import JwksUrlRules
from tests.adapters.test_jwks_cache import NOW, OTHER, URL, Clock, Owner, broken, document, kids_of, parse
from tests.adapters.test_jwks_http import JSON_HEAD, HostileServer, drip, response


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def cache(owner: Owner, clock: Clock) -> JwksCache:
    return JwksCache(owner, parse, monotonic=clock)


def ask(cache: JwksCache, kid: str = "a", *, url: str = URL, source: str | None = None, since: int = 0) -> str:
    """Return `served`, or the reason why not."""
    try:
        cache.keys(url, kid=kid, now=NOW, source=source, since=since)
    except JwksUnavailable as error:
        return error.reason
    return "served"


# Storms


def test_the_longest_lives_of_a_key_set_are_the_promised_ones() -> None:
    """C11: the numbers of docs/client-keys.md, seconds."""
    assert CacheTimes() == CacheTimes(
        default_fresh=60,
        longest_fresh=3_600,
        unknown_kid_cooldown=30.0,
        first_retry=5.0,
        longest_retry=30.0,
        longest_wait=5.0,
        patience=1.0,
    )


def test_ten_thousand_random_kids_cause_two_fetches(cache: JwksCache, owner: Owner) -> None:
    """C08: one for the set, one for the first unknown kid, whoever asks."""
    answers = {ask(cache, f"kid-{n}", source=f"source-{n % 100}") for n in range(10_000)}

    assert (answers, len(owner.asked)) == ({"served"}, 2)


def test_an_unknown_kid_causes_a_fetch_once_in_thirty_seconds(owner: Owner, clock: Clock) -> None:
    """C08."""
    owner.answer = document("a", "max-age=3600")
    cache = JwksCache(owner, parse, monotonic=clock)
    for second in range(300):
        clock.at = 1_000 + second
        ask(cache, f"kid-{second}", source=f"source-{second}")

    assert len(owner.asked) == 1 + 10


def test_an_owner_who_allows_no_caching_is_asked_ten_times_a_minute_by_strangers(
    cache: JwksCache, owner: Owner
) -> None:
    """C08, C10: any number of sources name the client and a kid that exists, and prove nothing."""
    owner.answer = document("a", "no-store")

    answers = [ask(cache, source=f"source-{n}") for n in range(1_000)]

    assert (len(owner.asked), answers[9:11]) == (10, ["served", "jwks_budget"])


def test_the_client_itself_is_served_while_strangers_storm_its_address(cache: JwksCache, owner: Owner) -> None:
    """C09: its own source has proven itself there before."""
    owner.answer = document("a", "no-store")
    assert ask(cache, source="clinic") == "served"
    cache.proven(URL, source="clinic")
    for n in range(1_000):
        ask(cache, source=f"source-{n}")

    for _ in range(50):
        assert ask(cache, source="clinic") == "served"
        cache.proven(URL, source="clinic")


def test_one_source_causes_thirty_fetches_a_minute(cache: JwksCache, owner: Owner) -> None:
    """C10: over any number of clients."""
    answers = [ask(cache, url=f"https://{n}.example/", source="attacker") for n in range(100)]

    assert (answers.count("served"), len(owner.asked)) == (30, 30)
    assert ask(cache, url=OTHER, source="clinic") == "served"


def test_all_strangers_together_cause_three_hundred_fetches_a_minute(owner: Owner, clock: Clock) -> None:
    """C10: and a known source is served still."""
    cache = JwksCache(owner, parse, monotonic=clock)
    owner.answer = document("a", "no-store")
    ask(cache, source="clinic")
    cache.proven(URL, source="clinic")
    owner.asked.clear()

    answers = [ask(cache, url=f"https://{n}.example/", source=f"source-{n}") for n in range(1_000)]

    assert (answers.count("served"), len(owner.asked)) == (300, 300)
    assert ask(cache, source="clinic") == "served"


def test_a_dead_owner_is_asked_six_times_in_the_first_two_minutes(cache: JwksCache, owner: Owner, clock: Clock) -> None:
    """C08: after 5, 10, 20 and then every 30 seconds."""
    owner.answer = broken()
    for tenth in range(1_200):
        clock.at = 1_000 + tenth / 10
        ask(cache, source="clinic")

    assert len(owner.asked) == 6


def test_what_this_server_asks_itself_is_charged_to_nobody(cache: JwksCache, owner: Owner) -> None:
    owner.answer = document("a", "no-store")

    answers = {ask(cache, source=None) for _ in range(100)}
    cache.proven(URL, source=None)

    assert (answers, len(owner.asked)) == ({"served"}, 100)


# Flushes


def test_a_change_of_the_client_makes_the_next_caller_ask(cache: JwksCache, owner: Owner) -> None:
    """C11: what was fetched before the flush is used no more; after it, as seldom as ever."""
    ask(cache, since=1)
    owner.answer = document("b")

    after = [ask(cache, "b", since=2) for _ in range(10)]

    assert (after, len(owner.asked)) == (["served"] * 10, 2)


def test_a_flush_ends_every_cooldown(cache: JwksCache, owner: Owner) -> None:
    """C11: the operator says that the owner is well again."""
    owner.answer = broken()
    ask(cache, since=1)
    owner.answer = document("a")

    assert (ask(cache, since=1), ask(cache, since=2)) == ("jwks_cooling_down", "served")


def test_two_clients_with_one_address_do_not_undo_each_other(cache: JwksCache, owner: Owner) -> None:
    for _ in range(10):
        ask(cache, since=5)
        ask(cache, since=2)

    assert len(owner.asked) == 1


def test_a_fetch_under_way_is_not_used_after_a_flush(clock: Clock) -> None:
    """C11: it may bring what the owner published before."""
    fetching, let_go = threading.Event(), threading.Event()

    class Slow(Owner):
        def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
            answer = super().fetch(url, etag=etag, last_modified=last_modified)
            if len(self.asked) == 1:
                fetching.set()
                let_go.wait(5)
                return document("old")
            assert isinstance(answer, FetchedJwks)
            return answer

    slow = Slow()
    cache = JwksCache(slow, parse, monotonic=clock)
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(cache.keys, URL, kid="old", now=NOW, since=1)
        assert fetching.wait(5)
        after = cache.keys(URL, kid="a", now=NOW, since=2)
        let_go.set()
        before.result(5)

    assert (after.has("a"), cache.keys(URL, kid="a", now=NOW, since=2).has("old")) == (True, False)


# Hostile owners, on real sockets


@pytest.fixture
def hostile() -> Iterator[list[str]]:
    """Addresses of owners who drip, stall, send a bomb, hang up."""

    def stall(connection: object) -> None:
        time.sleep(2)

    endless = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"[" * 0x4000 + b"\r\n"
    handlers = [
        drip(b" " * 1_000, before=JSON_HEAD + b"\r\n"),
        drip(b"X-Slow: 1\r\n" * 1_000),
        stall,
        lambda connection: connection.sendall(endless * 40),
        lambda connection: None,
    ]
    with ExitStack() as servers:
        yield [servers.enter_context(HostileServer(handler)).url() for handler in handlers]


def test_hostile_owners_slow_nobody_elses_client(hostile: list[str]) -> None:
    """C09: five threads answer requests; four storms name hostile clients; the good client hardly notices."""
    http = JwksHttp(JwksUrlRules(development=True), deadline=1.0)
    times = CacheTimes(first_retry=0.2, longest_retry=0.4, patience=0.2)
    cache = JwksCache(http, kids_of, times=times, max_suspects=2)
    stopping, waits = threading.Event(), []

    def storm(number: int) -> None:
        while not stopping.is_set():
            ask(cache, url=hostile[number % len(hostile)], source="attacker")
            number += 1
            time.sleep(0.001)

    answer = response(b'{"keys":[{"kid":"a"}]}', extra="Cache-Control: no-store\r\n")
    with HostileServer(lambda connection: connection.sendall(answer)) as good, ThreadPoolExecutor(4) as threads:
        for number in range(4):
            threads.submit(storm, number)
        try:
            for _ in range(40):
                began = time.monotonic()
                assert ask(cache, url=good.url(), source="clinic") == "served"
                cache.proven(good.url(), source="clinic")
                waits.append(time.monotonic() - began)
                time.sleep(0.02)
        finally:
            stopping.set()

    assert sorted(waits)[-2] < 0.5
    assert sum(waits) / len(waits) < 0.2


def test_callers_who_wait_for_slow_owners_are_few(hostile: list[str]) -> None:
    """C09: threads are what a process has least of; beyond two, callers are refused at once."""
    cache = JwksCache(
        JwksHttp(JwksUrlRules(development=True), deadline=1.0),
        kids_of,
        times=CacheTimes(patience=0.1),
        max_suspects=2,
    )

    def waited(_: int) -> float:
        began = time.monotonic()
        ask(cache, url=hostile[0])
        return time.monotonic() - began

    with ThreadPoolExecutor(10) as threads:
        waits = list(threads.map(waited, range(10)))

    assert len([wait for wait in waits if wait > 0.6]) <= 3


def test_an_honest_but_slow_owner_serves_every_caller_who_waits(clock: Clock) -> None:
    """The other side of C09: within the patience nobody is refused."""

    class Slow(Owner):
        def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
            time.sleep(0.2)
            return super().fetch(url, etag=etag, last_modified=last_modified)

    cache = JwksCache(Slow(), parse, max_suspects=1)
    with ThreadPoolExecutor(20) as threads:
        answers = set(threads.map(lambda _: ask(cache), range(20)))

    assert answers == {"served"}
