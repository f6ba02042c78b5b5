"""Faults 3, 4 and 5: an answer waits for the disk, a disk that fails, a disk that is full. On SQLite."""

import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.faults import traces, wire
from tests.faults.clients import Client, make_client
from tests.faults.driver import Load
from tests.faults.oracle import Answered, Fault, Introspection, Revocation, Violation
from tests.faults.rounds import Outcome, Record, merged, run
from tests.faults.servers import ServerGroup, send, serving, until

_FAULT_SECONDS = 2.0
_TMPFS_BYTES = 16 << 20
"""Room for the write-ahead log, which SQLite folds into the database when it has 4 MB."""


def traced(count: int) -> Outcome:
    """Prove by strace that each acknowledged token, registration and revocation waited for a sync of the log."""
    name = "fsync before the answer"
    if reason := no_strace():
        return Outcome(name, skipped=reason)
    with tempfile.TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder))
        with serving(group):
            client, connection = make_client("traced"), wire.Connection(group.port)
            answers = [connection.ask(request) for request in (client.registration(), client.policy())]
            shown = ("-y", "-ttt", "-T", "-s", str(traces.TEXT_BYTES), "-e", f"trace={traces.CALLS}")
            with strace(group.worker_pids(), "-ff", "-o", f"{folder}/trace", *shown):
                answers += _changes(connection, client, count)
            connection.close()
        seen = [file.read_text("utf-8", errors="replace") for file in Path(folder).glob("trace.*")]
        calls = traces.parse(line for text in seen for line in text.splitlines())
    return _judged(name, calls, answers, count)


def _changes(connection: wire.Connection, client: Client, count: int) -> list[wire.Answer]:
    """Ask for tokens, register, revoke: each request alone, so that every write between is its own."""
    answers = []
    for number in range(count):
        answers.append(connection.ask(client.assertion().request))
        token = answers[-1].json().get("access_token", "")
        answers.append(connection.ask(wire.form("/auth/revoke", {"token": token})))
        answers.append(connection.ask(client.registration(named=f"name {number}")))
    return answers


def _judged(name: str, calls: Sequence[traces.Call], answers: Sequence[wire.Answer], count: int) -> Outcome:
    seen, bad = traces.acknowledged(calls), traces.unsafe(calls)
    found = [Violation("answered before the disk", str(one)) for one in bad]
    found += [Violation("failure", f"{answer.status}") for answer in answers if answer.status not in (200, 201)]
    if len(seen) != 3 * count:  # every acknowledgement must have been seen, or the proof has holes
        found.append(Violation("void", f"{len(seen)} of {3 * count} acknowledgements in the trace"))
    syncs = sum(1 for call in calls if call.name in ("fdatasync", "fsync") and call.path.endswith("-wal"))
    return Outcome(name, {"acknowledgements": len(seen), "before the disk": len(bad), "syncs": syncs}, found)


def disk_errors() -> Outcome:
    """Let every sync fail with EIO for a while: nothing is acknowledged meanwhile, and it recovers alone."""
    name = "EIO on fdatasync"
    if reason := no_strace():
        return Outcome(name, skipped=reason)
    with tempfile.TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder))

        def inject(load: Load) -> list[Fault]:
            options = ("-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync")
            began = time.monotonic()
            with strace(group.worker_pids(), *options, "-e", "inject=fdatasync,fsync:error=EIO"):
                attached = time.monotonic()
                time.sleep(_FAULT_SECONDS)
                detached = time.monotonic()
            fault = Fault("EIO", began, time.monotonic())
            broken.append((attached, detached))
            load.await_token(fault.ended)
            return [fault]

        broken: list[tuple[float, float]] = []
        with serving(group):
            record = run([group.port], inject, reasons=group.reasons)
    outcome = merged(name, [record], **during(record, broken[-1]))
    return Outcome(name, outcome.figures, [*outcome.violations, *acknowledged_during(record, broken[-1])])


def full_disk() -> Outcome:
    """Fill the file system of the database: 503 for what must be written, reads go on, it recovers alone."""
    name = "disk full"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as small:
        if reason := _mount(Path(small)):
            return Outcome(name, skipped=reason)
        try:
            return _filled(name, Path(folder), Path(small))
        finally:
            subprocess.run(["umount", small], check=True)


def _filled(name: str, folder: Path, small: Path) -> Outcome:
    database, ballast = small / "registry.sqlite3", small / "ballast"
    group = ServerGroup(folder, {"AUTHSERVER_DATABASE_URL": f"sqlite:///{database}"})
    broken: list[tuple[float, float]] = []

    def inject(load: Load) -> list[Fault]:
        began = time.monotonic()
        _fill(ballast)
        until(lambda: any(one.status == 503 for one in load.log[-20:]), seconds=30)
        full = time.monotonic()
        time.sleep(_FAULT_SECONDS)
        broken.append((full, time.monotonic()))
        ballast.unlink()
        fault = Fault("disk full", began, time.monotonic())
        load.await_token(fault.ended)
        return [fault]

    with serving(group):
        record = run([group.port], inject, reasons=group.reasons)
    checked = sqlite3.connect(database)
    sound = checked.execute("PRAGMA integrity_check").fetchone()[0]
    checked.close()
    figures = during(record, broken[-1])
    outcome = merged(name, [record], **figures, integrity=sound)
    found = [*outcome.violations]
    if sound != "ok":
        found.append(Violation("corruption", str(sound)))
    if not figures["introspections answered"]:
        found.append(Violation("failure", "no introspection was answered while the disk was full"))
    if not figures["answers 503"]:
        found.append(Violation("void", "the disk was not full"))
    return Outcome(name, outcome.figures, found)


def _fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


def during(record: Record, span: tuple[float, float]) -> dict[str, object]:
    """Return what was answered within the span."""
    within = _within(record.log, span)
    answered = [one for one in within if isinstance(one, Introspection) and one.status == 200]
    return {
        "answers 503": sum(1 for one in within if one.status == 503),
        "introspections answered": len(answered),
        "acknowledged meanwhile": len(_acknowledged(within)),
    }


def acknowledged_during(record: Record, span: tuple[float, float]) -> list[Violation]:
    """Return what was acknowledged though nothing could be synced; a token that was revoked before stays revoked."""
    before = {one.token for one in record.log if isinstance(one, Revocation) and one.status == 200 and one.at < span[0]}
    new = [one for one in _acknowledged(_within(record.log, span)) if getattr(one, "token", None) not in before]
    return [Violation("acknowledged without the disk", type(one).__name__) for one in new]


def _acknowledged(log: Sequence[Answered]) -> list[Answered]:
    return [one for one in log if one.status in (200, 201) and not isinstance(one, Introspection)]


def _within(log: Sequence[Answered], span: tuple[float, float]) -> list[Answered]:
    """Return what was sent and answered within the span."""
    return [one for one in log if one.sent > span[0] and one.at < span[1]]


def _mount(folder: Path) -> str:
    """Mount a small tmpfs; return why that cannot be done, or nothing."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS_BYTES},mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no tmpfs can be mounted: {done.stderr.strip()}" if done.returncode else ""


def no_strace() -> str:
    """Return why strace cannot be used, or nothing."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace does not work: {done.stderr.strip()}" if done.returncode else ""


@contextmanager
def strace(pids: Sequence[int], *options: str) -> Iterator[None]:
    """Attach strace to the processes, with all their threads, for a while."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            ["strace", *options, *(part for pid in pids for part in ("-p", str(pid)))], stdout=said, stderr=said
        )
        try:
            assert until(lambda: all(map(_is_traced, pids)) or process.poll() is not None, seconds=10)
            assert process.poll() is None, "strace has ended"
            yield
        finally:
            send(process.pid, signal.SIGINT)
            process.wait(20)


def _is_traced(pid: int) -> bool:
    statuses = Path(f"/proc/{pid}/task").glob("*/status")
    return all("TracerPid:\t0\n" not in status.read_text() for status in statuses)
