"""The number of the registry's state: what makes it grow, who sees it when, and what is kept of revocations by it."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from authserver.adapters.memory import MemoryStores
from authserver.adapters.sql.changes import AT_HAND_SECONDS, FILE_AT_HAND_SECONDS, FileWatch
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable, VersionConflict
from authserver.services.ports import Revocations
from tests.postgres import PostgresCluster

Stores = MemoryStores | SqlStores

CHANGES: dict[str, Callable[[Stores], object]] = {
    "put": lambda stores: stores.resources.put("Client", "other", {}, now=1),
    "put again": lambda stores: stores.resources.put("Client", "acme", {}, now=2),
    "delete": lambda stores: stores.resources.delete("Client", "acme", now=2),
    "tokens revoked": lambda stores: stores.resources.revoke_tokens("Client", "acme"),
    "revoke": lambda stores: stores.revocations.revoke("token", until=100),
}
OTHERS: dict[str, Callable[[Stores], object]] = {
    "claim": lambda stores: stores.replay_guard.claim("acme", "j1", until=100),
    "purge": lambda stores: stores.revocations.purge(before=10),
    "get": lambda stores: stores.resources.get("Client", "acme"),
    "refused put": lambda stores: refused_put(stores),
}


def refused_put(stores: Stores) -> None:
    with pytest.raises(VersionConflict):
        stores.resources.put("Client", "acme", {}, now=2, if_match=7)


def awaited(stores: Stores, number: int) -> int | None:
    """Return what is at hand when it is this number, or at the latest two seconds later."""
    deadline = time.monotonic() + 2
    while stores.changes.at_hand() != number and time.monotonic() < deadline:
        time.sleep(0.005)
    return stores.changes.at_hand()


@pytest.fixture
def two_processes(database_url: str) -> Iterator[tuple[SqlStores, SqlStores]]:
    """Stores as two processes on one database would have them."""
    first, second = (SqlStores(open_engine(database_url)) for _ in range(2))
    engine = open_engine(database_url)
    upgrade(engine)
    engine.dispose()
    yield first, second
    first.close()
    second.close()


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_makes_the_number_grow(stores: Stores, change: str) -> None:
    stores.resources.put("Client", "acme", {}, now=1)
    before = stores.changes.number()

    CHANGES[change](stores)

    assert stores.changes.number() == before + 1


@pytest.mark.parametrize("other", OTHERS)
def test_what_changes_nothing_leaves_the_number(stores: Stores, other: str) -> None:
    stores.resources.put("Client", "acme", {}, now=1)
    before = stores.changes.number()

    OTHERS[other](stores)

    assert stores.changes.number() == before


def test_own_change_is_at_hand_at_once_or_nothing_is(two_processes: tuple[SqlStores, SqlStores]) -> None:
    own, _ = two_processes
    awaited(own, 0)

    for number in range(1, 6):
        own.resources.put("Client", "acme", {}, now=number)

        assert own.changes.at_hand() in (number, None)
        assert awaited(own, number) == number


def test_change_of_another_process_is_at_hand_in_time(two_processes: tuple[SqlStores, SqlStores]) -> None:
    """What is at hand later than AT_HAND_SECONDS after a change has it."""
    own, other = two_processes
    before = awaited(own, 0)

    other.resources.put("Client", "acme", {}, now=1)
    changed_at = time.monotonic()
    seen = []
    while time.monotonic() < changed_at + AT_HAND_SECONDS + 0.3:
        asked_at = time.monotonic()
        seen.append((asked_at - changed_at, own.changes.at_hand()))
        time.sleep(0.005)

    late = {number for age, number in seen if age > AT_HAND_SECONDS}
    assert (before, late - {None}) == (0, {1})


def test_number_at_hand_holds_up_no_checkpoint(sqlite_stores: SqlStores) -> None:
    """The reader leaves no transaction open: the next look sees what came, and the log can be emptied."""
    sqlite_stores.changes.at_hand()
    sqlite_stores.resources.put("Client", "acme", {}, now=1)
    at_hand = sqlite_stores.changes.at_hand()

    with sqlite_stores.database.raw_writing() as connection:
        connection.execute("COMMIT")
        emptied = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("BEGIN")
    sqlite_stores.close()

    assert (at_hand, emptied) == (1, (0, 0, 0))


def test_file_is_read_again_when_its_time_is_over(two_files: tuple[SqlStores, FileWatch, list[float]]) -> None:
    """Rows X46, X50: what another process changes is noticed in FILE_AT_HAND_SECONDS, and no file is read in vain."""
    other, watch, clock = two_files
    before = watch.at_hand()
    other.resources.put("Client", "acme", {}, now=1)

    seen = []
    for moment in (0.0, 0.004, 0.005):
        clock[0] = moment
        seen.append(watch.at_hand())

    assert (before, seen) == (0, [0, 0, 1])


def test_own_change_of_the_file_is_read_at_once(two_files: tuple[SqlStores, FileWatch, list[float]]) -> None:
    other, watch, _ = two_files
    before = watch.at_hand()
    other.resources.put("Client", "acme", {}, now=1)

    watch.changed()

    assert (before, watch.at_hand()) == (0, 1)


def test_file_that_cannot_be_read_is_not_remembered(two_files: tuple[SqlStores, FileWatch, list[float]]) -> None:
    other, watch, clock = two_files
    before = watch.at_hand()
    with other.database.raw_writing() as connection:
        connection.execute("DROP TABLE registry_change")
    clock[0] = 1.0

    assert (before, watch.at_hand(), watch.at_hand()) == (0, None, None)


@pytest.fixture
def two_files(tmp_path: Path) -> Iterator[tuple[SqlStores, FileWatch, list[float]]]:
    """Another process's stores, a watch on the same file, and the watch's clock."""
    url, clock = f"sqlite:///{tmp_path}/registry.db", [0.0]
    engine = open_engine(url)
    upgrade(engine)
    other = SqlStores(open_engine(url))
    watch = FileWatch(engine, at_hand_seconds=FILE_AT_HAND_SECONDS, monotonic=lambda: clock[0])
    yield other, watch, clock
    watch.close()
    engine.dispose()
    other.close()


def test_nothing_is_at_hand_while_the_database_is_away(postgres_of_its_own: PostgresCluster) -> None:
    """Threats, "fail closed": no state is believed in longer than AT_HAND_SECONDS; it returns with the database."""
    url = postgres_of_its_own.create_database()
    engine = open_engine(url)
    upgrade(engine)
    stores = SqlStores(engine)
    before = awaited(stores, 0)

    postgres_of_its_own.process.kill()
    postgres_of_its_own.process.wait()
    time.sleep(AT_HAND_SECONDS + 0.1)
    away = stores.changes.at_hand()
    with pytest.raises(StorageUnavailable):
        stores.changes.number()
    postgres_of_its_own.restart()
    after = awaited(stores, 0)
    stores.close()

    assert (before, away, after) == (0, None, 0)


@pytest.fixture
def postgres_of_its_own() -> Iterator[PostgresCluster]:
    cluster = PostgresCluster()
    yield cluster
    cluster.stop()


STOPPED_PROCESS = """
import sys, time
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.stores import SqlStores
stores = SqlStores(open_engine(sys.argv[1]))
while stores.changes.at_hand() is None:
    time.sleep(0.01)
sys.setswitchinterval(10)  # the watch gets no turn until the questions are over, for they never wait
last = time.monotonic()  # before the line that lets the process be stopped: the pause is seen wherever it begins
print("ready", flush=True)
while True:
    stores.changes.at_hand()
    now = time.monotonic()
    if now - last > 0.5:
        print(stores.changes.at_hand(), flush=True)  # asked after the pause, even if that came within the question
        break
    last = now
"""


def test_stopped_process_has_nothing_at_hand_when_it_goes_on(postgres: PostgresCluster) -> None:
    """Fault 7: what a process knew before SIGSTOP does not count after SIGCONT."""
    url = postgres.create_database()
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()
    process = subprocess.Popen([sys.executable, "-c", STOPPED_PROCESS, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = process.stdout.readline()
    time.sleep(0.05)  # the questions have begun

    process.send_signal(SIGSTOP)
    time.sleep(0.8)
    process.send_signal(SIGCONT)
    first_answer = process.stdout.readline()
    process.send_signal(SIGKILL)
    process.communicate()

    assert (ready, first_answer) == ("ready\n", "None\n")


def test_numbers_are_in_the_order_of_the_commits(sql_stores: SqlStores) -> None:
    """Who sees a number finds every change up to it: a copy read at any moment is complete up to its number."""
    writers = [threading.Thread(target=revoke_fifteen, args=(sql_stores, name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    copy: dict[str, int] = {}
    sizes, number = [], 0
    while number < 60:
        news = sql_stores.revocations.since(number)
        number = news.number
        copy |= news.revoked
        sizes.append((len(copy) >= number, number))
    for writer in writers:
        writer.join()

    assert {complete for complete, _ in sizes} == {True}
    assert len(copy) == 60


def revoke_fifteen(stores: SqlStores, name: str) -> None:
    for number in range(15):
        stores.revocations.revoke(f"{name}-{number}", until=100)


def test_revocations_since_a_number_are_those_after_it(stores: Stores) -> None:
    stores.revocations.revoke("a", until=100)
    stores.resources.put("Client", "acme", {}, now=1)
    stores.revocations.revoke("b", until=200)

    answers = [stores.revocations.since(number) for number in (0, 1, 3)]

    assert answers == [
        Revocations({"a": 100, "b": 200}, 3, 0),
        Revocations({"b": 200}, 3, 0),
        Revocations({}, 3, 0),
    ]


def test_revocations_say_up_to_when_they_may_be_forgotten(stores: Stores) -> None:
    """Threat B14: a clock set back makes no revoked token good in a copy either."""
    stores.revocations.revoke("a", until=100)
    stores.revocations.revoke("b", until=200)
    stores.revocations.purge(before=150)

    assert stores.revocations.since(0) == Revocations({"b": 200}, 2, 150)
