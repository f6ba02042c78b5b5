"""Limits over HTTP with real processes: they hold across workers, and a neighbour sees nothing. Rows X26 and X54."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.builders import ROOT_SECRET
from tests.cli.programs import serving
from tests.keys import key
from tests.postgres import PostgresCluster
from tests.stories.world import KeyHost, World

PAIR = key("ES384", "ec-1")
LIMIT, WORKERS = 40, 3


@contextmanager
def limited_workers(folder: Path, postgres: PostgresCluster) -> Iterator[World]:
    """Start three processes that together let an address fail LIMIT times a minute."""
    variables = {"AUTHSERVER_DATABASE_URL": postgres.create_database(), "AUTHSERVER_ROOT_SECRET": ROOT_SECRET}
    variables |= {"AUTHSERVER_SOURCE_FAILURES": str(LIMIT)}
    with serving(folder, "auth", "--dev", "--workers", str(WORKERS), variables=variables) as server:
        yield World(server)


def failing(world: World, times: int) -> Counter[int]:
    """Ask for tokens with made-up assertions, each over a connection of its own; return the statuses."""
    assertion = world.assertion(PAIR, "nobody")
    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(lambda _: world.ask(assertion).status_code, range(times)))


def test_x54_the_limit_of_an_address_holds_across_processes(
    postgres: PostgresCluster, key_host: KeyHost, tmp_path: Path
) -> None:
    """X54: before they have told each other, three processes let at most three times the limit through; then every
    one of them refuses what one let through. The proven client behind the same address is answered throughout."""
    with limited_workers(tmp_path, postgres) as world:
        world.register(key_host.open("/jwks.json"))
        world.allow()
        began = time.monotonic()
        first = failing(world, 200)
        minutes = (time.monotonic() - began) / 60
        deadline = time.monotonic() + 30
        while (later := failing(world, 12)) != Counter({429: 12}) and time.monotonic() < deadline:
            time.sleep(1)
        proven = Counter(world.ask(world.assertion(PAIR)).status_code for _ in range(20))
        told = world.ask(world.assertion(PAIR, "nobody"))

    assert set(first) == {400, 429}
    assert first[400] <= WORKERS * (LIMIT + LIMIT * minutes + 1)
    assert (later, proven) == (Counter({429: 12}), Counter({200: 20}))
    assert (told.json()["error"], int(told.headers["Retry-After"]) >= 1) == ("slow_down", True)


def test_x26_metrics_tell_of_limited_requests(tmp_path: Path) -> None:
    """The reason of a refusal is a label: how many were one too many stands in /metrics."""
    variables = {"AUTHSERVER_SOURCE_FAILURES": "2"}
    with serving(tmp_path, "auth", "--dev", variables=variables) as server:
        world = World(server)
        statuses = failing(world, 5)
        text = server.get("/metrics").text

    assert statuses == Counter({400: 2, 429: 3})
    assert 'authserver_refusals_total{endpoint="/auth/token",reason="source_failures"} 3.0' in text
