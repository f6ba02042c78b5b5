"""Readiness of real processes: while they drain, while their disk is full; and what a service manager is told."""

import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from authserver.cli import service_manager
from authserver.cli.demo_server import free_port
from authserver.cli.registering import with_secret
from tests.cli.programs import COMMAND, LOOPBACK, Running, environment, serving
from tests.cli.test_supervisor import children
from tests.postgres import PostgresCluster


def waits_until(condition: Callable[[], bool]) -> bool:
    """Wait for what must come; say whether it came."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def readiness(server: Running) -> int:
    return server.get("/readyz").status_code


def statuses_until(server: Running, wanted: int) -> set[int]:
    """Ask for readiness until it has this status; return every status on the way."""
    seen: set[int] = set()

    def came() -> bool:
        seen.add(readiness(server))
        return wanted in seen

    assert waits_until(came), server.logged
    return seen


# Draining


@pytest.fixture(scope="module")
def drained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that was told to stop and has a minute to drain."""
    variables = {"AUTHSERVER_DRAIN_SECONDS": "60"}
    with serving(tmp_path_factory.mktemp("drained"), "--dev", variables=variables) as server:
        before = readiness(server), server.get("/healthz").status_code
        server.process.send_signal(signal.SIGTERM)
        assert before == (200, 200)
        assert waits_until(lambda: readiness(server) == 503), server.logged
        yield server
        server.stop()


def test_a_server_that_drains_is_not_ready_and_serves_on(drained: Running) -> None:
    """Process life: readiness false first; new connections and requests are answered all the same."""
    told = drained.get("/readyz")
    served = [
        drained.get("/healthz").status_code,
        drained.get("/.well-known/smart-configuration").status_code,
        requests.post(f"{drained.url}/auth/token", data={"a": "b"}, timeout=10).status_code,
        drained.get("/fhir/Patient").status_code,
    ]

    assert (told.status_code, told.headers["Retry-After"]) == (503, "1")
    assert "drain" not in told.text
    assert served == [200, 200, 400, 401]
    assert '"reason": "draining"' in drained.logged or "reason=draining" in drained.logged


def test_a_second_signal_ends_the_draining(drained: Running) -> None:
    """Who is in a hurry need not wait; last of this module's tests on the server, which is gone then."""
    assert drained.process.poll() is None

    assert drained.stop() == 0


def test_requests_under_way_outlive_the_draining(tmp_path: Path) -> None:
    """Fault 17: callers that never stop, new connections too, see no failure before the port closes."""
    with serving(tmp_path, "auth", "--dev", variables={"AUTHSERVER_DRAIN_SECONDS": "1"}) as server:
        failures: list[str] = []
        told, first = threading.Event(), threading.Event()

        def call() -> None:
            while not told.is_set():
                try:
                    answer = requests.post(f"{server.url}/auth/token", data={"a": "b"}, timeout=10)
                    failures.extend([] if answer.status_code == 400 else [str(answer.status_code)])
                except requests.RequestException as error:
                    failures.append(repr(error))
                first.set()

        caller = threading.Thread(target=call)
        caller.start()
        first.wait(20)
        server.process.send_signal(signal.SIGTERM)
        noticed = waits_until(lambda: readiness(server) == 503)
        told.set()  # the load balancer sends nothing here any more
        caller.join()
        code = server.process.wait(30)

    assert (noticed, failures, code) == (True, [], 0)


def test_ctrl_c_does_not_drain(tmp_path: Path) -> None:
    """A person at a terminal waits for nothing; the limit is what it takes, not a measure."""
    with serving(tmp_path, "auth", "--dev", variables={"AUTHSERVER_DRAIN_SECONDS": "300"}) as server:
        code = server.stop(signal.SIGINT)

    assert code == 0


# A full disk


def test_a_full_disk_is_not_ready_until_there_is_space_again(tmp_path: Path) -> None:
    """Fault 5: writes fail as on a full disk; what cannot be counted is lost, and no restart is needed afterwards.

    Row X25: a refusal that cannot be recorded in the audit is a 503 as well.
    """
    with serving(tmp_path, "auth", "--dev") as server:
        (worker,) = children(server)
        found = [readiness(server)]
        with server.remote() as remote:
            for number in range(8):  # until the journal is larger than what the limit leaves to other files
                with_secret(remote, f"caller-{number}", scope=["__introspect"])
        (journal,) = (tmp_path / "instance").glob("*.sqlite3-wal")
        room = journal.stat().st_size
        limits = resource.prlimit(worker, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        full = statuses_until(server, 503)
        others = (server.get("/healthz").status_code, server.get("/Client", auth=("root", "?")).status_code)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
        recovered = statuses_until(server, 200)

        assert (found, others, children(server)) == ([200], (200, 503), [worker])
        assert full | recovered == {200, 503}
        assert room > 65_536
        assert "storage_not_writable" in server.logged
        assert "audit_unavailable" in server.logged
        assert "Traceback" not in server.logged


# What a service manager is told and hands over


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager, which waits for what it must be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(30)
        yield receiver


def told(manager: socket.socket) -> list[str]:
    """Return the lines of the next message, without the moment, which is another one each time."""
    return [line.partition("USEC=")[0] for line in manager.recv(4_096).decode().splitlines()]


def test_a_service_manager_is_told_of_start_reload_and_stop(manager: socket.socket, tmp_path: Path) -> None:
    """sd_notify(3): by the main process alone, READY only when every worker serves."""
    with serving(tmp_path, "auth", "--dev", variables={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
        start, before = told(manager), children(server)
        server.process.send_signal(signal.SIGHUP)
        reload, renewed = [told(manager), told(manager)], children(server)
        server.stop()

    assert start == ["READY=1"]
    assert reload == [["RELOADING=1", "MONOTONIC_"], ["READY=1"]]
    assert not set(before) & set(renewed)
    assert told(manager) == ["STOPPING=1"]


def test_a_reload_that_fails_leaves_the_service_running(manager: socket.socket, tmp_path: Path) -> None:
    """The old workers serve: what the manager is told must not end them."""
    with serving(tmp_path, "auth", "--dev", variables={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
        told(manager)
        (tmp_path / ".env").write_text("AUTHSERVER_WORKERS=none\n")
        server.process.send_signal(signal.SIGHUP)

        assert [told(manager), told(manager)] == [["RELOADING=1", "MONOTONIC_"], ["READY=1"]]
        assert readiness(server) == 200


def test_an_abstract_socket_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """unix(7): systemd may name one by a leading @."""
    name = f"authserver-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        service_manager.notify(service_manager.READY)

        assert receiver.recv(100) == b"READY=1"


def test_a_manager_that_cannot_be_told_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "missing"))

    service_manager.notify(service_manager.READY)

    logged = capsys.readouterr()
    assert "service_manager_not_told" in logged.out + logged.err


@contextmanager
def activated(
    folder: Path, listener: socket.socket, *arguments: str, **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `authserver serve` as a service manager does: the socket is descriptor 3, and LISTEN_PID is the process."""
    script = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&"$FROM"'
    with (folder / "activated.log").open("ab") as log:
        process = subprocess.Popen(
            ["/bin/bash", "-c", script, "bash", *COMMAND, "serve", *arguments],
            cwd=folder,
            env=environment(FROM=str(listener.fileno()), **variables),
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def test_what_connects_before_the_start_and_during_a_restart_is_served(tmp_path: Path) -> None:
    """Fault 17: the service manager keeps the socket, so nobody is refused while there is no server."""
    port = free_port()
    with socket.create_server((LOOPBACK, port), backlog=64) as listener:
        answers = []
        for _ in range(2):
            with socket.create_connection((LOOPBACK, port), timeout=120) as early:
                early.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                with activated(tmp_path, listener, "auth", "--dev", "--port", str(port)):
                    answers.append(early.recv(100).partition(b"\r\n")[0])

    assert answers == [b"HTTP/1.1 200 OK"] * 2


def test_workers_share_the_one_socket_that_is_handed_over(tmp_path: Path, postgres: PostgresCluster) -> None:
    """One ListenStream serves as many workers as the settings say."""
    variables = {"AUTHSERVER_DATABASE_URL": postgres.create_database(), "AUTHSERVER_WORKERS": "2"}
    with (
        socket.create_server((LOOPBACK, 0), backlog=64) as listener,
        requests.Session() as session,
        activated(tmp_path, listener, "auth", "--dev", **variables) as process,
    ):
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        statuses = {session.get(f"{url}/healthz", timeout=120).status_code for _ in range(4)}
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    assert (statuses, len(listed)) == ({200}, 2)
