"""Reads that wait for nobody: on SQLite they tell what the asking ones tell, on PostgreSQL nothing."""

from pathlib import Path

import pytest

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.nearby import FileReader
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable
from tests.postgres import PostgresCluster


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A database with the tables of the registry."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


def test_what_is_near_is_what_is_asked_for(file: str) -> None:
    """X50: the current version with its hash and its counts, whoever wrote it, and nothing of what ended."""
    ours, another = SqlStores(open_engine(file)), SqlStores(open_engine(file))
    told = []

    for body in ({"name": "first"}, {"name": "second", "details": {"more": [1, None]}}):
        another.resources.put("Client", "acme", body, now=7, secret_hash="hash")
        told.append((ours.nearby.get("Client", "acme"), ours.resources.get("Client", "acme")))
    another.resources.revoke_tokens("Client", "acme")
    told.append((ours.nearby.get("Client", "acme"), ours.resources.get("Client", "acme")))
    generations = [near and near.token_generation for near, _ in told]
    another.resources.delete("Client", "acme", now=8)
    ended = [ours.nearby.get("Client", name) for name in ("acme", "nobody")]
    ours.close()
    another.close()

    assert [near for near, _ in told] == [asked for _, asked in told]
    assert (generations, ended) == ([1, 1, 2], [None, None])


def test_a_file_that_cannot_be_read_is_not_near_and_opened_anew(file: str) -> None:
    engine = open_engine(file)
    reader = FileReader(engine)

    before = reader.first("SELECT 1")
    with pytest.raises(StorageUnavailable):
        reader.first("SELECT * FROM nothing")
    after = reader.first("SELECT ?", (2,))
    reader.close()
    engine.dispose()

    assert (before, after) == ((1,), (2,))


def test_another_process_is_not_near(postgres: PostgresCluster) -> None:
    engine = open_engine(postgres.create_database())
    upgrade(engine)
    stores = SqlStores(engine)
    stores.resources.put("Client", "acme", {}, now=1)

    near, asked = stores.nearby.get("Client", "acme"), stores.resources.get("Client", "acme")
    stores.close()

    assert (near, asked and asked.id) == (None, "acme")
