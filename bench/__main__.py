"""Measure the server beside its floors and its peers, and print the result as Markdown.

    python -m bench [--seconds N] [--rounds N] [--only PART]... [--write PAGE]

PART is one of: floors, tokens, introspection, audit, postgresql, growth, process. Needs wrk; node, npm, Glewlwyd
and PostgreSQL are used where they are. The server has core 0, the driver core 1; everything listens on the loopback
alone.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import floors, glewlwyd, growth, machine, runs, servers
from bench.bodies import BenchKey, new_key
from bench.report import Report
from bench.runs import Settings, asking_for_tokens, new_introspection, repeating_introspection, take_turns
from bench.servers import Server, new_folder
from tests.postgres import PostgresCluster

Part = Callable[["Bench"], None]
RATE, PEER_RATE, SLOW_RATE = 6_000.0, 4_500.0, 800.0
"""Requests a second that files are made for at first; what a run shows then decides."""

WITHOUT_AUDIT = "authserver, no audit"

PEER_CONNECTIONS = (8, 16)
"""With how many connections the slower peers are measured."""

CLIENTS, JTIS, STARTS = 100_000, 1_000_000, 7
GLEWLWYD_JTIS = 100_000


class Bench:
    """One run of the bench: its keys, its folder, its report."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.report = settings, Report()
        self.rs384, self.es384 = new_key("RS384"), new_key("ES384")

    @property
    def keys(self) -> list[BenchKey]:
        """The keys of the bench's clients."""
        return [self.rs384, self.es384]

    def folder(self, name: str) -> Path:
        """Return a new folder for a server."""
        return new_folder(self.settings.folder, name)

    @contextmanager
    def peers(self, *, tokens: str) -> Iterator[list[Server]]:
        """Run the peers that are installed."""
        with ExitStack() as stack:
            found = []
            installed = servers.oidc_provider_folder()
            if installed is not None:
                peer = servers.oidc_provider(self.folder("node"), self.keys, tokens=tokens, installed=installed)
                found.append(stack.enter_context(peer))
            found.append(stack.enter_context(servers.authlib_on_flask(self.folder("authlib"), self.keys)))
            yield found

    @contextmanager
    def fresh(self, connections: int) -> Iterator[list[Server]]:
        """Run the peer that each assertion makes slower, anew for a table with so many connections; [] without it.

        Twice: first with a write-ahead log, then as it is installed.
        """
        if connections not in PEER_CONNECTIONS or not glewlwyd.is_installed():
            yield []
            return
        tuned = glewlwyd.glewlwyd(self.folder("glewlwyd"), self.keys)
        installed = glewlwyd.glewlwyd(
            self.folder("glewlwyd"), self.keys, name=glewlwyd.AS_INSTALLED, write_ahead_log=False
        )
        with tuned as first, installed as second:
            yield [first, second]


def floor(bench: Bench) -> None:
    """Measure the pieces of work that nobody can do without."""
    pieces = {floors.HTTP: _http_alone(bench), **floors.measured()}
    rows = [[name, f"{value:.1f}"] for name, value in pieces.items()]
    rows.append(["token request with an RS384 client, sum", f"{sum(pieces[name] for name in floors.TOKEN):.1f}"])
    bench.report.table("Floors, µs of one core", ["work", "µs"], rows)


def _http_alone(bench: Bench) -> float:
    """Return what it takes to read a token request and to send as much as a token, both over the loopback."""
    settings, key = bench.settings, bench.rs384
    with servers.bare_http(bench.folder("http")) as bare:
        contender = runs.sending_forms(bare, key, settings=settings)
        (found,) = take_turns([contender], connections=16, settings=settings)
    return found.cpu_each


def tokens(bench: Bench) -> None:
    """Token requests on SQLite, without the audit and with it, beside the peers."""
    with ExitStack() as stack:
        own = [
            stack.enter_context(servers.ours(bench.folder("ours"), bench.keys, name=name, audit=audit))
            for name, audit in ((WITHOUT_AUDIT, False), ("authserver", True))
        ]
        peers = stack.enter_context(bench.peers(tokens="jwt"))
        for key in bench.keys:
            for connections in (1, 8, 16, 64):
                _tokens(bench, own, peers, key=key, connections=connections)


def _tokens(bench: Bench, own: Sequence[Server], peers: Sequence[Server], *, key: BenchKey, connections: int) -> None:
    settings = bench.settings
    with bench.fresh(connections) as fresh:
        contenders = [asking_for_tokens(one, key, settings=settings, expected=RATE) for one in own]
        asked = [*(peers if connections in PEER_CONNECTIONS else peers[:1]), *fresh]
        for peer in asked:
            rate = PEER_RATE if "node" in peer.name else SLOW_RATE
            contenders.append(asking_for_tokens(peer, key, settings=settings, expected=rate))
        found = take_turns(contenders, connections=connections, settings=settings)
        bench.report.contest(f"Tokens, {key.algorithm} clients, {connections} connections", found)
        if key is bench.rs384 and connections == PEER_CONNECTIONS[-1]:
            rows = [[one.name, _memory(machine.memory_mib(one.processes[-1]))] for one in (*own, *asked)]
            bench.report.table("Memory after it: resident, its own, MiB", ["", ""], rows)


def introspection(bench: Bench) -> None:
    """Introspection on SQLite, beside the peers."""
    settings, key = bench.settings, bench.rs384
    with servers.ours(bench.folder("ours"), bench.keys) as own, bench.peers(tokens="opaque") as peers:
        for connections in (1, 8, 16, 64):
            with bench.fresh(connections) as fresh:
                asked = (own, *peers, *fresh[:1])  # which does not write here
                contenders = [repeating_introspection(server, key, settings=settings) for server in asked]
                found = take_turns(contenders, connections=connections, settings=settings)
            bench.report.contest(f"Introspection of 100 tokens over and over, {connections} connections", found)
        short = Settings(1, settings.rounds, settings.folder)
        rates = zip((own, *peers), (9_000.0, 9_000.0, 2_000.0), strict=False)
        contenders = [new_introspection(one, key, settings=short, expected=rate) for one, rate in rates]
        found = take_turns(contenders, connections=8, settings=short)
        bench.report.contest("Introspection, every token new, 8 connections", found)


def audit(bench: Bench) -> None:
    """Token requests with the audit and without it, on SQLite and on PostgreSQL."""
    settings, key = bench.settings, bench.rs384
    cluster = PostgresCluster()
    try:
        for kind in ("SQLite", "PostgreSQL"):
            with ExitStack() as stack:
                running = []
                for switch, on in (("audit", True), ("no audit", False)):
                    database = cluster.create_database() if kind == "PostgreSQL" else None
                    own = servers.ours(
                        bench.folder("audit"), bench.keys, name=f"{kind}, {switch}", database=database, audit=on
                    )
                    running.append(stack.enter_context(own))
                for connections in (16,):
                    contenders = [asking_for_tokens(one, key, settings=settings, expected=RATE) for one in running]
                    found = take_turns(contenders, connections=connections, settings=settings)
                    bench.report.contest(f"Audit, {kind}, RS384 clients, {connections} connections", found)
    finally:
        cluster.stop()


def postgresql(bench: Bench) -> None:
    """Token requests with PostgreSQL, one worker and two, without the audit."""
    settings, key = bench.settings, bench.rs384
    cluster = PostgresCluster()
    try:
        with ExitStack() as stack:
            running = []
            for workers in (1, 2):
                name = f"authserver, PostgreSQL, {workers} worker{'s' if workers > 1 else ''}"
                database = cluster.create_database()
                own = servers.ours(
                    bench.folder("pg"), bench.keys, name=name, database=database, workers=workers, audit=False
                )
                running.append(stack.enter_context(own))
            running.append(
                stack.enter_context(
                    servers.ours(bench.folder("ours"), bench.keys, name="authserver, SQLite", audit=False)
                )
            )
            running += stack.enter_context(bench.peers(tokens="jwt"))[:1]
            for connections in (1, 16, 64):
                contenders = [asking_for_tokens(one, key, settings=settings, expected=RATE) for one in running]
                found = take_turns(contenders, connections=connections, settings=settings)
                bench.report.contest(f"Tokens with PostgreSQL, RS384 clients, {connections} connections", found)
    finally:
        cluster.stop()


def grown(bench: Bench) -> None:
    """Token requests with much in the database, every request by another client, without the audit."""
    settings, key = bench.settings, bench.rs384
    empty, full, jtis = (bench.folder(name) for name in ("empty", "grown", "jtis"))
    with ExitStack() as stack:
        running = [
            stack.enter_context(servers.ours(folder, bench.keys, name=name, audit=False))
            for folder, name in (
                (empty, "empty, one client"),
                (jtis, f"{JTIS:,} jtis, one client"),
                (full, f"{CLIENTS:,} clients and policies, each request another client"),
            )
        ]
        growth.fill(f"sqlite:///{jtis}/instance/authserver.sqlite3", key=key, clients=0, jtis=JTIS)
        database = f"sqlite:///{full}/instance/authserver.sqlite3"
        names = growth.fill(database, key=key, clients=CLIENTS, jtis=0)
        contenders = [asking_for_tokens(one, key, settings=settings, expected=RATE) for one in running[:2]]
        contenders.append(asking_for_tokens(running[2], key, settings=settings, expected=RATE, clients=names))
        found = take_turns(contenders, connections=16, settings=settings)
    bench.report.contest("Growth: tokens on SQLite, RS384 clients, 16 connections", found)
    if glewlwyd.is_installed():
        _grown_glewlwyd(bench)


def _grown_glewlwyd(bench: Bench) -> None:
    settings, key = bench.settings, bench.rs384
    with ExitStack() as stack:
        contenders = []
        for jtis, held in ((0, "empty"), (GLEWLWYD_JTIS, f"{GLEWLWYD_JTIS:,} jtis")):
            name = f"{glewlwyd.NAME}, {held}"
            peer = glewlwyd.glewlwyd(bench.folder("glewlwyd"), bench.keys, name=name, used_jtis=jtis)
            running = stack.enter_context(peer)
            contenders.append(asking_for_tokens(running, key, settings=settings, expected=SLOW_RATE))
        found = take_turns(contenders, connections=16, settings=settings)
    bench.report.contest("Growth of a peer: tokens, RS384 clients, 16 connections", found)


def process(bench: Bench) -> None:
    """Start-up time and memory."""
    key, settings = bench.rs384, bench.settings
    times = []
    folder = bench.folder("start")
    for _ in range(STARTS):
        with servers.ours(folder, []) as own:
            times.append(own.started_after)
    rows = [["start to the first answer of /readyz, s", f"{machine.median(times[1:]):.2f}"]]
    cluster = PostgresCluster()
    try:
        database = cluster.create_database()
        with servers.ours(bench.folder("memory"), bench.keys, database=database, workers=2) as own:
            contender = asking_for_tokens(own, key, settings=settings, expected=RATE)
            take_turns([contender], connections=16, settings=settings)
            supervisor = machine.memory_mib(own.process.pid)
            workers = [machine.memory_mib(number) for number in own.processes]
    finally:
        cluster.stop()
    rows.append(["supervisor, resident and its own, MiB", _memory(supervisor)])
    rows += [[f"worker {number}, resident and its own, MiB", _memory(one)] for number, one in enumerate(workers, 1)]
    bench.report.table("Start and memory, PostgreSQL, two workers, after load", ["", ""], rows)


def _memory(sizes: tuple[float, float]) -> str:
    return f"{sizes[0]:.0f}, {sizes[1]:.0f}"


PARTS: dict[str, Part] = {
    "floors": floor,
    "tokens": tokens,
    "introspection": introspection,
    "audit": audit,
    "postgresql": postgresql,
    "growth": grown,
    "process": process,
}


def main() -> int:
    """Run the parts that were asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=3, help="length of one run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender; the median counts")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be given again")
    parser.add_argument("--write", type=Path, help="a page to put the result into")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.stderr.write("The bench needs wrk: install it as a system package.\n")
        return 2
    if not glewlwyd.is_installed():
        sys.stderr.write("Glewlwyd is left out: Debian's package glewlwyd is not installed.\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Settings(options.seconds, options.rounds, Path(folder)))
        bench.report.facts("Machine", machine.described() | {"code": machine.commit(servers.ROOT)})
        for name in options.only or PARTS:
            sys.stderr.write(f"{name} ...\n")
            PARTS[name](bench)
    sys.stdout.write(bench.report.text)
    if options.write is not None:
        bench.report.write_into(options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
