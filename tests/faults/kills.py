"""Faults 1 and 2: kill -9 of a worker, of the supervisor, of all processes, and of the database, under load."""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.driver import Load
from tests.faults.oracle import Fault
from tests.faults.rounds import Outcome, Record, merged, run, settle
from tests.faults.servers import ServerGroup, serving
from tests.postgres import PostgresCluster

BATCH = 12
"""Kills of one run; then the load stops and everything is looked at again, while the assertions are still good."""

TARGETS = ("worker", "supervisor", "all")


@contextmanager
def postgresql() -> Iterator[PostgresCluster]:
    """A PostgreSQL of this fault alone."""
    cluster = PostgresCluster()
    try:
        yield cluster
    finally:
        cluster.stop()


def on_sqlite(kills: int) -> Outcome:
    """Kill one server with one worker so many times."""
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder))
        return _killed("kill -9, SQLite", group, kills)


def on_postgresql(kills: int, cluster: PostgresCluster) -> Outcome:
    """Kill one server with two workers so many times."""
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": cluster.create_database()}, workers=2)
        return _killed("kill -9, PostgreSQL", group, kills)


def of_the_database(times: int) -> Outcome:
    """Stop PostgreSQL as `pg_ctl stop -m immediate` does, and start it again."""
    with TemporaryDirectory() as folder, postgresql() as cluster:
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": cluster.create_database()}, workers=2)
        records = []
        with serving(group):
            for count in _batches(times, 5):
                inject = partial(_restart_some, cluster, count)
                records.append(run([group.port], inject, reasons=group.reasons))
        return merged("PostgreSQL killed and restarted", records)


def kill_some(group: ServerGroup, load: Load, *, kills: int, choice: random.Random) -> list[Fault]:
    """Kill each target in turn, up to 50 ms after the load has settled."""
    faults = []
    for number in range(kills):
        settle(load)
        time.sleep(choice.random() * 0.05)
        faults.append(_kill(group, TARGETS[number % len(TARGETS)], choice))
        load.await_token(faults[-1].ended)
    return faults


def _kill(group: ServerGroup, target: str, choice: random.Random) -> Fault:
    began = time.monotonic()
    if target == "worker":
        group.kill_worker(choice)
        return Fault("worker killed", began, began)
    if target == "supervisor":
        group.kill_supervisor()
    else:
        group.kill_all()
    return Fault(f"{target} killed", began, group.start())  # as a service manager would


def _killed(name: str, group: ServerGroup, kills: int) -> Outcome:
    choice, records = random.Random(1), list[Record]()
    with serving(group):
        for count in _batches(kills, BATCH):
            inject = partial(kill_some, group, kills=count, choice=choice)
            records.append(run([group.port], inject, reasons=group.reasons))
            done = sum(len(record.faults) for record in records)
            kinds = dict(Counter(violation.kind for violation in records[-1].violations()))
            print(f"{name}: {done} of {kills}, violations: {kinds}", file=sys.stderr, flush=True)
    return merged(name, records)


def _restart_some(cluster: PostgresCluster, times: int, load: Load) -> list[Fault]:
    return [_restarted(cluster, load) for _ in range(times)]


def _restarted(cluster: PostgresCluster, load: Load) -> Fault:
    settle(load)
    began = time.monotonic()
    cluster.restart()
    ended = time.monotonic()
    load.await_token(ended)
    return Fault("database killed", began, ended)


def _batches(total: int, size: int) -> list[int]:
    return [min(size, total - done) for done in range(0, total, size)]
