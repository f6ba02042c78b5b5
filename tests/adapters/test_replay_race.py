"""What must happen once happens once, however many ask for it in the same instant; on real databases."""

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.revision import is_current
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable, VersionConflict
from tests.postgres import PostgresCluster

JTIS = [f"jti-{number}" for number in range(300)]
PROCESSES, THREADS = 4, 8


def claimed_by(stores: SqlStores) -> list[str]:
    return [jti for jti in JTIS if stores.replay_guard.claim("acme", jti, until=100)]


def claim_in_a_process(url: str, start: Barrier, *, results: "Queue[list[str]]") -> None:
    stores = SqlStores(open_engine(url))
    stores.ping()
    start.wait(timeout=20)
    results.put(claimed_by(stores))
    stores.close()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run every call in a thread of its own, all released together; return results and errors in order."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait(timeout=10)
        try:
            return call()
        except (VersionConflict, StorageUnavailable) as error:
            return type(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_each_jti_is_claimed_once_by_four_processes(postgres: PostgresCluster) -> None:
    """Threats B08, B10: PostgreSQL decides, by its primary key."""
    url = postgres.create_database()
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(PROCESSES), spawn.Queue()
    processes = [
        spawn.Process(target=claim_in_a_process, args=(url, start), kwargs={"results": results})
        for _ in range(PROCESSES)
    ]

    for process in processes:
        process.start()
    winners = [jti for _ in processes for jti in results.get(timeout=30)]
    for process in processes:
        process.join(timeout=10)

    assert Counter(winners) == Counter(JTIS)


def test_each_jti_is_claimed_once_by_eight_threads(sql_stores: SqlStores) -> None:
    """Threats B08, B10: also when many claims share one commit, as they do on SQLite."""
    results = at_once(*[lambda: claimed_by(sql_stores)] * THREADS)

    assert Counter(jti for won in results for jti in won) == Counter(JTIS)


@pytest.mark.parametrize("resource_id", ["a", "b", "c"])
def test_puts_at_once_are_numbered_without_gap_or_repeat(sql_stores: SqlStores, resource_id: str) -> None:
    """Threat G04: the first PUTs of an id, at the same instant, all succeed, one after the other."""

    def put(number: int) -> int:
        links = (f"Client/{number}",)
        return sql_stores.resources.put("Client", resource_id, {"number": number}, now=1, links=links).version_id

    results = at_once(*[partial(put, number) for number in range(THREADS)])

    history = sql_stores.resources.history("Client", resource_id)
    linked = sql_stores.resources.linked("Client", [f"Client/{number}" for number in range(THREADS)])
    last = sql_stores.resources.linked("Client", [f"Client/{history[0].body['number']}"])
    assert sorted(results) == list(range(1, THREADS + 1))
    assert [(stored.version_id, stored.generation) for stored in history] == [(n, 1) for n in range(THREADS, 0, -1)]
    assert linked == last == [history[0]]


def test_of_puts_with_the_same_if_match_one_wins(sql_stores: SqlStores) -> None:
    """Threat G04: no update is lost; all but one are told of the conflict."""
    sql_stores.resources.put("Client", "acme", {}, now=1)

    def put() -> int:
        return sql_stores.resources.put("Client", "acme", {}, now=2, if_match=1).version_id

    results = at_once(*[put] * THREADS)

    assert Counter(results) == Counter({VersionConflict: THREADS - 1, 2: 1})
    assert len(sql_stores.resources.history("Client", "acme")) == 2


@pytest.mark.parametrize("resource_id", [f"acme-{number}" for number in range(5)])
def test_delete_and_put_at_once_are_one_after_the_other(sql_stores: SqlStores, resource_id: str) -> None:
    """Threat G04: whichever comes first, a secret of the former life is gone or the resource is."""
    sql_stores.resources.put("Client", resource_id, {}, now=1, secret_hash="hash-1")

    at_once(
        lambda: sql_stores.resources.put("Client", resource_id, {}, now=2),
        lambda: sql_stores.resources.delete("Client", resource_id, now=2),
    )

    found = sql_stores.resources.get("Client", resource_id)
    assert found is None or (found.generation, found.secret_hash) == (2, None)
    assert [stored.version_id for stored in sql_stores.resources.history("Client", resource_id)] == [3, 2, 1]


def test_deleting_at_once_deletes_once(sql_stores: SqlStores) -> None:
    sql_stores.resources.put("Client", "acme", {}, now=1)

    results = at_once(*[lambda: sql_stores.resources.delete("Client", "acme", now=2)] * THREADS)

    assert [result is None for result in results].count(False) == 1
    assert len(sql_stores.resources.history("Client", "acme")) == 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_servers_may_migrate_an_empty_database_at_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Several workers start together on a new database; whoever comes first creates the SQLite file and the tables."""
    url = f"sqlite:///{tmp_path}/registry.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").create_database()

    def start_up() -> bool:
        engine = open_engine(url)
        upgrade(engine)
        claimed = SqlStores(engine).replay_guard.claim("acme", "j1", until=100)
        engine.dispose()
        return claimed

    assert Counter(at_once(*[start_up] * 4)) == Counter({False: 3, True: 1})


# A database that does not answer


def test_frozen_server_is_an_error_in_seconds(postgres: PostgresCluster) -> None:
    """Threat B13: the server process is stopped, so no timeout of its own can help; the next request has a new one."""
    engine = open_engine(postgres.create_database(), wait_seconds=1)
    upgrade(engine)
    stores = SqlStores(engine)

    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        ask_while_frozen(stores)

    assert time.monotonic() - started < 6
    assert stores.replay_guard.claim("acme", "j1", until=100) is True
    stores.close()


def test_no_other_connection_is_trusted_after_one_hung(postgres: PostgresCluster) -> None:
    """Threat B13: where the way to the server is cut, each connection would hang as long, one request after another."""
    engine = open_engine(postgres.create_database(), wait_seconds=1)
    stores = SqlStores(engine)
    with engine.connect() as one, engine.connect() as other:
        trusted = {backend_of(one), backend_of(other)}
    with engine.connect() as again:
        assert backend_of(again) in trusted

    with pytest.raises(StorageUnavailable):
        ask_while_frozen(stores)

    with engine.connect() as connection:
        assert backend_of(connection) not in trusted
    stores.close()


def backend_of(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def ask_while_frozen(stores: SqlStores) -> None:
    with stores.database.writing() as connection:
        pid = backend_of(connection)
        thaw = threading.Timer(10, os.kill, [pid, signal.SIGCONT])
        thaw.start()
        os.kill(pid, signal.SIGSTOP)
        try:
            connection.execute(text("SELECT 1"))
        finally:
            os.kill(pid, signal.SIGCONT)
            thaw.cancel()


def test_locked_row_is_an_error_in_seconds(postgres: PostgresCluster) -> None:
    """Threat B13: slow is as bad as gone, and the stores work again afterwards."""
    url = postgres.create_database()
    engine = open_engine(url, wait_seconds=1)
    upgrade(engine)
    stores = SqlStores(engine)
    stores.resources.put("Client", "acme", {}, now=1)

    with psycopg.connect(url) as other:
        other.execute("SELECT * FROM resource FOR UPDATE")
        with pytest.raises(StorageUnavailable):
            stores.resources.put("Client", "acme", {}, now=2)

    assert stores.resources.put("Client", "acme", {}, now=3).version_id == 2
    stores.close()


def test_locked_sqlite_file_is_an_error_in_seconds(tmp_path: Path) -> None:
    """Threat B13: another process holds the write lock; claims fail closed, and work again afterwards."""
    url = f"sqlite:///{tmp_path}/registry.db"
    other, engine = open_engine(url), open_engine(url, wait_seconds=1)
    upgrade(engine)
    stores = SqlStores(engine)

    with other.begin():
        results = at_once(*[lambda: stores.replay_guard.claim("acme", "j1", until=100)] * 3)

    assert results == [StorageUnavailable] * 3
    assert stores.replay_guard.claim("acme", "j1", until=100) is True
    stores.close()
    other.dispose()


def test_writer_that_gets_no_turn_is_told_in_seconds(tmp_path: Path) -> None:
    """Threat B13: a long write of this process does not hold up a claim for ever."""
    engine = open_engine(f"sqlite:///{tmp_path}/registry.db")
    upgrade(engine)
    stores = SqlStores(engine, wait_seconds=0.05)

    with stores.database.writing():
        during = at_once(lambda: stores.replay_guard.claim("acme", "j1", until=100))
    after = stores.replay_guard.claim("acme", "j2", until=100)

    assert (during, after) == ([StorageUnavailable], True)
    stores.close()


def test_new_sqlite_file_that_another_process_holds_is_waited_for(tmp_path: Path) -> None:
    """Two processes that switch a new file to the write-ahead log at once must both succeed."""
    path = tmp_path / "registry.db"
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    impatient, patient = (open_engine(f"sqlite:///{path}", wait_seconds=seconds) for seconds in (0, 5))

    with pytest.raises(StorageUnavailable):
        upgrade(impatient)
    release = threading.Timer(0.1, holder.execute, ["COMMIT"])
    release.start()
    upgrade(patient)

    assert is_current(patient)
    release.join()
    holder.close()
    impatient.dispose()
    patient.dispose()
