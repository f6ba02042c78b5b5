"""Claims made in groups: each jti once, nothing handed over before it is durable, every caller answered."""

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authserver.adapters.memory import MemoryStores
from authserver.adapters.sql.claims import GROUP, MAX_WAITING
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.services.claim_queue import ClaimOutcome, ClaimQueue
from tests.postgres import PostgresCluster

Stores = MemoryStores | SqlStores


class Answers:
    """Outcomes as they come; await_all() waits for this many."""

    def __init__(self, expected: int) -> None:
        self.outcomes: dict[int, ClaimOutcome] = {}
        self._expected, self._all = expected, threading.Event()

    def at(self, place: int) -> Callable[[ClaimOutcome], None]:
        def done(outcome: ClaimOutcome) -> None:
            self.outcomes[place] = outcome
            if len(self.outcomes) == self._expected:
                self._all.set()

        return done

    def await_all(self) -> list[ClaimOutcome]:
        assert self._all.wait(10), f"{len(self.outcomes)} of {self._expected} outcomes came"
        return [self.outcomes[place] for place in sorted(self.outcomes)]


def claim_all(queue: ClaimQueue, jtis: list[str], *, until: int = 100) -> list[ClaimOutcome]:
    answers = Answers(len(jtis))
    for place, jti in enumerate(jtis):
        queue.submit("acme", jti, until=until, done=answers.at(place))
    return answers.await_all()


@pytest.fixture
def held_up(sqlite_stores: SqlStores) -> Iterator[SqlStores]:
    """Stores whose writer waits for its turn, until release: what is submitted meanwhile is one group or two."""
    with sqlite_stores.database.writing():
        yield sqlite_stores


def test_each_jti_is_claimed_once_within_and_between_groups(stores: Stores) -> None:
    """Threats B08, B10: whatever the queue makes of it, the first has the jti and nobody else."""
    jtis = [f"jti-{number % 200}" for number in range(600)]

    outcomes = claim_all(stores.claims, jtis)

    assert [outcome.claimed for outcome in outcomes] == [True] * 200 + [False] * 400
    assert {outcome.failure for outcome in outcomes} == {None}


def test_same_jti_of_two_clients_is_two_claims(stores: Stores) -> None:
    """Threat B11."""
    answers = Answers(2)

    stores.claims.submit("acme", "j1", until=100, done=answers.at(0))
    stores.claims.submit("other", "j1", until=100, done=answers.at(1))

    assert [outcome.claimed for outcome in answers.await_all()] == [True, True]


def test_claim_made_by_the_guard_is_known_to_the_queue(stores: Stores) -> None:
    stores.replay_guard.claim("acme", "j1", until=100)

    outcomes = claim_all(stores.claims, ["j1", "j2"])

    assert [outcome.claimed for outcome in outcomes] == [False, True]


def test_outcome_has_every_change_made_before_the_claim(stores: Stores) -> None:
    """A client deactivated before its assertion was claimed is noticed by the number."""
    before = claim_all(stores.claims, ["j1"])[0].change
    stores.resources.put("Client", "acme", {}, now=1)

    after = claim_all(stores.claims, ["j2"])[0].change

    assert (before, after) == (0, 1)


def test_claim_that_a_purge_may_have_forgotten_fails_alone(stores: Stores) -> None:
    """Threat B14: the others of its group are claimed."""
    stores.replay_guard.purge(before=100)
    answers = Answers(2)

    stores.claims.submit("acme", "old", until=99, done=answers.at(0))
    stores.claims.submit("acme", "new", until=100, done=answers.at(1))

    old, new = answers.await_all()
    assert old.failure is not None
    assert (old.failure.reason, new) == ("clock_set_back", ClaimOutcome(claimed=True, change=0))


def test_outcome_comes_after_the_commit(sqlite_stores: SqlStores, tmp_path: Path) -> None:
    """Threats, durability: when a caller hears of the claim, another connection reads it."""
    found = []

    def look(_outcome: ClaimOutcome) -> None:
        with sqlite3.connect(tmp_path / "registry.db") as connection:
            found.append(connection.execute("SELECT count(*) FROM used_jti").fetchone())
        connection.close()

    sqlite_stores.claims.submit("acme", "j1", until=100, done=look)
    sqlite_stores.close()

    assert found == [(1,)]


def test_claims_of_one_turn_of_the_loop_are_one_group_delivered_at_once(sqlite_stores: SqlStores) -> None:
    """The writer is woken once for what came in one turn, and the loop once for what became of it."""
    turns: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    sqlite_stores.claims.deliver_by(turns.put)
    answers = Answers(200)

    for place in range(200):
        sqlite_stores.claims.submit("acme", f"j{place}", until=100, done=answers.at(place))
    turns.get(timeout=10)()
    turns.get(timeout=10)()
    outcomes = answers.await_all()
    sqlite_stores.close()

    assert [outcome.claimed for outcome in outcomes] == [True] * 200
    assert turns.empty()


def test_claim_beyond_those_that_may_wait_fails_at_once(held_up: SqlStores) -> None:
    outcomes: list[ClaimOutcome] = []
    # The writer has one group in its hands already, at most.
    for number in range(MAX_WAITING + GROUP + 1):
        held_up.claims.submit("acme", f"j{number}", until=100, done=outcomes.append)

    assert outcomes[-1].failure is not None
    assert outcomes[-1].failure.detail == "too many claims wait"


def test_group_that_cannot_be_written_fails_and_the_next_is_written(tmp_path: Path) -> None:
    """Fault 5, "recovers alone": every waiting caller gets its 503, and the writer lives on."""
    engine = open_engine(f"sqlite:///{tmp_path}/registry.db", wait_seconds=0)
    upgrade(engine)
    stores = SqlStores(engine)
    blocker = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    failed = claim_all(stores.claims, ["j1", "j2"])
    blocker.execute("ROLLBACK")
    blocker.close()
    claimed = claim_all(stores.claims, ["j1", "j2"])
    stores.close()

    details = [outcome.failure and outcome.failure.detail for outcome in failed]
    assert details == ["OperationalError: database is locked"] * 2
    assert claimed == [ClaimOutcome(claimed=True, change=0)] * 2


def test_caller_that_fails_harms_nobody_else(sql_stores: SqlStores) -> None:
    answers = Answers(1)

    def broken(_outcome: ClaimOutcome) -> None:
        raise RuntimeError("the caller's own fault")

    sql_stores.claims.submit("acme", "j1", until=100, done=broken)
    sql_stores.claims.submit("acme", "j2", until=100, done=answers.at(0))

    assert answers.await_all() == [ClaimOutcome(claimed=True, change=0)]


def test_closed_loop_does_not_end_the_writer(sqlite_stores: SqlStores) -> None:
    """A claim that waits in a thread is answered though the event loop is gone."""

    def gone(_run: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")

    sqlite_stores.claims.deliver_by(gone)
    sqlite_stores.claims.submit("acme", "j1", until=100, done=lambda _outcome: None)

    assert sqlite_stores.replay_guard.claim("acme", "j2", until=100)
    assert not sqlite_stores.replay_guard.claim("acme", "j1", until=100)


def test_close_writes_what_waits_and_refuses_what_comes_later(database_url: str) -> None:
    """Process life: SIGTERM drains."""
    engine = open_engine(database_url)
    upgrade(engine)
    stores = SqlStores(engine)
    outcomes: list[ClaimOutcome] = []
    for number in range(300):
        stores.claims.submit("acme", f"j{number}", until=100, done=outcomes.append)

    stores.claims.close()
    stores.claims.submit("acme", "late", until=100, done=outcomes.append)
    stores.close()

    assert [outcome.claimed for outcome in outcomes] == [True] * 300 + [False]
    assert outcomes[-1].failure is not None


def test_commit_is_durable_whatever_the_server_was_told(postgres: PostgresCluster) -> None:
    """Threats, durability: `synchronous_commit = off` and another isolation of the database's own do not count."""
    url = postgres.create_database()
    name = url.partition("?")[0].rpartition("/")[2]
    with postgres.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'".encode())
    stores = SqlStores(open_engine(url))

    with stores.database.raw_writing() as connection:
        settings = [
            connection.execute(f"SHOW {setting}").fetchone()[0]
            for setting in ("synchronous_commit", "default_transaction_isolation")
        ]
    stores.close()

    assert settings == ["on", "read committed"]
