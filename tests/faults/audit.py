"""An audit that fails, or that nobody can write to: what cannot be recorded is not done (G-rows, "fail closed")."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests.faults.driver import Load
from tests.faults.durability import acknowledged_during, during
from tests.faults.oracle import Fault, Violation
from tests.faults.rounds import Outcome, merged, run
from tests.faults.servers import ServerGroup, serving
from tests.postgres import PostgresCluster

FAILS_SECONDS, BLOCKED_SECONDS = 2.0, 8.0
"""How long; the second is longer than a statement may wait for a lock (5 s)."""

_REFUSE = "CREATE TRIGGER no_audit BEFORE INSERT ON audit_event BEGIN SELECT RAISE(ABORT, 'the audit fails'); END"
_LOCK = "LOCK TABLE audit_event IN SHARE ROW EXCLUSIVE MODE"

Broken = Callable[[], AbstractContextManager[None]]


def failing(seconds: float = FAILS_SECONDS) -> Outcome:
    """Let every insert of an audit record fail, on SQLite."""
    with TemporaryDirectory() as folder:
        database = Path(folder) / "registry.sqlite3"
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": f"sqlite:///{database}"})
        return _without_audit("audit that fails, SQLite", group, lambda: _refusing(database), seconds)


def blocked(cluster: PostgresCluster, seconds: float = BLOCKED_SECONDS) -> Outcome:
    """Let every insert of an audit record wait for a lock that another holds, on PostgreSQL."""
    url = cluster.create_database()
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": url}, workers=2)
        return _without_audit("audit that is blocked, PostgreSQL", group, lambda: _locking(url), seconds)


@contextmanager
def _refusing(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        connection.execute(_REFUSE)
        yield
        connection.execute("DROP TRIGGER no_audit")


@contextmanager
def _locking(url: str) -> Iterator[None]:
    with psycopg.connect(url) as connection:
        connection.execute(_LOCK)
        yield
        connection.rollback()


def _without_audit(name: str, group: ServerGroup, broken: Broken, seconds: float) -> Outcome:
    spans: list[tuple[float, float]] = []

    def inject(load: Load) -> list[Fault]:
        began = time.monotonic()
        with broken():
            failing_from = time.monotonic()
            time.sleep(seconds)
            spans.append((failing_from, time.monotonic()))
        fault = Fault(name, began, time.monotonic())
        load.await_token(fault.ended)
        return [fault]

    with serving(group):
        record = run([group.port], inject, reasons=group.reasons)
    figures = during(record, spans[-1])
    outcome = merged(name, [record], **figures)
    found = [*outcome.violations, *acknowledged_during(record, spans[-1])]
    if not figures["answers 503"]:
        found.append(Violation("void", "the audit was written to all the same"))
    return Outcome(name, outcome.figures, found)
