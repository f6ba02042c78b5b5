"""Opening a database, and using it from several threads at once."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, select, text, update

from authserver.errors import StorageUnavailable
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import (
    SearchQuery,
    TokenCriterion,
    TokenValue,
)
from authserver.fhir.store import tables
from authserver.fhir.store.engine import make_engine
from authserver.fhir.store.port import WriteResult
from authserver.fhir.store.schema import upgrade
from authserver.fhir.store.sql_store import SqlStore, open_store
from tests.fhir.builders import make_observation, make_patient
from tests.postgres import PostgresCluster

NOW = 1_724_946_665_117_806
EVERYTHING = Constraint.system("")
NOTHING = Constraint("", ())


def _token(code: str, value: str) -> TokenCriterion:
    return TokenCriterion(code, (TokenValue(value, None),))


def _ids(store: SqlStore, constraint: Constraint, query: SearchQuery) -> list[str]:
    return [match.id for match in store.search(constraint, query).matches]


def test_everything_survives_reopening(tmp_path: Path, definitions: Definitions) -> None:
    url = f"sqlite:///{tmp_path}/fhir.db"
    first = open_store(url, definitions)
    first.put(EVERYTHING, [make_observation()], now=NOW)
    secret, stored = first.cursor_secret, first.read(EVERYTHING, "Observation", "o1")
    first.close()

    again = open_store(url, definitions)

    assert (again.cursor_secret, again.read(EVERYTHING, "Observation", "o1")) == (secret, stored)
    assert _ids(again, EVERYTHING, SearchQuery("Observation", (_token("code", "4548-4"),), 10)) == ["o1"]
    again.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_stores_opened_at_once_agree_on_one_schema(
    request: pytest.FixtureRequest, tmp_path: Path, definitions: Definitions, database: str
) -> None:
    if database == "sqlite":
        url = f"sqlite:///{tmp_path}/fhir.db"
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        url = cluster.create_database()
    stores: list[SqlStore] = []
    threads = [threading.Thread(target=lambda: stores.append(open_store(url, definitions))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({store.cursor_secret for store in stores}) == 1
    assert len(stores) == 4
    for store in stores:
        store.close()


def test_writers_at_once_lose_nothing(store: SqlStore) -> None:
    failures: list[Exception] = []

    def write(worker: int) -> None:
        try:
            for number in range(5):
                store.put(EVERYTHING, [make_patient(f"w{worker}-{number}")], now=NOW)
        except StorageUnavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(store.search(EVERYTHING, SearchQuery("Patient", (), 100)).matches) == 20


def test_writers_of_one_resource_make_one_version_each(store: SqlStore) -> None:
    results: list[WriteResult] = []

    def write(worker: int) -> None:
        results.extend(store.put(EVERYTHING, [make_patient(birthDate=f"200{worker}")], now=NOW))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(result.version_id for result in results) == [1, 2, 3, 4]


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path, definitions: Definitions) -> None:
    url = f"sqlite:///{tmp_path}/fhir.db"
    open_store(url, definitions).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE fhir_meta SET value = '99' WHERE name = 'schema_revision'"))
    engine.dispose()

    with pytest.raises(StorageUnavailable):
        open_store(url, definitions)


def test_a_database_that_does_not_answer_is_unavailable(tmp_path: Path, definitions: Definitions) -> None:
    with pytest.raises(StorageUnavailable):
        open_store(f"sqlite:///{tmp_path}/no/such/folder/fhir.db", definitions)


def test_indexes_of_an_older_program_are_rebuilt(store: SqlStore, definitions: Definitions) -> None:
    """A search finds what an older version read otherwise; what is deleted and other tenants stay as they are."""
    store.put(EVERYTHING, [make_observation(), make_observation("o2", status="amended")], now=NOW)
    store.put(Constraint.system("t"), [make_patient()], now=NOW)
    engine = make_engine(store._engine.url.render_as_string(hide_password=False))
    with engine.begin() as connection:
        before = [sorted(connection.execute(select(table)).all(), key=str) for table in tables.INDEX_TABLES.values()]
        connection.execute(update(tables.meta).where(tables.meta.c.name == "index_revision").values(value=b"1"))
        connection.execute(delete(tables.token).where(tables.token.c.code == "amended"))

    upgrade(engine, definitions)

    with engine.connect() as connection:
        after = [sorted(connection.execute(select(table)).all(), key=str) for table in tables.INDEX_TABLES.values()]
    engine.dispose()
    assert after == before
