"""Fault 17: workers replaced under load by SIGHUP, and a restart behind a socket that a service manager holds."""

import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.driver import Load
from tests.faults.oracle import Fault
from tests.faults.rounds import Outcome, merged, run, settle
from tests.faults.servers import ServerGroup, send, serving, until
from tests.postgres import PostgresCluster

_SETTLES = 6


def renewed(times: int, cluster: PostgresCluster) -> Outcome:
    """SIGHUP so many times: no request fails, so there is no fault to excuse one."""
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder), {"AUTHSERVER_DATABASE_URL": cluster.create_database()}, workers=2)
        with serving(group):
            record = run([group.port], _each(times, lambda load: _renew(group, load)), reasons=group.reasons)
    return merged("rolling restart by SIGHUP", [record], restarts=times)


def handed_over(times: int) -> Outcome:
    """Stop and start the server behind one socket, which this process holds as a service manager does."""
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        # sd_listen_fds(3): descriptor 3, for the process whose id is LISTEN_PID.
        script = f'exec 3<&{listener.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
        group = ServerGroup(
            Path(folder),
            workers=1,
            prefix=("sh", "-c", script, "sh"),
            port=listener.getsockname()[1],
            inherited=(listener.fileno(),),
            replaced=True,
        )
        with serving(group):
            inject = _each(times, lambda load: _restart(group, load))
            record = run([group.port], inject, reasons=group.reasons, keeping=False)
    return merged("restart behind a handed-over socket", [record], restarts=times)


def _each(times: int, act: Callable[[Load], None]) -> Callable[[Load], Sequence[Fault]]:
    def inject(load: Load) -> Sequence[Fault]:
        for _ in range(times):
            settle(load)
            act(load)
        return []

    return inject


def _renew(group: ServerGroup, load: Load) -> None:
    before = set(group.worker_pids())
    send(group.main, signal.SIGHUP)
    assert until(lambda: _are_new(group, before), seconds=60), group.logged[-2_000:]
    load.await_token(time.monotonic())


def _are_new(group: ServerGroup, before: set[int]) -> bool:
    present = set(group.worker_pids())
    return len(present) == len(before) and not present & before


def _restart(group: ServerGroup, load: Load) -> None:
    settle(load, times=_SETTLES)  # much load beside the gaps, which count as time without tokens
    group.stop()
    assert load.await_token(group.start())
