"""All faults (`make faults`), or those that are named: `python -m tests.faults [NAME ...]`.

`--kills` and `--assertions` say how many. A table of results at the end; exit code 1 when a promise was broken.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.faults import (
    audit,
    clocks,
    database,
    database_files,
    descriptors,
    durability,
    ends,
    key_files,
    key_hosts,
    kills,
    logs,
    once,
    pauses,
    rolling,
)
from tests.faults.kills import postgresql
from tests.faults.machine import undisturbed
from tests.faults.oracle import Violation
from tests.faults.rounds import Outcome
from tests.postgres import PostgresCluster

KILLS = 200
"""On each of the two kinds of database."""

ASSERTIONS = 10_000
"""Each sent to two servers at once."""

NOTICING = ("kill", "database")
"""Long, and made of batches that are each done again when the machine was stopped: never done again as a whole."""

OnPostgres = Callable[[PostgresCluster], Outcome]


def families(kill_count: int = KILLS, assertions: int = ASSERTIONS) -> dict[str, Sequence[Callable[[], Outcome]]]:
    """Return what each name runs."""
    return {
        "kill": [lambda: kills.on_sqlite(kill_count), _with(lambda cluster: kills.on_postgresql(kill_count, cluster))],
        "database": [lambda: kills.of_the_database(20)],
        "fsync": [lambda: durability.traced(300)],
        "eio": [durability.disk_errors],
        "disk-full": [durability.full_disk],
        "audit": [audit.failing, _with(audit.blocked)],
        "stopped": [
            _with(lambda cluster: pauses.late_answers(30, cluster)),
            _with(lambda cluster: pauses.under_load(5, 5, cluster)),
        ],
        "slow-database": [database.slow, database.silent, _with(database.without_connections)],
        "clock": [clocks.jumps],
        "key-files": [key_files.damaged],
        "key-hosts": [key_hosts.hostile],
        "logs": [logs.unwritable],
        "descriptors": [descriptors.exhausted],
        "database-files": [database_files.damaged],
        "upgrade": [_with(lambda cluster: database_files.upgraded(3, cluster))],
        "rolling": [_with(lambda cluster: rolling.renewed(10, cluster)), lambda: rolling.handed_over(5)],
        "once": [_with(lambda cluster: once.once(assertions, cluster))],
        "ends": [_with(lambda cluster: ends.ends(50, cluster))],
    }


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; return 1 when something was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(families())}; without: all")
    parser.add_argument("--kills", type=int, default=KILLS, help="kills on each kind of database (%(default)s)")
    parser.add_argument("--assertions", type=int, default=ASSERTIONS, help="sent to two servers (%(default)s)")
    given = parser.parse_args(arguments)
    known = families(given.kills, given.assertions)
    for name in set(given.names) - set(known):
        parser.error(f"no fault is named {name}")
    outcomes = []
    for name in given.names or known:
        for make in known[name]:
            began = time.monotonic()
            outcomes.append(_outcome(name, make))
            print(f"{line(outcomes[-1])} ({time.monotonic() - began:.0f} s)", flush=True)
    print("\n" + "\n".join(map(line, outcomes)))
    return 1 if any(outcome.violations for outcome in outcomes) else 0


def _outcome(name: str, make: Callable[[], Outcome]) -> Outcome:
    """Return what came of it; where it could not be carried through, that is a violation, and the others go on."""
    try:
        return make() if name in NOTICING else undisturbed(make)
    except AssertionError as error:
        return Outcome(name, violations=[Violation("not carried through", str(error))])


def line(outcome: Outcome) -> str:
    """Return one line for the outcome, and one more for each kind of violation's first."""
    if outcome.skipped:
        return f"skipped  {outcome.name}: {outcome.skipped}"
    shown = ", ".join(f"{name} {value}" for name, value in outcome.figures.items() if value is not None)
    first = {violation.kind: violation.detail for violation in reversed(outcome.violations)}
    times = Counter(violation.kind for violation in outcome.violations)
    broken = "".join(f"\n         {kind}, {times[kind]} times: {detail[:200]}" for kind, detail in first.items())
    return f"{'BROKEN ' if outcome.violations else 'held   '}  {outcome.name}: {shown}{broken}"


def _with(make: OnPostgres) -> Callable[[], Outcome]:
    """Return the fault with a PostgreSQL of its own."""

    def run() -> Outcome:
        with postgresql() as cluster:
            return make(cluster)

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
