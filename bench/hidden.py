"""Measure whether the time of an answer tells what a token must not see (threat H01).

Requests about a resource of another tenant, about one outside the scope's criteria, and about one that is not there,
alike otherwise, alternate in random order against one application over SQLite, without a network and without records
of reads, whose commits would hide the difference. Prints each interaction's median of absence, in time and in time of
the processor, and how far the hidden are from it; exit code 1 when a median of the processor's time, which other
programs of the machine do not stretch, is more than 10 % away.

    python -m bench.hidden [ROUNDS]
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from flask.testing import FlaskClient

from authserver.fhir.definitions.tables import load_definitions
from authserver.fhir.store.sql_store import open_store
from tests.fhir.hidden import CALLS, SIDES, Call, ask, client_of, fill, name

ROUNDS, WARM_UP = 1_000, 100
MAX_RELATIVE = 0.10
IDS = range(40)
LEFT_OUT = ("conditional create",)
"""What writes on every side: it would grow the store meanwhile."""

Seconds = tuple[float, float]


def timed(client: FlaskClient, call: Call, resource_id: str) -> tuple[Seconds, int]:
    """Return the time and the processor's time of one request, and its status."""
    started, worked = time.perf_counter(), time.thread_time()
    answer = ask(client, call, resource_id)
    return (time.perf_counter() - started, time.thread_time() - worked), answer.status_code


def medians(client: FlaskClient, call: Call, rounds: int) -> Mapping[str, Seconds]:
    """Return the medians of each side over requests in random order; every side has the same status."""
    found: dict[str, list[Seconds]] = {side: [] for side in SIDES}
    statuses = set()
    for index in range(WARM_UP + rounds):
        number = index % len(IDS)
        for side in random.sample(SIDES, len(SIDES)):
            seconds, status = timed(client, call, name(side, number))
            statuses.add(status)
            if index >= WARM_UP:
                found[side].append(seconds)
    assert len(statuses) == 1, statuses
    return {side: (_median(values, 0), _median(values, 1)) for side, values in found.items()}


def _median(values: Sequence[Seconds], column: int) -> float:
    return statistics.median(value[column] for value in values)


def main() -> int:
    """Measure every interaction; return the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    worst = 0.0
    definitions = load_definitions()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        store = open_store(f"sqlite:///{folder}/fhir.db", definitions)
        fill(store, IDS)
        client = client_of(store, definitions)
        for interaction, call in CALLS.items():
            if interaction in LEFT_OUT:
                continue
            found = medians(client, call, rounds)
            base = found["absent"]
            parts = [f"{interaction:20} {base[0] * 1e6:6.0f} µs, {base[1] * 1e6:6.0f} of the processor"]
            for side in SIDES[1:]:
                time_off, work_off = (one / other - 1 for one, other in zip(found[side], base, strict=True))
                worst = max(worst, abs(work_off))
                parts.append(f"{side} {time_off:+6.1%}, {work_off:+6.1%}")
            print("   ".join(parts), flush=True)  # noqa: T201
        store.close()
    return 0 if worst <= MAX_RELATIVE else 1


if __name__ == "__main__":
    sys.exit(main())
