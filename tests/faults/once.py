"""Fault 9 and threat B08: each assertion is sent to two servers at once; exactly one of them gives a token."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults import wire
from tests.faults.clients import Assertion, Client, make_client
from tests.faults.oracle import Violation
from tests.faults.rounds import Outcome
from tests.faults.servers import ServerGroup, serving
from tests.postgres import PostgresCluster

WORKERS = 4
"""Of each of the two servers."""

_THREADS = 16


def two_groups(folder: Path, cluster: PostgresCluster, *, workers: int = WORKERS) -> list[ServerGroup]:
    """Return two servers, not started, on one new database and one set of keys."""
    shared = {"AUTHSERVER_DATABASE_URL": cluster.create_database(), "AUTHSERVER_KEYS_DIR": str(folder / "keys")}
    groups = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        groups.append(ServerGroup(folder / name, shared, workers=workers))
    return groups


def once(count: int, cluster: PostgresCluster, *, workers: int = WORKERS) -> Outcome:
    """Send so many assertions to both servers at the same moment."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        groups = two_groups(Path(folder), cluster, workers=workers)
        stack.enter_context(serving(*groups))
        client, ports = make_client("twice"), [group.port for group in groups]
        _register(client, ports[0])
        began = time.monotonic()
        statuses = _send_all(client, ports, count)
        took = time.monotonic() - began
    return _judged(statuses, count, took)


def _judged(statuses: list[tuple[int, ...]], count: int, took: float) -> Outcome:
    tokens = sum(pair.count(200) for pair in statuses)
    figures = {"assertions": count, "sent": 2 * count, "tokens": tokens, "requests/s": round(2 * count / took)}
    found = [
        Violation("assertion not accepted once", f"{times} times {pair}")
        for pair, times in Counter(statuses).items()
        if sorted(pair) != [200, 400]
    ]
    return Outcome("each assertion to two servers at once", figures, found)


def _register(client: Client, port: int) -> None:
    connection = wire.Connection(port)
    for request in (client.registration(), client.policy()):
        assert connection.ask(request).status == 201
    connection.close()


def _send_all(client: Client, ports: list[int], count: int) -> list[tuple[int, ...]]:
    with wire.PerThread(*ports) as connections, ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda _: at_once(client.assertion(), connections.own()), range(count)))


def at_once(assertion: Assertion, connections: list[wire.Connection]) -> tuple[int, ...]:
    """Send one assertion on every connection before the first answer is read; return the statuses."""
    sent = time.monotonic()
    for connection in connections:
        connection.send(assertion.request)
    return tuple(connection.receive(sent).status for connection in connections)
