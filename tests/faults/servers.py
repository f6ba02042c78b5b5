"""Server groups as real processes, by process id: started, killed in parts or whole, started again, stopped."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from authserver.cli.demo_server import free_port
from tests.builders import ROOT_SECRET
from tests.cli.programs import COMMAND, environment
from tests.faults import wire
from tests.faults.clients import ISSUER

START_SECONDS = 30.0


@dataclass
class ServerGroup:
    """`authserver serve auth` with its workers, on one port, in a folder of its own."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    prefix: Sequence[str] = ()
    """A command that runs the server, such as strace with its options."""
    replaced: bool = False
    """Whether that command becomes the server, and so has its process id."""
    port: int = field(default_factory=free_port)
    inherited: Sequence[int] = ()
    """Descriptors of this process that it gets."""

    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> float:
        """Start it without waiting; return the moment (monotonic seconds)."""
        settings = {
            "AUTHSERVER_LOG_FORMAT": "json",
            "AUTHSERVER_ISSUER": ISSUER,
            "AUTHSERVER_ROOT_SECRET": ROOT_SECRET,
            "TMPDIR": str(self.folder),  # who is killed leaves things behind
            **self.variables,
        }
        began = time.monotonic()
        arguments = ["serve", "auth", "--dev", "--port", str(self.port), "--workers", str(self.workers)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *COMMAND, *arguments],
                cwd=self.folder,
                env=environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=self.inherited,
            )
        return began

    def wait(self) -> None:
        """Wait until it answers; raises AssertionError with its log when it does not."""
        connection = wire.Connection(self.port)
        assert until(lambda: self._answers(connection), seconds=START_SECONDS), self.logged[-4_000:]
        connection.close()

    def _answers(self, connection: wire.Connection) -> bool:
        assert self.process.poll() is None, self.logged[-4_000:]
        return connection.ask(wire.get("/healthz")).status == 200

    @property
    def log(self) -> Path:
        """Where its stderr goes."""
        return self.folder / "serve.log"

    @property
    def logged(self) -> str:
        """What it wrote so far, over all its lives."""
        return self.log.read_text("utf-8")

    def reasons(self) -> dict[str, str]:
        """Return the reason of each refusal, by request id."""
        lines = (line for line in self.log.read_bytes().splitlines() if b'"reason"' in line and line[:1] == b"{")
        entries = map(orjson.loads, lines)
        return {entry["request_id"]: entry["reason"] for entry in entries if "request_id" in entry}

    @property
    def main(self) -> int:
        """The process id of the supervisor, also below a command that runs it."""
        return children(self.process.pid)[0] if self.prefix and not self.replaced else self.process.pid

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that live."""
        return children(self.main)

    def kill_worker(self, choice: random.Random) -> None:
        """Kill one worker."""
        present = self.worker_pids()
        if present:
            kill(choice.choice(present))

    def kill_supervisor(self) -> None:
        """Kill the supervisor alone and wait until its orphans have ended, by themselves."""
        orphans = self.worker_pids()
        kill(self.main)
        self.process.wait()
        assert until(lambda: not any(map(lives, orphans)), seconds=10), f"orphans go on: {orphans}"

    def kill_all(self) -> None:
        """Kill every process of it."""
        for pid in [self.main, *self.worker_pids()]:
            kill(pid)
        self.process.wait()

    def stop(self) -> None:
        """End it in order, or by force where that takes too long."""
        if self.process.poll() is not None:
            return
        pids = [self.main, *self.worker_pids()]
        for pid in pids:
            send(pid, signal.SIGCONT)
        send(pids[0], signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            for pid in pids:
                kill(pid)
            self.process.wait()


@contextmanager
def serving(*groups: ServerGroup) -> Iterator[None]:
    """Start the groups one after the other, and stop them at the end."""
    with ExitStack() as started:
        for group in groups:
            group.start()
            started.callback(group.stop)
            group.wait()
        yield


def start_fails(group: ServerGroup) -> int | None:
    """Return the exit code of a start that should fail; None when the server goes on, which is then stopped."""
    group.start()
    try:
        return group.process.wait(15)
    except subprocess.TimeoutExpired:
        group.stop()
        return None


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def lives(pid: int) -> bool:
    """Say whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    """Kill a process that may be gone."""
    send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait until the condition holds; say whether it does in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
