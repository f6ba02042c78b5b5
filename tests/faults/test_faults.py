"""The short runs of `make faults`: real processes, real signals, and the oracle of tests/faults/oracle.py.

Speed is no subject here, because a machine that runs tests is busy: what is judged is that nothing that was
acknowledged is lost. Recovery times and rates are judged by the long run.
"""

import random
import time
from pathlib import Path

import pytest

from tests.faults import clocks, durability, key_files, once
from tests.faults.driver import Load
from tests.faults.kills import kill_some
from tests.faults.oracle import Fault, Violation
from tests.faults.rounds import Outcome, run
from tests.faults.servers import ServerGroup, serving
from tests.postgres import PostgresCluster

OF_SPEED = {"late recovery", "void"}


def broken(violations: list[Violation]) -> list[Violation]:
    """Return the promises that were broken, but for those of speed."""
    return [violation for violation in violations if violation.kind not in OF_SPEED]


def test_kill_9_of_a_worker_on_sqlite_loses_nothing(tmp_path: Path) -> None:
    """Fault 1, threat B09: under load."""
    group = ServerGroup(tmp_path)
    with serving(group):
        record = run(
            [group.port],
            lambda load: kill_some(group, load, kills=1, choice=random.Random(1)),
            reasons=group.reasons,
        )

    assert broken(record.violations()) == []
    assert any(replay.reason == "jti_replayed" for replay in record.after.replays)
    assert record.after.versions.keys() == {"changing-0", "changing-1"}


def test_kill_9_of_everything_and_of_the_database_loses_nothing(tmp_path: Path) -> None:
    """Faults 1 and 2 on PostgreSQL: all processes of the server, then the database; 503 or nothing meanwhile."""
    cluster = PostgresCluster()
    group = ServerGroup(tmp_path, {"AUTHSERVER_DATABASE_URL": cluster.create_database()}, workers=2)

    def inject(load: Load) -> list[Fault]:
        began = time.monotonic()
        group.kill_all()
        first = Fault("all killed", began, group.start())
        load.await_token(first.ended)
        began = time.monotonic()
        cluster.restart()
        second = Fault("database killed", began, time.monotonic())
        load.await_token(second.ended)
        return [first, second]

    try:
        with serving(group):
            record = run([group.port], inject, reasons=group.reasons)
    finally:
        cluster.stop()

    assert broken(record.violations()) == []
    assert any(replay.reason == "jti_replayed" for replay in record.after.replays)


def test_an_answer_waits_for_the_disk() -> None:
    """Fault 3: every acknowledged token, registration and revocation, by what the kernel saw."""
    outcome = _made(durability.traced(5))

    assert outcome.figures["acknowledgements"] == 15


def test_each_assertion_is_good_once_at_two_servers(postgres: PostgresCluster) -> None:
    """B08: sent to both at once, a few hundred times; two servers of two workers."""
    outcome = once.once(300, postgres, workers=2)

    assert outcome.violations == []
    assert outcome.figures["tokens"] == 300


def test_a_clock_that_goes_back_gives_nothing_twice() -> None:
    """B14: after the used assertions were forgotten; back ten minutes and a day, in a real process."""
    assert _made(clocks.jumps()).violations == []


def test_a_damaged_signing_key_is_not_used() -> None:
    """Fault 11: a running server keeps the key that it has, and does not start with an empty one."""
    assert key_files.damaged(["empty"]).violations == []


def _made(outcome: Outcome) -> Outcome:
    """Return the outcome; skip where this machine lacks what the fault is made with."""
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert list(outcome.violations) == []
    return outcome
