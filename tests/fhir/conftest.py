"""What the FHIR layer's tests share: the definitions, and stores on SQLite and PostgreSQL."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from authserver.fhir import demo_data
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions, load_definitions
from authserver.fhir.loading import load_bundle
from authserver.fhir.store import tables
from authserver.fhir.store.engine import make_engine
from authserver.fhir.store.sql_store import SqlStore, open_store
from tests.fhir.builders import (
    FakeIntrospection,
    ListLog,
    Writable,
    demo_resources,
    make_answer,
    make_app,
    make_observation,
    make_patient,
    writing_tokens,
)
from tests.postgres import PostgresCluster, postgres

__all__ = ["postgres"]


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    """The tables of R4."""
    return load_definitions()


@pytest.fixture
def sqlite_store(tmp_path: Path, definitions: Definitions) -> Iterator[SqlStore]:
    """An empty store on a SQLite file."""
    store = open_store(f"sqlite:///{tmp_path}/fhir.db", definitions)
    yield store
    store.close()


@pytest.fixture(scope="session")
def shared_postgresql(postgres: PostgresCluster, definitions: Definitions) -> Iterator[tuple[SqlStore, Engine]]:
    """One store on PostgreSQL for the session, and an engine to look at its database; making one takes long."""
    url = postgres.create_database()
    store, engine = open_store(url, definitions), make_engine(url)
    yield store, engine
    store.close()
    engine.dispose()


@pytest.fixture
def postgresql_store(shared_postgresql: tuple[SqlStore, Engine]) -> SqlStore:
    """An empty store on PostgreSQL."""
    store, engine = shared_postgresql
    names = [t.name for t in tables.metadata.sorted_tables if t not in (tables.meta, tables.parameter)]
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(names)}"))
    return store


@pytest.fixture(params=["sqlite_store", "postgresql_store"])
def store(request: pytest.FixtureRequest) -> SqlStore:
    """An empty store on each kind of database."""
    store: SqlStore = request.getfixturevalue(request.param)
    return store


@pytest.fixture(scope="session")
def demo() -> list[dict[str, Any]]:
    """Every resource of the demo data; for reading only."""
    return demo_resources()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def demo_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, definitions: Definitions
) -> Iterator[SqlStore]:
    """A store on each kind of database, with the demo data in the tenant ""; for reading only."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('demo')}/fhir.db"
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        url = cluster.create_database()
    store = open_store(url, definitions)
    for bundle in demo_data.bundles():
        load_bundle(store, bundle, tenant="")
    yield store
    store.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def writable(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, definitions: Definitions
) -> Iterator[Writable]:
    """An app to write to on each kind of database, made once; see `api`."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('writable')}/fhir.db"
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        url = cluster.create_database()
    store, engine, introspection, log = open_store(url, definitions), make_engine(url), FakeIntrospection(), ListLog()
    app = make_app(store, definitions, introspection=introspection, log=log)
    yield Writable(store, engine, introspection, log, app)
    engine.dispose()
    store.close()


@pytest.fixture
def api(writable: Writable) -> FlaskClient:
    """A client of an app over an empty store with a Patient of the tenant `mine`, and a foreign one; tokens by name."""
    writable.clear()
    writable.store.put(Constraint.system("mine"), [make_patient()], now=1_700_000_000_000_000)
    writable.store.put(Constraint.system("other"), [make_patient("foreign"), make_observation("foreign")], now=0)
    writable.introspection.answers = writing_tokens()
    return writable.app.test_client()


@pytest.fixture
def introspection() -> FakeIntrospection:
    """Some tokens."""
    return FakeIntrospection(
        {
            "good": make_answer(),
            "other-client": make_answer(client_id="other"),
            "other-tenant": make_answer(tenant="t"),
            "patients": make_answer(scope="system/Patient.read"),
            "vital-signs": make_answer(scope="system/Observation.rs?category=vital-signs"),
            "writer": make_answer(scope="system/*.*"),
            "no-policy": make_answer(policy_decision={"allowed": False}),
            "expired": make_answer(exp=int(time.time()) - 1),
        }
    )


@pytest.fixture
def log() -> ListLog:
    """What the app tells the operator."""
    return ListLog()


@pytest.fixture
def client(
    demo_store: SqlStore, definitions: Definitions, introspection: FakeIntrospection, log: ListLog
) -> FlaskClient:
    """A client of the app over the demo data."""
    return make_app(demo_store, definitions, introspection=introspection, log=log).test_client()
