"""Several worker processes on one PostgreSQL: they act as one server, and go on when one of them dies."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from authserver.cli import private_keys
from authserver.cli.registering import with_key
from authserver.clock import now
from tests.cli.programs import Running, serving
from tests.postgres import PostgresCluster

WORKERS = 2


@pytest.fixture(scope="module")
def workers(postgres: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The authorization server with several workers."""
    variables = {"AUTHSERVER_DATABASE_URL": postgres.create_database()}
    with serving(
        tmp_path_factory.mktemp("workers"), "auth", "--dev", "--workers", str(WORKERS), variables=variables
    ) as server:
        yield server


def children(server: Running) -> list[int]:
    """Return the process ids of the workers."""
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def test_one_assertion_sent_to_all_workers_at_once_gets_one_token(workers: Running) -> None:
    """A13, B10: a jti is claimed once, whichever process asks."""
    with workers.remote() as remote:
        with_key(remote, "clinic", scope=["system/*.rs"], algorithm="ES384", path=workers.folder / "clinic.pem")
        endpoint = remote.discover()["token_endpoint"]
    pair = private_keys.read_key((workers.folder / "clinic.pem").read_bytes(), name="clinic.pem")
    assertion = private_keys.make_assertion(pair, client_id="clinic", audience=endpoint, now=now())
    form = private_keys.token_form(assertion, scope=None)

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: requests.post(endpoint, data=form, timeout=10).status_code, range(16)))

    assert len(children(workers)) == WORKERS
    assert Counter(statuses) == {200: 1, 400: 15}


def test_worker_that_dies_is_replaced(workers: Running) -> None:
    before = children(workers)

    os.kill(before[0], signal.SIGKILL)

    deadline = time.monotonic() + 10
    while len(set(children(workers)) - {before[0]}) < WORKERS and time.monotonic() < deadline:
        time.sleep(0.05)
    after = children(workers)
    assert (len(after), before[1] in after) == (WORKERS, True)
    assert {workers.get("/healthz").status_code for _ in range(4)} == {200}


ORPHAN = """
import signal, sys
from authserver.cli.supervisor import end_with
if sys.argv[1] == "stuck":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
end_with(-1, stop_seconds=0.2)
"""


@pytest.mark.parametrize(("kind", "ended_by"), [("stuck", signal.SIGKILL), ("sound", signal.SIGTERM)])
def test_an_orphan_that_does_not_end_by_itself_is_ended(kind: str, ended_by: signal.Signals) -> None:
    """Fault 1: nobody else is left who could, and the next server waits for its file."""
    ended = subprocess.run([sys.executable, "-c", ORPHAN, kind], timeout=60, check=False)

    assert ended.returncode == -ended_by


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """No orphan keeps the port."""
    with serving(tmp_path, "auth", "--dev") as server:
        (worker,) = children(server)
        server.stop(signal.SIGKILL)

        deadline = time.monotonic() + 10
        while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

        assert not Path(f"/proc/{worker}").exists()
