"""Measure the FHIR layer's store: the queries of everyday searches over made-up resources, on SQLite and PostgreSQL.

    python -m bench.fhir [--resources N] [--rounds N] [--only DATABASE]... [--folder PATH] [--database URL]
                         [--bundles PATH] [--write PAGE]

10,000 resources by default; 1,000,000 take some minutes to store. With a folder the SQLite file stays there and is
used again; a database that is named is used instead of both. Prints Markdown: the least, the median and the 95th
percentile of each query, and how many reads by id the least is worth, which is the figure to compare on a machine that
others use too. Then a validated import into another tenant of the same database, of made-up resources or of the
transaction Bundles of a folder (Synthea's, for example), and an export of the observations.
"""

import argparse
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from authserver.fhir import exact_json
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions, load_definitions
from authserver.fhir.loading import load_files
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.sql_store import SqlStore, open_store
from authserver.fhir.validation.structures import load_structures
from authserver.fhir.validation.validator import Validator
from tests.postgres import PostgresCluster

BASE, LOINC = "https://fhir.example/fhir", "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
PER_PATIENT = 100
"""Resources of each patient: the Patient, encounters, and observations for the rest."""
ENCOUNTERS, CODES, BATCH = 10, 200, 1_000
IMPORTED, EXPORTED = 20_000, 200_000
EVERYTHING = Constraint.system("")

_FAMILIES = ("Smith", "Smithers", "Jones", "Brown", "Taylor", "Wilson", "Evans", "Thomas", "Roberts", "Walker")


@dataclass(frozen=True)
class Query:
    """One line of the table: what is asked, under which constraint, and how soon it should be answered (ms)."""

    name: str
    url: str
    goal: float | None = None
    scope: tuple[tuple[str, str], ...] = ()


def resources(count: int) -> Iterator[dict[str, Any]]:
    """Yield so many resources, patient by patient; the same ones for the same number."""
    chance = random.Random(count)  # noqa: S311 -- data, not secrets
    for number in range(count):
        patient, place = divmod(number, PER_PATIENT)
        if place == 0:
            yield _patient(patient, chance)
        elif place <= ENCOUNTERS:
            yield _encounter(patient, place, chance)
        else:
            yield _observation(patient, place, chance)


def _patient(patient: int, chance: random.Random) -> dict[str, Any]:
    family = f"{chance.choice(_FAMILIES)}{patient // 500 if patient >= 500 else ''}"
    return {
        "resourceType": "Patient",
        "id": f"p{patient}",
        "identifier": [{"system": "urn:mrn", "value": f"{patient:07}"}],
        "name": [{"family": family, "given": [f"Given{patient % 97}"]}],
        "gender": chance.choice(("female", "male")),
        "birthDate": f"{chance.randint(1930, 2015)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
    }


def _day(chance: random.Random) -> str:
    return f"{chance.randint(2010, 2024)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def _encounter(patient: int, place: int, chance: random.Random) -> dict[str, Any]:
    day = _day(chance)
    return {
        "resourceType": "Encounter",
        "id": f"e{patient}-{place}",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/p{patient}"},
        "period": {"start": f"{day}T09:00:00Z", "end": f"{day}T09:30:00Z"},
    }


def _observation(patient: int, place: int, chance: random.Random) -> dict[str, Any]:
    code = chance.randrange(CODES)
    category = "laboratory" if code % 2 == 0 else "vital-signs"
    return {
        "resourceType": "Observation",
        "id": f"o{patient}-{place}",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": "4548-4" if code == 0 else f"{code:04}-1"}]},
        "subject": {"reference": f"Patient/p{patient}"},
        "encounter": {"reference": f"Encounter/e{patient}-{1 + place % ENCOUNTERS}"},
        "effectiveDateTime": f"{_day(chance)}T10:00:00Z",
        "valueQuantity": {"value": round(chance.uniform(1, 200), 1), "unit": "%", "code": "%"},
    }


def queries(count: int) -> Sequence[Query]:
    """Return the lines; the patient they ask for is the one in the middle."""
    patient = f"p{count // PER_PATIENT // 2}"
    lab = (("category", "laboratory"),)
    a1c = "Observation?code=4548-4"
    return (
        Query("code", f"{a1c}&_count=2", 1),
        Query("code, scope of one category", f"{a1c}&_count=2", 1, lab),
        Query("code, scope that excludes everything", f"{a1c}&_count=2", 50, (("category", "vital-signs"),)),
        Query("exact total of the code", f"{a1c}&_summary=count"),
        Query(
            "patient, category, sorted by date",
            f"Observation?patient={patient}&category=laboratory&_sort=-date&_count=20",
            5,
        ),
        Query("all, sorted by date", "Observation?_sort=-date&_count=20"),
        Query("begin of a name", "Patient?name=smi"),
        Query("chain", "Observation?patient.name=smi&code=4548-4", 20),
        Query("chain, one patient", f"Observation?patient.identifier={patient[1:].zfill(7)}&code=4548-4", 20),
        Query("_has", "Patient?_has:Observation:patient:code=4548-4&_count=10", 20),
        Query("_has, no match", "Patient?_has:Observation:patient:code=none&_count=10", 20),
        Query("dates", "Encounter?date=ge2015&date=lt2016&_count=10"),
        Query("code and value of one element", "Observation?code-value-quantity=4548-4$gt190&_count=10"),
        Query("include", f"{a1c}&_count=10&_include=Observation:patient&_include=Observation:encounter"),
        Query("reverse include", f"Patient?_id={patient}&_revinclude=Observation:patient"),
    )


def fill(store: SqlStore, count: int) -> float:
    """Store the resources unless they are there; return resources a second, 0 when nothing was to be done."""
    last = f"p{(count - 1) // PER_PATIENT}"
    if store.read(EVERYTHING, "Patient", last) is not None:
        return 0
    start, batch = time.perf_counter(), list[dict[str, Any]]()
    for number, resource in enumerate(resources(count), 1):
        batch.append(resource)
        if len(batch) == BATCH or number == count:
            store.put(EVERYTHING, batch, now=time.time_ns() // 1_000)
            batch = []
    return count / (time.perf_counter() - start)


def measure(store: SqlStore, definitions: Definitions, *, count: int, rounds: int) -> list[str]:
    """Run every query so many times, in turn, and return the lines of the table."""
    parser = SearchParser(definitions, base_url=BASE)
    patient = f"p{count // PER_PATIENT // 2}"
    read = _timed(lambda: store.read(EVERYTHING, "Patient", patient), rounds)
    unit = min(read)
    lines = [_line("read by id", read, unit=unit, found="1", goal=None)]
    for query in queries(count):
        resource_type, _, text = query.url.partition("?")
        parsed = parser.query(resource_type, parse_qsl(text)).query
        alternatives = (parser.scope_criteria(resource_type, query.scope) or (),)
        constraint = Constraint("", alternatives, EVERYTHING.looked_through, EVERYTHING.included)
        page = store.search(constraint, parsed)
        found = str(page.total) if page.total is not None else f"{len(page.matches)} + {len(page.included)}"
        times = _timed(lambda constraint=constraint, parsed=parsed: store.search(constraint, parsed), rounds)
        lines.append(_line(query.name, times, unit=unit, found=found, goal=query.goal))
    return lines


def _timed(run: Any, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1_000)
    return times


def _line(name: str, times: list[float], *, unit: float, found: str, goal: float | None) -> str:
    median, late = statistics.median(times), sorted(times)[int(len(times) * 0.95)]
    wanted = "" if goal is None else f"{goal:g}"
    return f"| {name} | {found} | {min(times):.2f} | {median:.2f} | {late:.2f} | {min(times) / unit:.1f} | {wanted} |"


def imported(store: SqlStore, folder: Path, bundles: Path | None) -> float:
    """Load files with validation into a tenant of their own; return resources a second."""
    if bundles is not None:
        paths = sorted(bundles.glob("*.json*"))
    else:
        paths = [folder / "import.ndjson"]
        with paths[0].open("wb") as file:
            file.writelines(exact_json.dumps(resource) + b"\n" for resource in resources(IMPORTED))
    validator = Validator(load_structures())
    start = time.perf_counter()
    last = load_files(store, paths, tenant=f"import-{secrets.token_hex(4)}", validator=validator)
    assert last is not None
    return last.resources / (time.perf_counter() - start)


def exported(store: SqlStore, folder: Path) -> float:
    """Write observations to a file as a bulk export does; return resources a second."""
    start, count = time.perf_counter(), 0
    with store.snapshot() as snapshot, (folder / "export.ndjson").open("wb") as file:
        for row in islice(snapshot.rows(EVERYTHING, "Observation"), EXPORTED):
            file.write(row + b"\n")
            count += 1
    (folder / "export.ndjson").unlink()
    return count / (time.perf_counter() - start)


def report(
    name: str, store: SqlStore, definitions: Definitions, *, count: int, rounds: int, bundles: Path | None = None
) -> list[str]:
    """Fill the store and measure it; return a section of the page."""
    rate = fill(store, count)
    if rate:
        store.analyze()
    stored = f"Stored {rate:,.0f} resources a second." if rate else "The resources were there."
    head = ["| query | found | least ms | median ms | p95 ms | reads | goal ms |", "|---|---|---|---|---|---|---|"]
    lines = measure(store, definitions, count=count, rounds=rounds)
    with tempfile.TemporaryDirectory() as folder:
        out, into = exported(store, Path(folder)), imported(store, Path(folder), bundles)
    rates = f"Export: {out:,.0f} resources a second (goal 20,000). Import with validation: {into:,.0f} (goal 2,000)."
    return [f"### {name}, {count:,} resources", "", stored, "", *head, *lines, "", rates, ""]


def main(arguments: Sequence[str]) -> int:
    """Run the bench; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m bench.fhir")
    parser.add_argument("--resources", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--only", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--database")
    parser.add_argument("--bundles", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    definitions = load_definitions()
    lines: list[str] = []
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.only or ("sqlite", "postgresql"):
            store = open_store(options.database or _url(name, folder, stack), definitions, for_loading=True)
            stack.callback(store.close)
            lines += report(
                name,
                store,
                definitions,
                count=options.resources,
                rounds=options.rounds,
                bundles=options.bundles,
            )
    text = "\n".join(lines)
    sys.stdout.write(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")
    return 0


def _url(name: str, folder: Path, stack: ExitStack) -> str:
    if name == "sqlite":
        return f"sqlite:///{folder}/fhir-bench.sqlite3"
    cluster = PostgresCluster()
    stack.callback(cluster.stop)
    return cluster.create_database()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
