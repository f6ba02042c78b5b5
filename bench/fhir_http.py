"""Measure the FHIR layer over HTTP: searches, reads with and without their records, creates, introspection elsewhere.

    python -m bench.fhir_http --folder PATH [--resources N] [--seconds N] [--rounds N] [--write PAGE]

The folder is the one in which `python -m bench.fhir --folder PATH --resources N` left its SQLite file; without a folder
10,000 resources are stored first. What is written meanwhile (AuditEvents, Observations of a code that is not
searched for) stays in the file. The server has core 0, wrk core 1. One server at a time: a SQLite file has no more.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import requests

from authserver.cli.demo_server import free_port
from authserver.fhir.definitions.tables import load_definitions
from authserver.fhir.store.sql_store import open_store
from bench import machine, servers
from bench.bodies import BenchKey, new_key, token_requests
from bench.fhir import LOINC, PER_PATIENT, fill
from bench.report import Report
from bench.servers import Server, client_of
from bench.wrk import Load, repeat

FILE = "fhir-bench.sqlite3"
SCOPE = "system/*.cruds"
SEARCH = "Observation?code=4548-4&_count=2"
WARM_UP_SECONDS = 1
CONNECTIONS = (1, 8)
Run = Callable[[int], Load]


def main(arguments: Sequence[str]) -> int:
    """Run the bench; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m bench.fhir_http")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--resources", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    report = Report()
    report.facts("Machine", machine.described())
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = options.folder or Path(temporary)
        if options.folder is None:
            _fill(folder, options.resources)
        bench = Bench(folder / FILE, Path(temporary), seconds=options.seconds, rounds=options.rounds, stack=stack)
        bench.all(report, patient=f"p{options.resources // PER_PATIENT // 2}")
    sys.stdout.write(report.text)
    if options.write is not None:
        options.write.write_text(report.text, encoding="utf-8")
    return 0


def _fill(folder: Path, count: int) -> None:
    store = open_store(f"sqlite:///{folder / FILE}", load_definitions(), for_loading=True)
    try:
        fill(store, count)
    finally:
        store.close()


class Bench:
    """The servers over one file, of which one is asked at a time."""

    def __init__(self, database: Path, folder: Path, *, seconds: int, rounds: int, stack: ExitStack) -> None:
        self._url, self._folder = f"sqlite:///{database.absolute()}", folder
        self._seconds, self._rounds, self._stack = seconds, rounds, stack
        self._key = new_key("RS384")

    def all(self, report: Report, *, patient: str) -> None:
        """Measure everything."""
        with self._serving(records=False) as (server, token):
            self._searches(report, server, token, patient=patient)
            self._creates(report, server, token)
        for connections in CONNECTIONS:
            self._reads(report, f"Patient/{patient}", connections=connections)
        self._elsewhere(report)

    def _searches(self, report: Report, server: Server, token: str, *, patient: str) -> None:
        queries = (
            f"Patient/{patient}",
            SEARCH,
            "Observation?code=4548-4&_count=50",
            f"Observation?patient={patient}&category=laboratory&_sort=-date&_count=20",
        )
        found = {query: self._loads(self._get(server, token, query, connections=1)) for query in queries}
        _table(report, "One connection, introspection within the process, reads not recorded", found)

    def _reads(self, report: Report, path: str, *, connections: int) -> None:
        found: dict[str, list[Load]] = {"reads recorded": [], "not recorded": []}
        for _ in range(self._rounds):
            for name, loads in found.items():
                with self._serving(records=name == "reads recorded") as (server, token):
                    run = self._get(server, token, path, connections=connections)
                    run(WARM_UP_SECONDS)
                    loads.append(run(self._seconds))
        _table(report, f"Reads by id, {connections} connections", found)

    def _creates(self, report: Report, server: Server, token: str) -> None:
        body = self._folder / "observation.json"
        observation = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": LOINC, "code": "0000-0"}]},
            "effectiveDateTime": "2024-05-11T12:00:00Z",
            "valueQuantity": {"value": 7.2, "unit": "%"},
        }
        body.write_text(json.dumps(observation))
        url, bearer = f"{server.base}/fhir/Observation", f"Bearer {token}"

        def create(seconds: int) -> Load:
            return repeat(url, connections=1, seconds=seconds, authorization=bearer, method="POST", body=body)

        found = {"POST Observation": self._loads(create)}
        _table(report, "Creates, validated and with their records, one connection", found)

    def _elsewhere(self, report: Report) -> None:
        port = free_port()
        settings = {"AUTHSERVER_FHIR_DATABASE_URL": self._url, "AUTHSERVER_FHIR_AUDIT_READS": "false"}
        audience = {"AUTHSERVER_FHIR_BASE_URL": f"http://127.0.0.1:{port}/fhir"}
        with ExitStack() as stack:
            authorizing = stack.enter_context(
                servers.ours(servers.new_folder(self._folder, "auth"), [self._key], more=audience)
            )
            alone = servers.fhir_alone(
                servers.new_folder(self._folder, "fhir"), authorizing, settings=settings, port=port
            )
            layer = stack.enter_context(alone)
            token = self._token(authorizing)
            found = {"process of its own": self._loads(self._get(layer, token, SEARCH, connections=1))}
            _table(report, f"Introspection over HTTP, {SEARCH}", found)

    @contextmanager
    def _serving(self, *, records: bool) -> Iterator[tuple[Server, str]]:
        more = {"AUTHSERVER_FHIR_DATABASE_URL": self._url, "AUTHSERVER_FHIR_AUDIT_READS": str(records).lower()}
        folder = servers.new_folder(self._folder, "both")
        with servers.ours(folder, [self._key], part=(), more=more) as server:
            yield server, self._token(server)

    def _token(self, server: Server) -> str:
        client = client_of("RS384")
        servers.put(server, f"Client/{client}", {**servers.client_resource(self._key), "scope": [SCOPE]})
        link = [{"id": client, "resourceType": "Client"}]
        servers.put(server, f"AccessPolicy/{client}", {"engine": "allow", "link": link})
        return _token(server, self._key, client, folder=self._folder)

    def _get(self, server: Server, token: str, path: str, *, connections: int) -> Run:
        url, bearer = f"{server.base}/fhir/{path}", f"Bearer {token}"
        return lambda seconds: repeat(url, connections=connections, seconds=seconds, authorization=bearer)

    def _loads(self, run: Run) -> list[Load]:
        run(WARM_UP_SECONDS)
        return [run(self._seconds) for _ in range(self._rounds)]


def _table(report: Report, title: str, found: Mapping[str, Sequence[Load]]) -> None:
    rates = {name: statistics.median(load.per_second for load in loads) for name, loads in found.items()}
    last = list(rates.values())[-1]
    rows = [_row(name, loads, rate=rates[name], last=last) for name, loads in found.items()]
    report.table(title, ["", "a second", "this : last", "p50 ms", "p99 ms", "refused or broken"], rows)


def _row(name: str, found: Sequence[Load], *, rate: float, last: float) -> list[str]:
    p50, p99 = (
        statistics.median(values) / 1_000 for values in zip(*((one.p50, one.p99) for one in found), strict=True)
    )
    failures = sum(one.refused + one.broken for one in found)
    return [name, f"{rate:,.0f}", f"{rate / last:.2f}", f"{p50:.2f}", f"{p99:.2f}", str(failures)]


def _token(server: Server, key: BenchKey, client: str, *, folder: Path) -> str:
    path = token_requests(folder / "request", key, [client], audience=server.audience, processes=1)
    form = [(name, SCOPE if name == "scope" else value) for name, value in parse_qsl(path.read_text().strip())]
    answer = requests.post(server.token_url, data=form, timeout=10)
    if answer.status_code != 200:
        raise RuntimeError(f"{server.token_url}: {answer.status_code} {answer.text[:300]}")
    return str(answer.json()["access_token"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
