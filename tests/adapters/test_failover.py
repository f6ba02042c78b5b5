"""A standby that lacks the last commits is promoted, and lets nothing through that it may have forgotten."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from authserver import clock
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.failover import FailoverFence
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable
from tests.postgres import PostgresCluster, PostgresStandby

ASSERTION, TOKEN = 371, 300


@pytest.fixture
def primary() -> Iterator[PostgresCluster]:
    cluster = PostgresCluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def url(primary: PostgresCluster) -> str:
    return primary.create_database()


@pytest.fixture
def standby(primary: PostgresCluster, url: str) -> Iterator[PostgresStandby]:
    """A standby that has the schema and nothing after it."""
    engine = open_engine(url)
    upgrade(engine)
    stores = stores_at(url)
    stores.ping()  # the life of the primary is recorded
    stores.close()
    engine.dispose()
    cluster = primary.start_standby()
    with cluster.connect() as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
    yield cluster
    cluster.stop()


def stores_at(url: str) -> SqlStores:
    fence = FailoverFence(assertion_seconds=ASSERTION, token_seconds=TOKEN)
    return SqlStores(open_engine(url), at_hand_seconds=0, fence=fence)


def lose_what_is_acknowledged_now(primary: PostgresCluster, standby: PostgresStandby, url: str) -> str:
    """Cut the standby off, use one assertion and revoke one token on the primary; promote; return the standby's URL."""
    with standby.connect() as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("SELECT pg_wal_replay_resume()")
    with primary.connect() as connection:
        while connection.execute("SELECT count(*) FROM pg_stat_replication").fetchone() != (0,):
            pass
    stores = stores_at(url)
    assert stores.replay_guard.claim("acme", "used", until=clock.now() + 340)
    stores.revocations.revoke("revoked", until=clock.now() + 290)
    stores.close()
    primary.process.kill()
    standby.promote()
    return url.replace(str(primary.folder), str(standby.folder))


def reason_of(stores: SqlStores, jti: str, *, until: int) -> str:
    with pytest.raises(StorageUnavailable) as refusal:
        stores.replay_guard.claim("acme", jti, until=until)
    return refusal.value.reason


def test_nothing_that_a_failover_lost_is_accepted_again(
    primary: PostgresCluster, standby: PostgresStandby, url: str
) -> None:
    """Fault 8: a jti and a revocation, acknowledged and lost, stay used and revoked; what is new works."""
    lost = lose_what_is_acknowledged_now(primary, standby, url)

    stores = stores_at(lost)
    forgotten = stores.replay_guard.was_claimed("acme", "used")
    refused = reason_of(stores, "used", until=clock.now() + 340)
    new = stores.replay_guard.claim("acme", "new", until=clock.now() + ASSERTION + 10)
    now = clock.now()
    tokens = [stores.revocations.is_revoked(name, expires_at=now + 290) for name in ("revoked", "old")]
    new_token = stores.revocations.is_revoked("new", expires_at=now + TOKEN + 10)
    number = stores.changes.number()
    stores.close()

    assert (forgotten, refused, new, tokens, new_token) == (False, "database_failed_over", True, [True, True], False)
    assert number >= 1 << 32, "what a process keeps under the numbers of the lost primary does not count"


def test_failover_without_the_fence_would_let_the_replay_through(
    primary: PostgresCluster, standby: PostgresStandby, url: str
) -> None:
    """The control: the claim is really lost, and it is the fence that refuses it."""
    lost = lose_what_is_acknowledged_now(primary, standby, url)

    stores = SqlStores(open_engine(lost))
    claimed = stores.replay_guard.claim("acme", "used", until=clock.now() + 340)
    stores.close()

    assert claimed


def test_failover_to_a_synchronous_standby_refuses_only_what_was_used(
    primary: PostgresCluster, standby: PostgresStandby, url: str
) -> None:
    """Fault 8: a jti on a synchronous standby outlives the primary, and assertions of before are still good."""
    with primary.connect() as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
        while connection.execute("SELECT sync_state FROM pg_stat_replication").fetchone() != ("sync",):
            pass
    until = clock.now() + 60
    before = stores_at(url)
    claimed = before.replay_guard.claim("acme", "used", until=until)
    before.close()
    primary.process.kill()
    standby.promote()

    after = stores_at(url.replace(str(primary.folder), str(standby.folder)))
    outcomes = [after.replay_guard.claim("acme", jti, until=until) for jti in ("used", "unused")]
    after.close()

    assert (claimed, outcomes) == (True, [False, True])


def record(stores: SqlStores, **columns: object) -> None:
    settings = ", ".join(f"{name} = :{name}" for name in columns)
    with stores.database.writing() as connection:
        connection.execute(text(f"UPDATE database_era SET {settings}"), columns)


@pytest.fixture
def upgraded_url(postgres: PostgresCluster) -> str:
    url = postgres.create_database()
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    return url


@pytest.mark.parametrize(("synchronous", "claimed"), [(True, True), (False, None)])
def test_standby_that_had_every_commit_refuses_nothing(
    upgraded_url: str, *, synchronous: bool, claimed: bool | None
) -> None:
    """Fault 8: the jti on a synchronous standby is not lost, so a failover to it costs nothing."""
    before = stores_at(upgraded_url)
    before.ping()
    record(before, era="another cluster", synchronous=synchronous)
    before.close()

    stores = stores_at(upgraded_url)
    if claimed:
        assert stores.replay_guard.claim("acme", "j1", until=clock.now() + 340)
    else:
        assert reason_of(stores, "j1", until=clock.now() + 340) == "database_failed_over"
    stores.close()


def test_same_life_is_recognised_by_later_processes(upgraded_url: str) -> None:
    """The control: a restart of the server, or of the database, is no failover."""
    for jti in ("j1", "j2"):
        stores = stores_at(upgraded_url)

        assert stores.replay_guard.claim("acme", jti, until=clock.now() + 60)
        stores.close()


def test_ordinary_role_may_ask_for_the_life(upgraded_url: str, postgres: PostgresCluster) -> None:
    """The fence needs no right that a database's owner lacks."""
    database = upgraded_url.partition("?")[0].rpartition("/")[2]
    with postgres.connect(database) as connection:
        connection.execute("CREATE ROLE ordinary LOGIN")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ordinary")

    stores = stores_at(upgraded_url.replace("postgres@", "ordinary@"))
    claimed = stores.replay_guard.claim("acme", "j1", until=clock.now() + 60)
    stores.close()
    with postgres.connect(database) as connection:
        connection.execute("DROP OWNED BY ordinary")
        connection.execute("DROP ROLE ordinary")

    assert claimed


def test_standby_is_not_used(standby: PostgresStandby, primary: PostgresCluster, url: str) -> None:
    """Its connections would outlive a promotion that nobody asked them about."""
    stores = stores_at(url.replace(str(primary.folder), str(standby.folder)))

    with pytest.raises(StorageUnavailable) as refusal:
        stores.ping()
    stores.close()

    assert "PostgreSQL is a standby" in refusal.value.detail
