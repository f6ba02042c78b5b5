"""What the adapters' tests share: the databases, and the stores over each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from authserver.adapters.memory import MemoryStores
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.adapters.sql.tables import metadata
from tests.postgres import PostgresCluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.db"
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    return cluster.create_database()


@pytest.fixture(scope="session")
def postgresql_stores(postgres: PostgresCluster) -> Iterator[SqlStores]:
    """Stores on one PostgreSQL database that the whole suite shares; making one for every test takes long."""
    engine = open_engine(postgres.create_database())
    upgrade(engine)
    yield SqlStores(engine, at_hand_seconds=0)
    engine.dispose()


@pytest.fixture
def empty_postgresql_stores(postgresql_stores: SqlStores) -> SqlStores:
    """The same, with nothing in them."""
    with postgresql_stores.database.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return postgresql_stores


@pytest.fixture
def sqlite_stores(tmp_path: Path) -> Iterator[SqlStores]:
    """Stores on a SQLite file of the test's own."""
    engine = open_engine(f"sqlite:///{tmp_path}/registry.db")
    upgrade(engine)
    yield SqlStores(engine)
    engine.dispose()


@pytest.fixture(params=["sqlite_stores", "empty_postgresql_stores"])
def sql_stores(request: pytest.FixtureRequest) -> SqlStores:
    """The stores on a real database of each kind."""
    stores: SqlStores = request.getfixturevalue(request.param)
    return stores


@pytest.fixture(params=["memory", "sqlite_stores", "empty_postgresql_stores"])
def stores(request: pytest.FixtureRequest) -> MemoryStores | SqlStores:
    """The stores of every kind: one suite keeps them alike."""
    if request.param == "memory":
        return MemoryStores()
    stores: SqlStores = request.getfixturevalue(request.param)
    return stores
