"""Fault 8: a database that is slow, that no longer answers, or that has no connection left."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from authserver.cli.demo_server import free_port
from tests.faults.driver import Load
from tests.faults.ends import percentile
from tests.faults.oracle import BROKEN, Fault, TokenAnswer, Violation
from tests.faults.proxy import Proxy, proxying
from tests.faults.rounds import Outcome, Record, merged, run
from tests.faults.servers import ServerGroup, serving
from tests.postgres import PostgresCluster

BOUND_SECONDS = 14.0
"""No answer may take longer, whatever the database does: twice what a claim may wait (5 s each), with room to spare."""

_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'fault'"
)


def slow(seconds: float = 10.0) -> Outcome:
    """Let each piece to and from the database take 2 s."""
    return _behind_a_proxy("database 2 s slow", seconds, lambda proxy: setattr(proxy, "delay", 2.0))


def silent(seconds: float = 20.0) -> Outcome:
    """Let the connections to the database be half open: taken, and never answered."""
    return _behind_a_proxy("database connections half open", seconds, lambda proxy: setattr(proxy, "silent", True))


def _behind_a_proxy(name: str, seconds: float, disturb: Callable[[Proxy], None]) -> Outcome:
    cluster = PostgresCluster(tcp_port=free_port())
    with ExitStack() as stack:
        stack.callback(cluster.stop)
        folder = stack.enter_context(TemporaryDirectory())
        proxy = stack.enter_context(proxying(cluster.tcp_port or 0))
        database = cluster.create_database().partition("@/")[2].partition("?")[0]
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}"
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": url}, workers=2)

        def inject(load: Load) -> list[Fault]:
            began = time.monotonic()
            disturb(proxy)
            time.sleep(seconds)
            proxy.delay, proxy.silent = 0.0, False
            fault = Fault(name, began, time.monotonic())
            load.await_token(fault.ended)
            return [fault]

        stack.enter_context(serving(group))
        record = run([group.port], inject, reasons=group.reasons)
    return bounded(name, record)


def without_connections(cluster: PostgresCluster, seconds: float = 5.0) -> Outcome:
    """Take every connection that the database allows, and end those that the server has."""
    name = "database without a connection left"
    with TemporaryDirectory() as folder, ExitStack() as stack:
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": cluster.create_database()}, workers=2)

        def inject(load: Load) -> list[Fault]:
            with cluster.connect() as operator:
                began = time.monotonic()
                held = _take_all(cluster, operator, until=began + seconds)
                for connection in held:
                    connection.close()
            fault = Fault(name, began, time.monotonic())
            load.await_token(fault.ended)
            return [fault]

        stack.enter_context(serving(group))
        record = run([group.port], inject, reasons=group.reasons)
    return bounded(name, record)


def _take_all(
    cluster: PostgresCluster, operator: "psycopg.Connection[object]", *, until: float
) -> list["psycopg.Connection[object]"]:
    """Take whatever connection is free, until that moment."""
    held: list[psycopg.Connection[object]] = []
    while time.monotonic() < until:
        try:
            held.append(psycopg.connect(host=str(cluster.folder), user="postgres", application_name="fault"))
        except psycopg.OperationalError:
            operator.execute(_END_OTHERS)
    return held


def bounded(name: str, record: Record) -> Outcome:
    """Return the outcome with the latencies: each answer in time, no request without one, and 503 seen."""
    fault = record.faults[0]
    during = [one for one in record.log if one.at > fault.began and one.sent < fault.ended]
    took = [one.at - one.sent for one in during]
    silent_ones = [one for one in during if one.status == BROKEN]
    unavailable = sum(1 for one in during if one.status == 503)
    tokens = sum(1 for one in during if isinstance(one, TokenAnswer) and one.status == 200)
    figures = {
        "answers 503": unavailable,
        "tokens meanwhile": tokens,
        "p99 s": round(percentile(took, 99), 2),
        "longest s": round(max(took), 2),
    }
    outcome = merged(name, [record], **figures)
    found = [*outcome.violations, *(Violation("no answer", f"{type(one).__name__}") for one in silent_ones)]
    if max(took) > BOUND_SECONDS:
        found.append(Violation("late answer", f"{max(took):.1f} s"))
    if not unavailable and tokens > 100:
        found.append(Violation("void", "the database was not disturbed"))
    return Outcome(name, outcome.figures, found)
