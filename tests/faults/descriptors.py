"""Fault 6: a worker that may open no more files: it refuses, goes on with what it has, and recovers alone."""

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.driver import Load
from tests.faults.oracle import Fault, Violation
from tests.faults.rounds import Outcome, merged, run
from tests.faults.servers import ServerGroup, serving

_SECONDS = 3.0
_STRANGERS = 300


def exhausted() -> Outcome:
    """Let a worker have no free descriptor for a while, with connections coming in all the time."""
    name = "no file descriptor left"
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder))
        workers: list[list[int]] = []

        def inject(load: Load) -> list[Fault]:
            (pid,) = group.worker_pids()
            workers.append([pid])
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            began = time.monotonic()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), before[1]))
            with ExitStack() as strangers:
                for _ in range(_STRANGERS):
                    strangers.enter_context(socket.create_connection(("127.0.0.1", group.port)))
                    time.sleep(_SECONDS / _STRANGERS)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            fault = Fault(name, began, time.monotonic())
            load.await_token(fault.ended)
            workers.append(group.worker_pids())
            return [fault]

        with serving(group):
            record = run([group.port], inject, reasons=group.reasons)
    outcome = merged(name, [record])
    died = [] if workers[-1] == workers[-2] else [Violation("crash", "the worker was replaced")]
    return Outcome(name, outcome.figures, [*outcome.violations, *died])
