"""Workers under their supervisor, as real processes: replaced without a dropped request, never by one that fails."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from authserver.cli.demo_server import free_port
from tests.cli.programs import Running, run, serving


def children(server: Running) -> list[int]:
    """Return the process ids of the workers."""
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def wait_for_others(server: Running, than: list[int]) -> list[int]:
    """Wait until there are as many workers, and all of them others; return them."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        present = children(server)
        if len(present) == len(than) and not set(present) & set(than):
            return present
        time.sleep(0.02)
    raise AssertionError(f"{children(server)} after {than}: {server.logged}")


@dataclass
class Callers:
    """Callers that never stop, on kept connections and on new ones."""

    url: str
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def call(self, *, keeping: bool) -> None:
        """Call until told to stop."""
        with requests.Session() as session:
            while not self.stop.is_set():
                headers = {} if keeping else {"Connection": "close"}
                try:
                    answer = session.post(f"{self.url}/auth/token", data={"a": "b"}, headers=headers, timeout=10)
                    if answer.status_code != 400:
                        self.failures.append(str(answer.status_code))
                    self.answered += 1
                except requests.RequestException as error:
                    self.failures.append(repr(error))


@contextmanager
def calling(server: Running) -> Iterator[Callers]:
    """Call the server all the time."""
    callers = Callers(server.url)
    threads = [threading.Thread(target=callers.call, kwargs={"keeping": keeping}) for keeping in (True, True, False)]
    for thread in threads:
        thread.start()
    try:
        yield callers
    finally:
        callers.stop.set()
        for thread in threads:
            thread.join()


def test_workers_are_replaced_without_a_dropped_request(tmp_path: Path) -> None:
    """Fault 17: SIGHUP under load, several times."""
    with serving(tmp_path, "auth", "--dev") as server, calling(server) as callers:
        for _ in range(3):
            before = children(server)
            server.process.send_signal(signal.SIGHUP)
            wait_for_others(server, before)
            time.sleep(0.1)

    assert callers.failures == []
    assert callers.answered > 50


def test_settings_are_read_anew(tmp_path: Path) -> None:
    """What stands in the file .env counts from the next worker on."""
    with serving(tmp_path, "auth", "--dev") as server:
        before, documents = children(server), [server.get("/.well-known/smart-configuration").json()]
        (tmp_path / ".env").write_text("AUTHSERVER_ASSERTION_ALGORITHMS=ES384\n")

        server.process.send_signal(signal.SIGHUP)
        wait_for_others(server, before)

        documents.append(server.get("/.well-known/smart-configuration").json())

    name = "token_endpoint_auth_signing_alg_values_supported"
    assert [document[name] for document in documents] == [["RS384", "ES384", "RS256", "ES256"], ["ES384"]]


def test_a_worker_that_cannot_start_leaves_the_old_one_at_work(tmp_path: Path) -> None:
    """Fault 11: settings that cannot work, or keys that cannot be read."""
    with serving(tmp_path, "auth", "--dev") as server:
        before = children(server)
        (tmp_path / ".env").write_text("AUTHSERVER_WORKERS=none\n")

        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "worker_not_replaced" not in server.logged and time.monotonic() < deadline:
            time.sleep(0.05)

        assert (children(server), server.get("/healthz").status_code) == (before, 200)
        assert "worker_not_replaced" in server.logged


def test_a_worker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    """Fault 1: what connects meanwhile waits for the next one."""
    with serving(tmp_path, "auth", "--dev") as server:
        before = children(server)
        for pid in before:
            os.kill(pid, signal.SIGKILL)

        answer = server.get("/healthz")

        assert answer.status_code == 200
        assert not set(children(server)) & set(before)


def test_a_second_server_on_the_same_file_refuses_to_start(tmp_path: Path) -> None:
    """SQLite serves one server; commands may use the file beside it."""
    with serving(tmp_path, "auth", "--dev"):
        second = run(tmp_path, "serve", "auth", "--dev", "--port", str(free_port()))
        command = run(tmp_path, "db", "upgrade")

    assert (second.returncode, command.returncode) == (1, 0)
    assert "another server uses" in second.stderr


def test_a_worker_that_never_starts_ends_the_server(tmp_path: Path) -> None:
    """At the first start there are no old workers to go on."""
    with serving(tmp_path, "auth", "--dev"):
        pass
    for path in (tmp_path / "keys").glob("*.pem"):
        path.write_bytes(b"")

    ended = run(tmp_path, "serve", "auth", "--dev", "--port", str(free_port()))

    assert ended.returncode == 1
    assert "is empty" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_answers_what_it_has(tmp_path: Path, number: signal.Signals) -> None:
    """Fault 17: the request under way is answered, then the process ends with code 0."""
    with serving(tmp_path, "auth", "--dev") as server, requests.Session() as session:
        session.get(f"{server.url}/healthz", timeout=5)
        code = server.stop(number)

    assert code == 0
    assert "Traceback" not in server.logged
