"""The promises of docs/client-keys.md, kept by real processes against real key hosts."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.adapters.test_jwks_http import JSON_HEAD, HostileServer, answering, drip, response
from tests.builders import CLIENT_ID, ROOT_SECRET
from tests.cli.programs import serving
from tests.keys import key
from tests.postgres import PostgresCluster
from tests.stories.test_several_processes import three_workers
from tests.stories.world import OPERATOR, KeyHost, World

RSA, EC = key("RS384", "rsa-1"), key("ES384", "ec-1")


def test_c11_a_flush_reaches_every_process_within_a_second(
    postgres: PostgresCluster, key_host: KeyHost, tmp_path: Path
) -> None:
    """C11: three processes hold a key set that may be kept for an hour; a leaked key is dead after one call."""
    key_host.headers = {"Cache-Control": "max-age=3600"}
    with three_workers(tmp_path, postgres) as world:
        world.register(key_host.open("/jwks.json"))
        before = {world.ask(world.assertion(RSA)).status_code for _ in range(20)}
        key_host.keys = [EC]
        still = {world.ask(world.assertion(RSA)).status_code for _ in range(10)}
        flushed = requests.post(world.url(f"/Client/{CLIENT_ID}/$flush-keys"), auth=OPERATOR, timeout=10)
        began = time.monotonic()
        after = {world.ask(world.assertion(RSA)).status_code for _ in range(20)}
        took = time.monotonic() - began

    assert (flushed.status_code, before, still, after) == (200, {200}, {200}, {400})
    assert took < 10
    assert len(key_host.fetches) <= 2 * 3 + 3


def test_c11_a_removed_key_stops_and_a_new_one_starts_as_promised(client: World, key_host: KeyHost) -> None:
    """C11: at the owner's max-age and not before; a kid that was never seen is looked for at once."""
    key_host.headers = {"Cache-Control": "max-age=1"}
    key_host.keys = [RSA]
    first = client.ask(client.assertion(RSA)).status_code
    key_host.keys = [EC]
    new = client.ask(client.assertion(EC)).status_code
    time.sleep(1.0)

    assert (first, new, client.ask(client.assertion(RSA)).status_code) == (200, 200, 400)


@pytest.fixture
def hostile() -> Iterator[list[str]]:
    """Key hosts that drip, stall, send a bomb, hang up, answer nonsense, redirect."""
    bomb = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"[" * 0x4000 + b"\r\n") * 40
    servers = [
        HostileServer(drip(b" " * 1_000, before=JSON_HEAD + b"\r\n")),
        HostileServer(drip(b"X-Slow: 1\r\n" * 1_000)),
        HostileServer(lambda _connection: time.sleep(4)),
        answering(bomb),
        answering(b""),
        answering(response(b"<html>")),
        answering(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
    ]
    with ExitStack() as running:
        yield [running.enter_context(server).url() for server in servers]


def test_c09_c13_hostile_key_hosts_slow_no_other_client_and_are_told_apart_by_nobody(
    key_host: KeyHost, hostile: list[str], tmp_path: Path
) -> None:
    """C09: a good client's requests beside storms that name clients of seven hostile hosts. C13: one answer for all."""
    with serving(tmp_path, "auth", "--dev", variables={"AUTHSERVER_ROOT_SECRET": ROOT_SECRET}) as server:
        world = World(server)
        world.register(key_host.open("/jwks.json"))
        answers, quiet, stormy = _storm(world, key_host, hostile)

    assert {status for status, _, _ in answers} == {400}
    assert len(answers) == 1
    assert sorted(stormy)[len(stormy) // 2] < 2 * max(quiet) + 0.2
    assert sorted(stormy)[-2] < 1.0


def _storm(
    client: World, key_host: KeyHost, hostile: list[str]
) -> tuple[set[tuple[int, bytes, str]], list[float], list[float]]:
    """Return what the storms were answered, and the seconds that the good client waited before and meanwhile."""
    names = [f"hostile-{number}" for number in range(len(hostile))]
    for name, address in zip(names, hostile, strict=True):
        assert client.register(address, name).status_code == 201
    key_host.headers = {"Cache-Control": "no-store"}
    client.ask(client.assertion(RSA))
    quiet = [_seconds(client) for _ in range(15)]
    stopping = threading.Event()
    answers: set[tuple[int, bytes, str]] = set()

    def storm(number: int) -> None:
        while not stopping.is_set():
            name = names[number % len(names)]
            answer = client.ask(client.assertion(EC, name))
            answers.add((answer.status_code, answer.content, answer.headers["Content-Type"]))
            number += 1
            time.sleep(0.02)

    with ThreadPoolExecutor(3) as pool:
        for number in range(3):
            pool.submit(storm, number * 2)
        try:
            time.sleep(4)  # the first fetch of each host, once in its life, may hold a thread for three seconds
            stormy = [_seconds(client) for _ in range(25)]
        finally:
            stopping.set()
    return answers, quiet, stormy


def _seconds(world: World) -> float:
    began = time.monotonic()
    answer = world.ask(world.assertion(RSA))
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began
