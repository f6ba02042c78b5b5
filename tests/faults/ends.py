"""Threat F06: how long after a revocation or a deactivation was sent any worker of two servers still says `active`."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults import wire
from tests.faults.clients import Client, make_client
from tests.faults.driver import Load, introspection, running
from tests.faults.once import two_groups
from tests.faults.oracle import Violation
from tests.faults.rounds import Outcome, settle
from tests.faults.servers import serving, until
from tests.postgres import PostgresCluster

MOST_SECONDS = 1.0
"""What the 99th percentile must stay below."""

_WATCHED_SECONDS = 1.2
"""How long each token is asked about after its end: longer than it may live."""

_CONNECTIONS = 12
"""To each server; with four workers all but one run in 400 reach every one of them."""


@dataclass
class Askers:
    """Threads that ask about one token all the time, over connections that reach every worker.

    `active` are the moments (monotonic seconds) at which a question was sent that was answered by `active: true`.
    """

    ports: Sequence[int]
    token: str = ""
    active: list[float] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    def ask(self, port: int) -> None:
        """Ask until told to stop."""
        connections = [wire.Connection(port) for _ in range(_CONNECTIONS)]
        while not self.ends.wait(0.002):
            for connection in connections:
                token = self.token
                if not token:
                    break
                answer = connection.ask(introspection(token))
                if answer.status != 200:
                    self.failures.append(answer.status)
                elif answer.json()["active"] and token == self.token:
                    self.active.append(answer.sent)
        for connection in connections:
            connection.close()


@contextmanager
def asking(ports: Sequence[int]) -> Iterator[Askers]:
    """Ask about whichever token is set."""
    askers = Askers(ports)
    threads = [threading.Thread(target=askers.ask, args=(port,)) for port in ports for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield askers
    finally:
        askers.ends.set()
        for thread in threads:
            thread.join()


def ends(times: int, cluster: PostgresCluster, *, workers: int = 4) -> Outcome:
    """Revoke so many tokens and deactivate so many clients, under load; see for how long they live on."""
    with TemporaryDirectory() as folder:
        groups = two_groups(Path(folder), cluster, workers=workers)
        ports = [group.port for group in groups]
        with serving(*groups), running(Load(ports, askers=2)) as load, asking(ports) as askers:
            settle(load)
            connection, client = wire.Connection(ports[0]), make_client("ending")
            revoked = [_measured(askers, connection, client, _revocation) for _ in range(times)]
            deactivated = [_measured(askers, connection, client, _deactivation) for _ in range(times)]
            connection.close()
    return _judged(revoked, deactivated, askers.failures)


def _revocation(_: Client, token: str) -> bytes:
    return wire.form("/auth/revoke", {"token": token})


def _deactivation(client: Client, _: str) -> bytes:
    return client.registration(active=False)


def _measured(
    askers: Askers, connection: wire.Connection, client: Client, end: Callable[[Client, str], bytes]
) -> tuple[float, float]:
    """Return seconds from sending the end of a token to the last question that was answered `active`, from two
    moments: the sending of the end, and its acknowledgement."""
    for request in (client.registration(), client.policy()):
        assert connection.ask(request).status in (200, 201)
    token = connection.ask(client.assertion().request).json()["access_token"]
    askers.token, askers.active = token, []
    assert until(lambda: bool(askers.active), seconds=10), "the token was never active"
    time.sleep(0.2)
    answer = connection.ask(end(client, token))
    assert answer.status == 200, answer
    time.sleep(_WATCHED_SECONDS)
    last = max(askers.active)
    return max(0.0, last - answer.sent), max(0.0, last - answer.at)


def _judged(revoked: list[tuple[float, float]], deactivated: list[tuple[float, float]], failures: list[int]) -> Outcome:
    figures: dict[str, object] = {"revocations": len(revoked), "deactivations": len(deactivated)}
    found = [Violation("failure", str(status)) for status in failures]
    for name, seen in (("revoked", revoked), ("deactivated", deactivated)):
        p99 = percentile([sent for sent, _ in seen], 99)
        figures[f"{name} p99 s"] = round(p99, 3)
        if p99 >= MOST_SECONDS:
            found.append(Violation("late end", f"{name}: {p99:.2f} s"))
        found += [Violation("active after the answer", f"{name}: {late:.3f} s") for _, late in seen if late > 0]
    return Outcome("ends of tokens on 8 workers", figures, found)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many per cent of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]
