"""Which PostgreSQL a server starts on: a real one, set unsafe in one way at a time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.safe_server import ServerState, require_safe, require_safe_server
from authserver.cli.demo_server import free_port
from authserver.errors import StorageUnavailable
from tests.builders import ROOT_SECRET
from tests.cli.programs import run
from tests.postgres import PostgresCluster

SAFE = ServerState(in_recovery=False, read_only=False, fsync=True, full_page_writes=True)


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresCluster]:
    """A PostgreSQL that these tests may set as they like."""
    cluster = PostgresCluster()
    yield cluster
    cluster.stop()


@contextmanager
def set_to(cluster: PostgresCluster, **settings: str) -> Iterator[None]:
    """Let the server have these settings for a while."""
    for name, value in settings.items():
        _alter(cluster, f"SET {name} = {value}", name, value)
    yield
    for name in settings:
        _alter(cluster, f"RESET {name}", name, "on" if name != "default_transaction_read_only" else "off")


def _alter(cluster: PostgresCluster, change: str, name: str, value: str) -> None:
    with cluster.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER SYSTEM {change}".encode())
        connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with cluster.connect() as connection:
            if connection.execute(f"SHOW {name}".encode()).fetchone() == (value,):
                return
    raise AssertionError(f"{name} is not {value}")


def reason_of(state: ServerState) -> str | None:
    try:
        require_safe(state)
    except StorageUnavailable as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (SAFE, None),
        (replace(SAFE, in_recovery=True), "postgresql_standby"),
        (replace(SAFE, in_recovery=True, read_only=True), "postgresql_standby"),
        (replace(SAFE, read_only=True), "postgresql_read_only"),
        (replace(SAFE, fsync=False), "postgresql_fsync_off"),
        (replace(SAFE, full_page_writes=False), "postgresql_full_page_writes_off"),
    ],
)
def test_each_unsafe_state_has_a_reason_of_its_own(state: ServerState, reason: str | None) -> None:
    assert reason_of(state) == reason


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("fsync", "off", "postgresql_fsync_off"),
        ("full_page_writes", "off", "postgresql_full_page_writes_off"),
        ("default_transaction_read_only", "on", "postgresql_read_only"),
    ],
)
def test_an_unsafe_setting_is_seen_and_so_is_its_end(
    own: PostgresCluster, setting: str, value: str, reason: str
) -> None:
    """Durability: a jti, a revocation and a registration that were answered outlive a power failure."""
    url = own.create_database()

    with set_to(own, **{setting: value}), pytest.raises(StorageUnavailable) as refusal:
        require_safe_server(url)

    assert refusal.value.reason == reason
    require_safe_server(url)


def test_a_standby_is_refused_at_start(own: PostgresCluster) -> None:
    url = own.create_database()
    standby = own.start_standby()
    try:
        with pytest.raises(StorageUnavailable) as refusal:
            require_safe_server(url.replace(str(own.folder), str(standby.folder)))
    finally:
        standby.stop()

    assert refusal.value.reason == "postgresql_standby"


def test_a_commit_waits_for_its_disk_whatever_the_servers_setting(own: PostgresCluster) -> None:
    """Durability: synchronous_commit is set for each connection, so it is no reason to refuse."""
    url = own.create_database()
    with set_to(own, synchronous_commit="off"):
        require_safe_server(url)
        engine = open_engine(url)
        with engine.connect() as connection:
            ours = connection.execute(text("SHOW synchronous_commit")).scalar()
        engine.dispose()

    assert ours == "on"


def test_sqlite_is_asked_nothing(tmp_path: Path) -> None:
    require_safe_server(f"sqlite:///{tmp_path}/registry.db")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ["AUTHSERVER_DATABASE_URL", "AUTHSERVER_FHIR_DATABASE_URL"])
def test_serve_refuses_to_start_and_says_why(own: PostgresCluster, tmp_path: Path, variable: str) -> None:
    """Either database; nothing was written to it."""
    url = own.create_database()
    with set_to(own, fsync="off"):
        ended = run(
            tmp_path,
            *("serve", "--dev", "--port", str(free_port())),
            **{variable: url, "AUTHSERVER_ROOT_SECRET": ROOT_SECRET},
        )
    with own.connect(url.partition("?")[0].rpartition("/")[2]) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()

    assert (ended.returncode, tables) == (1, (0,))
    assert ended.stderr.splitlines()[-1] == (
        "error: postgresql_fsync_off: PostgreSQL runs with fsync = off: after a power failure used assertions and "
        "revocations are lost"
    )
