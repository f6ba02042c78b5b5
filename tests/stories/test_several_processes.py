"""Several server processes on one PostgreSQL keep the promises of one."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.stores import SqlStores
from authserver.protocol.audit_search import AuditQuery
from tests.builders import CLIENT_ID, ROOT_SECRET
from tests.cli.programs import run, serving
from tests.keys import key
from tests.postgres import PostgresCluster
from tests.stories.world import KeyHost, World


@contextmanager
def three_workers(folder: Path, postgres: PostgresCluster) -> Iterator[World]:
    """Start an authorization server of three processes on an empty database."""
    variables = {"AUTHSERVER_DATABASE_URL": postgres.create_database(), "AUTHSERVER_ROOT_SECRET": ROOT_SECRET}
    with serving(folder, "auth", "--dev", "--workers", "3", variables=variables) as server:
        yield World(server)


def test_b08_an_assertion_is_accepted_once_by_three_workers(
    postgres: PostgresCluster, key_host: KeyHost, tmp_path: Path
) -> None:
    """B08 on PostgreSQL: the same assertion 200 times at once gives one token; so for each of five."""
    pair = key("ES384", "ec-1")
    with three_workers(tmp_path, postgres) as world:
        world.register(key_host.open("/jwks.json"))
        assertions = [world.assertion(pair) for _ in range(5)]
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda n: (n % 5, world.ask(assertions[n % 5]).status_code), range(1_000)))

    assert Counter(answers) == Counter(
        {(number, status): times for number in range(5) for status, times in ((200, 1), (400, 199))}
    )


def test_x46_one_write_ends_every_token_on_every_worker(
    postgres: PostgresCluster, key_host: KeyHost, tmp_path: Path
) -> None:
    """X46, F06: after the answer to $revoke-tokens no worker calls a token active; new ones live everywhere."""
    pair = key("ES384", "ec-1")
    with three_workers(tmp_path, postgres) as world:
        world.register(key_host.open("/jwks.json"))
        tokens = [world.ask(world.assertion(pair)).json()["access_token"] for _ in range(20)]
        before = {world.introspect(token)["active"] for token in tokens}
        revoked = world.operate(f"/Client/{CLIENT_ID}/$revoke-tokens").status_code

        after = {world.introspect(token)["active"] for token in tokens}

        fresh = world.ask(world.assertion(pair)).json()["access_token"]
        renewed = {world.introspect(fresh)["active"] for _ in range(20)}

    assert (before, revoked, after, renewed) == ({True}, 200, {False}, {True})


def test_x50_a_change_is_seen_by_every_worker_at_the_next_request(
    postgres: PostgresCluster, key_host: KeyHost, tmp_path: Path
) -> None:
    """X50: after the answer to PUT no worker calls the token active; before it every worker does."""
    with three_workers(tmp_path, postgres) as world:
        address = key_host.open("/jwks.json")
        world.register(address)
        token = world.ask(world.assertion(key("ES384", "ec-1"))).json()["access_token"]
        before = {world.introspect(token)["active"] for _ in range(20)}
        world.register(address, CLIENT_ID, active=False)

        after = {world.introspect(token)["active"] for _ in range(20)}

    assert (before, after) == ({True}, {False})


def test_x55_three_workers_write_one_chain_of_all_that_they_decided(
    postgres: PostgresCluster, key_host: KeyHost, tmp_path: Path
) -> None:
    """X25, X55: a record for each token and each replay, in one chain, checked beside the running workers."""
    pair, database = key("ES384", "ec-1"), postgres.create_database()
    variables = {"AUTHSERVER_DATABASE_URL": database, "AUTHSERVER_ROOT_SECRET": ROOT_SECRET}
    with serving(tmp_path, "auth", "--dev", "--workers", "3", variables=variables) as server:
        world = World(server)
        world.register(key_host.open("/jwks.json"))
        assertions = [world.assertion(pair) for _ in range(5)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: world.ask(assertions[n % 5]), range(100)))
        beside = run(tmp_path, "audit", "verify", **variables, AUTHSERVER_DEV="true")

    stores = SqlStores(open_engine(database))
    tokens = AuditQuery(events=frozenset({"token_issued", "token_refused"}), count=500)
    found = Counter((one.said["event"], one.said["facts"].get("reason")) for one in stores.audit.search(tokens))
    stores.close()
    assert found == {("token_issued", None): 5, ("token_refused", "jti_replayed"): 95}
    assert (beside.returncode, beside.stderr) == (0, "")
