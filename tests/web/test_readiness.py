"""/readyz over HTTP on real databases: SQLite that takes no writes, PostgreSQL that is stopped or read-only."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from sqlalchemy import Engine, event, text

from authserver.adapters import key_folder
from authserver.adapters.key_files import open_signer
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.app import Parts, build_services, create_app
from authserver.protocol.key_life import KeyTimes
from authserver.use_cases import readiness
from tests.builders import make_settings
from tests.http import Server
from tests.postgres import PostgresCluster

PUBLIC = "The server cannot answer now; try again with a new assertion."


class Ticks:
    """A clock that has moved on by more than a finding counts, each time it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Move on and tell."""
        self.now += 10.0
        return self.now


@pytest.fixture
def serve(tmp_path: Path, parts: Parts) -> Iterator[Callable[..., Server]]:
    """Return a server on the engine's database that looks anew at each probe."""
    opened: list[SqlStores] = []

    def on(engine: Engine, **changes: Any) -> Server:
        stores = SqlStores(engine, wait_seconds=1)
        opened.append(stores)
        settings, with_stores = make_settings(tmp_path), replace(parts, stores=stores, **changes)
        looking = readiness(with_stores, ticks=Ticks())
        services = replace(build_services(settings, with_stores), readiness=looking)
        return Server(create_app(settings, parts=with_stores, services=services))

    yield on
    for stores in opened:
        stores.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return upgraded(f"sqlite:///{tmp_path}/registry.db")


def upgraded(url: str) -> str:
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


def probe(server: Server, capsys: pytest.CaptureFixture[str]) -> tuple[int, str | None]:
    """Return the status of /readyz and the reason that the log tells; assert that the answer tells none."""
    capsys.readouterr()
    answer, alive = server.request("GET", "/readyz"), server.request("GET", "/healthz")
    assert alive.status_code == 200
    if answer.status_code == 200:
        assert answer.json == {"status": "ready"}
        return 200, None
    assert [issue["diagnostics"] for issue in answer.json["issue"]] == [PUBLIC]
    logged = capsys.readouterr()
    reasons = ("storage_unavailable", "storage_not_writable", "no_signing_key", "clock_set_back")
    (reason,) = (reason for reason in reasons if f"reason={reason}" in _plain(logged.out + logged.err))
    return answer.status_code, reason


def _plain(logged: str) -> str:
    """Return the log without the colours of a terminal."""
    return "".join(piece.partition("m")[2] if number else piece for number, piece in enumerate(logged.split("\x1b[")))


def test_it_is_ready_while_everything_does_its_work(
    serve: Callable[..., Server], sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(serve(open_engine(sqlite_url)), capsys) == (200, None)


def test_a_sqlite_file_that_takes_no_writes_is_not_ready(
    serve: Callable[..., Server], sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reads still work: only a write can tell."""
    engine = open_engine(sqlite_url)

    def read_only(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")  # SQLITE_READONLY for every write, as for a read-only file

    event.listen(engine, "connect", read_only)

    assert probe(serve(engine), capsys) == (503, "storage_not_writable")


def test_a_sqlite_file_whose_lock_another_holds_is_not_ready_until_it_lets_go(
    serve: Callable[..., Server], sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(open_engine(sqlite_url, wait_seconds=1))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held = probe(server, capsys)
    other.close()

    assert (held, probe(server, capsys)) == ((503, "storage_not_writable"), (200, None))


def test_the_claims_of_probes_are_forgotten_by_the_purge(
    serve: Callable[..., Server], sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Probes leave nothing that grows: one row each, for a minute."""
    engine = open_engine(sqlite_url)
    server = serve(engine)
    with freeze_time("2027-01-15T08:00:00Z"):
        probe(server, capsys)
        probe(server, capsys)
    stores = SqlStores(engine)

    forgotten = [stores.replay_guard.purge(before=1_800_000_000 + seconds) for seconds in (60, 61)]
    stores.close()

    assert forgotten == [0, 2]


def test_a_clock_that_went_back_is_not_ready_until_it_is_right(
    serve: Callable[..., Server], sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """B14, fault 10: more than 60 s behind what the last purge wrote down."""
    engine = open_engine(sqlite_url)
    server = serve(engine)
    SqlStores(engine).replay_guard.purge(before=1_800_000_000)
    found = []

    for moment in ("07:58:59", "07:59:00", "08:00:00"):
        with freeze_time(f"2027-01-15T{moment}Z"):
            found.append(probe(server, capsys))

    assert found == [(503, "clock_set_back"), (200, None), (200, None)]


def test_it_is_not_ready_until_a_key_may_sign(
    serve: Callable[..., Server], sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first key was lost, and its follower is published and waits until every verifier can know it."""
    folder, moment = tmp_path / "lost", 1_800_000_000
    (first,) = open_signer(folder, now=lambda: moment).list_keys()
    key_folder.announce(folder, algorithm="ES256", times=KeyTimes(), now=moment)
    for path in folder.glob(f"{first.kid}.*"):
        path.unlink()

    found = [
        probe(serve(open_engine(sqlite_url), signer=open_signer(folder, now=lambda now=now: now)), capsys)  # type: ignore[misc]
        for now in (moment, moment + 400)
    ]

    assert found == [(503, "no_signing_key"), (200, None)]


def test_keys_that_became_unreadable_leave_the_loaded_ones_at_work(
    serve: Callable[..., Server], sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row "signing key unreadable": a running process goes on, with an error in the log."""
    server = serve(open_engine(sqlite_url))
    for path in (tmp_path / "keys").glob("*.pem"):
        path.write_bytes(b"")

    assert probe(server, capsys) == (200, None)


def test_a_postgresql_that_stops_is_not_ready_until_it_is_back(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 2: killed as by a crash, and started on the same data."""
    cluster = PostgresCluster()
    try:
        server = serve(open_engine(upgraded(cluster.create_database())))
        found = [probe(server, capsys)]
        cluster.process.kill()
        cluster.process.wait()
        found.append(probe(server, capsys))
        cluster.restart()
        found.append(probe(server, capsys))
    finally:
        cluster.stop()

    assert found == [(200, None), (503, "storage_unavailable"), (200, None)]


def test_a_postgresql_that_takes_no_writes_is_not_ready(
    serve: Callable[..., Server], postgres: PostgresCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """default_transaction_read_only: what a fail-over manager sets on the side that lost."""
    url = upgraded(postgres.create_database())
    engine = open_engine(url)
    server = serve(engine)
    found = [probe(server, capsys)]

    for value in ("on", "off"):
        with engine.begin() as connection:
            connection.execute(text("SET TRANSACTION READ WRITE"))
            connection.execute(
                text(f'ALTER DATABASE "{engine.url.database}" SET default_transaction_read_only = {value}')
            )
        engine.dispose()  # it counts for new connections
        found.append(probe(server, capsys))

    assert found == [(200, None), (503, "storage_not_writable"), (200, None)]
