"""Fault 7: a worker that is stopped by SIGSTOP and goes on later: what it says then must be right by then."""

import random
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults import wire
from tests.faults.clients import make_client
from tests.faults.driver import Load
from tests.faults.oracle import Fault, Violation
from tests.faults.rounds import Outcome, merged, run, settle
from tests.faults.servers import ServerGroup, send, serving
from tests.postgres import PostgresCluster

_CONNECTIONS = 24
_QUESTION = wire.get("/healthz")


def late_answers(seconds: float, cluster: PostgresCluster) -> Outcome:
    """Stop one of two workers with requests before it; use their assertions at the other and deactivate a client."""
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": cluster.create_database()}, workers=2)
        with serving(group):
            return _late(group, seconds)


def _late(group: ServerGroup, seconds: float) -> Outcome:
    once, ended = make_client("once"), make_client("ended")
    operator = wire.Connection(group.port)
    for client in (once, ended):
        assert [operator.ask(one).status for one in (client.registration(), client.policy())] == [201, 201]
    # Each connection has asked before, so it has a worker, and that worker has both clients at hand.
    lines = [wire.Connection(group.port, seconds=60) for _ in range(_CONNECTIONS)]
    warm = [line.ask(client.assertion().request).status for line in lines for client in (once, ended)]
    stopped = group.worker_pids()[0]
    send(stopped, signal.SIGSTOP)
    asked = [
        (line, client, client.assertion()) for line, client in zip(lines, [once, ended] * len(lines), strict=False)
    ]
    sent = time.monotonic()
    waiting = [one for one in asked if one[0].send(one[2].request) and not one[0].has_answer(seconds=0.1)]
    twins = [_elsewhere(group, one.request) for _, client, one in waiting if client is once]
    closed = _elsewhere(group, ended.registration(active=False))
    time.sleep(max(0.0, seconds - (time.monotonic() - sent)))
    send(stopped, signal.SIGCONT)
    late = [line.receive(sent).status for line, _, _ in waiting]
    for line in [operator, *lines]:
        line.close()
    name = f"worker stopped for {seconds:.0f} s, late answers"
    figures = {"late answers": len(late), "assertions used elsewhere": len(twins), "refused late": late.count(400)}
    found = [Violation("late answer", str(status)) for status in late if status != 400]
    if set(warm) != {200} or set(twins) != {200} or closed != 200 or len(twins) == len(late):
        found.append(Violation("void", f"{set(warm)} warm, {len(late)} late, {twins}, {closed}"))
    return Outcome(name, figures, found)


def _elsewhere(group: ServerGroup, request: bytes) -> int:
    """Let the worker that goes on answer; a connection that comes before the stopped one is given up."""
    for _ in range(40):
        connection = wire.Connection(group.port, seconds=1)
        if connection.send(_QUESTION) and connection.has_answer(seconds=0.3):
            connection.receive(0.0)
            status = connection.ask(request).status
            connection.close()
            return status
        connection.close()
    return 0


def under_load(times: int, seconds: float, cluster: PostgresCluster) -> Outcome:
    """Stop a worker in the middle of whatever it does, so many times, and let it go on."""
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": cluster.create_database()}, workers=2)
        choice = random.Random(3)

        def inject(load: Load) -> list[Fault]:
            return [_stopped(group, load, seconds, choice) for _ in range(times)]

        with serving(group):
            record = run([group.port], inject, reasons=group.reasons)
    return merged(f"worker stopped for {seconds:.0f} s under load", [record])


def _stopped(group: ServerGroup, load: Load, seconds: float, choice: random.Random) -> Fault:
    settle(load)
    time.sleep(choice.random() * 0.05)
    began, pid = time.monotonic(), choice.choice(group.worker_pids())
    send(pid, signal.SIGSTOP)
    time.sleep(seconds)
    send(pid, signal.SIGCONT)
    fault = Fault("worker stopped", began, time.monotonic())
    load.await_token(fault.ended)
    return fault
