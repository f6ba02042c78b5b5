"""Faults 18 and 19: the files of SQLite damaged as crashes and hands do, and an upgrade of a schema with data in it."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config

from authserver.adapters import sql
from authserver.adapters.sql.engine import open_engine
from tests.cli.programs import run as run_command
from tests.faults import wire
from tests.faults.clients import Assertion, Client, make_client
from tests.faults.driver import Load, introspection
from tests.faults.oracle import Fault, Violation
from tests.faults.rounds import Outcome, merged, run, settle
from tests.faults.servers import ServerGroup, serving, start_fails
from tests.postgres import PostgresCluster

FRAME_BYTES = 24 + 4096
"""A frame of the write-ahead log: its header and a page (https://www.sqlite.org/fileformat2.html#walformat)."""

_TOKENS = 40


@dataclass(frozen=True, slots=True)
class Known:
    """What a server acknowledged: a version of a client, used assertions, a revoked token and another."""

    client: Client
    version: int
    used: list[Assertion]
    kept: str
    revoked: str


def acknowledge(group: ServerGroup) -> Known:
    """Let a running server acknowledge something of each kind; the last thing is a token."""
    connection, client = wire.Connection(group.port), make_client("lasting")
    answers = [connection.ask(one) for one in (client.registration(), client.policy(), client.registration(named="b"))]
    kept, revoked = (connection.ask(client.assertion().request).json()["access_token"] for _ in range(2))
    assert connection.ask(wire.form("/auth/revoke", {"token": revoked})).status == 200
    used = [client.assertion() for _ in range(_TOKENS)]
    assert {connection.ask(one.request).status for one in used} == {200}
    connection.close()
    return Known(client, int(answers[-1].json()["meta"]["versionId"]), used, kept, revoked)


def lost(group: ServerGroup, known: Known) -> Iterator[str]:
    """Yield what a running server no longer knows of it."""
    connection = wire.Connection(group.port)
    read = connection.ask(wire.get(f"/Client/{known.client.id}"))
    if read.status != 200 or int(read.json()["meta"]["versionId"]) < known.version:
        yield f"registration: {read.status}"
    again = [connection.ask(one.request).status for one in known.used]
    if set(again) != {400}:
        yield f"{len(again) - again.count(400)} of {len(again)} assertions were good again"
    active = [connection.ask(introspection(token)).json().get("active") for token in (known.kept, known.revoked)]
    if active != [True, False]:
        yield f"kept and revoked token active: {active}"
    if connection.ask(known.client.assertion().request).status != 200:
        yield "no new token"
    connection.close()


def _without_shm(database: Path) -> None:
    Path(f"{database}-shm").unlink()


def _torn_frame(database: Path) -> None:
    """Put half a frame at the end of the log, as a crash in the middle of a write does."""
    with Path(f"{database}-wal").open("ab") as log:
        log.write(bytes(range(256)) * (FRAME_BYTES // 512))


def _garbage_shm(database: Path) -> None:
    shared = Path(f"{database}-shm")
    shared.write_bytes(b"\xa5" * shared.stat().st_size)


def _damaged_log(database: Path) -> None:
    """Change a byte in the middle of the log."""
    with Path(f"{database}-wal").open("r+b") as log:
        log.seek(log.seek(0, 2) // 2)
        log.write(b"\xa5\x5a\xa5")


def _emptied_log(database: Path) -> None:
    Path(f"{database}-wal").write_bytes(b"")


def _damaged_page(database: Path) -> None:
    """Overwrite every page of the file but the first."""
    checkpointed = sqlite3.connect(database)
    checkpointed.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    checkpointed.close()
    with database.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def _damaged_header(database: Path) -> None:
    _damaged_page(database)
    with database.open("r+b") as file:
        file.write(b"\xa5" * 4096)


HARMLESS: dict[str, Callable[[Path], None]] = {
    "-shm is missing": _without_shm,
    "-shm is garbage": _garbage_shm,
    "last frame of the log is torn": _torn_frame,
}
FATAL: dict[str, Callable[[Path], None]] = {
    "a byte of the log is another": _damaged_log,
    "the log is empty": _emptied_log,
    "pages are garbage": _damaged_page,
    "the header is garbage": _damaged_header,
}


def damaged() -> Outcome:
    """Kill a server, damage its files, start it: it loses nothing, or it does not serve."""
    found: list[Violation] = []
    for name, damage in HARMLESS.items():
        with TemporaryDirectory() as folder:
            group = ServerGroup(Path(folder))
            known = _killed_after_answers(group)
            damage(_database(group))
            with serving(group):
                found += [Violation(name, problem) for problem in lost(group, known)]
    for name, damage in FATAL.items():
        with TemporaryDirectory() as folder:
            group = ServerGroup(Path(folder))
            _killed_after_answers(group)
            damage(_database(group))
            if (code := start_fails(group)) != 1:
                found.append(Violation(name, f"the start ended with {code}"))
    return Outcome("SQLite's files damaged", {"harmless": len(HARMLESS), "refused at start": len(FATAL)}, found)


def _killed_after_answers(group: ServerGroup) -> Known:
    with serving(group):
        known = acknowledge(group)
        group.kill_all()
    return known


def _database(group: ServerGroup) -> Path:
    (database,) = (group.folder / "instance").glob("*.sqlite3")
    return database


def upgraded(times: int, cluster: PostgresCluster) -> Outcome:
    """Under load, so many times on each kind of database: stop the server, take the database and its data back to the
    previous schema, upgrade it as an operator does, start the server."""
    records = []
    for kind in ("SQLite", "PostgreSQL"):
        with TemporaryDirectory() as folder:
            group = ServerGroup(Path(folder))
            url = f"sqlite:///{folder}/registry.sqlite3" if kind == "SQLite" else cluster.create_database()
            group.variables = {"AUTHSERVER_DATABASE_URL": url}
            with serving(group):
                records.append(run([group.port], partial(_upgrade_some, group, url, times), reasons=group.reasons))
    return merged("upgrade from the previous schema", records)


def _upgrade_some(group: ServerGroup, url: str, times: int, load: Load) -> list[Fault]:
    return [_upgrade(group, url, load) for _ in range(times)]


def _upgrade(group: ServerGroup, url: str, load: Load) -> Fault:
    settle(load)
    began = time.monotonic()
    group.stop()
    to_previous_schema(url)
    done = run_command(group.folder, "db", "upgrade", AUTHSERVER_DEV="true", AUTHSERVER_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    fault = Fault("upgraded", began, group.start())
    load.await_token(fault.ended)
    return fault


def to_previous_schema(url: str) -> None:
    """Undo the newest migration."""
    config = Config()
    config.set_main_option("script_location", str(Path(sql.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    engine = open_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    engine.dispose()
