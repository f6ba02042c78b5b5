"""docs/deploy/nginx.conf as it is, before two real servers on one PostgreSQL, and before servers that break off."""

import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authserver import clock
from authserver.cli.demo_server import free_port
from tests.builders import CLIENT_ID, ROOT_SECRET, client_resource, inline_keys, make_assertion, token_form
from tests.cli.programs import Running, serving
from tests.cli.test_supervisor import children
from tests.deploy.nginx import LOOPBACK, Nginx, nginx
from tests.keys import key
from tests.postgres import PostgresCluster

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed here")


@dataclass
class Pair:
    """Two servers behind nginx, and a client's steps through it."""

    proxy: Nginx
    servers: tuple[Running, Running]

    def form(self) -> dict[str, str]:
        """Return a token request with a new assertion."""
        now = clock.now()
        return token_form(make_assertion(now=now, aud=f"{self.proxy.url}/auth/token"))

    def token(self, *, attempts: int = 2) -> list[int]:
        """Ask for a token by the rule for clients: after 5xx or a broken connection again, with a new assertion."""
        statuses: list[int] = []
        while len(statuses) < attempts and statuses[-1:] != [200]:
            statuses.append(self.proxy.post("/auth/token", self.form()).status_code)
        return statuses


@pytest.fixture(scope="module")
def pair(postgres: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two servers with one database and one set of keys, as compose.yaml has them."""
    tmp_path, port = tmp_path_factory.mktemp("pair"), free_port()
    variables = {
        "AUTHSERVER_ISSUER": f"https://{LOOPBACK}:{port}",
        "AUTHSERVER_DATABASE_URL": postgres.create_database(),
        "AUTHSERVER_KEYS_DIR": str(tmp_path / "keys"),
        "AUTHSERVER_ROOT_SECRET": ROOT_SECRET,
    }
    with ExitStack() as running:
        servers = []
        for name in ("auth-1", "auth-2"):
            (tmp_path / name).mkdir()
            servers.append(running.enter_context(serving(tmp_path / name, "auth", variables=variables)))
        proxy = running.enter_context(nginx(tmp_path / "nginx", (servers[0].port, servers[1].port), port=port))
        with proxy.session() as session:
            body = client_resource(**inline_keys(key()))
            session.put(f"{proxy.url}/Client/{CLIENT_ID}", json=body, auth=("root", ROOT_SECRET), timeout=10)
        yield Pair(proxy, (servers[0], servers[1]))


def kill(server: Running) -> None:
    """Kill every process of the server, as a crash of its host would."""
    for pid in (server.process.pid, *children(server)):
        os.kill(pid, signal.SIGKILL)
    server.process.wait(20)


def port_of(server: Running) -> str:
    return f"{LOOPBACK}:{server.port}"


def test_both_servers_give_tokens_and_act_as_one(pair: Pair) -> None:
    """A used assertion is used on either server, whichever got it."""
    forms = [pair.form() for _ in range(8)]

    first = [pair.proxy.post("/auth/token", form).status_code for form in forms]
    again = [pair.proxy.post("/auth/token", form).status_code for form in forms]

    assert (first, again) == ([200] * 8, [400] * 8)
    assert {port_of(server) for server in pair.servers} <= set(pair.proxy.upstreams())


def test_what_is_not_for_the_world_is_not_shown_to_it(pair: Pair) -> None:
    found = {
        path: pair.proxy.get(path).status_code
        for path in ("/metrics", "/auth/verify", "/readyz", "/healthz", "/.well-known/jwks.json")
    }
    odd = pair.proxy.get("/Client%2Fx")

    assert found == {
        "/metrics": 404,
        "/auth/verify": 404,
        "/readyz": 200,
        "/healthz": 200,
        "/.well-known/jwks.json": 200,
    }
    assert odd.status_code == 400, "a path reaches the servers as it came, and they refuse it"


def test_a_killed_server_costs_no_client_more_than_one_repetition(pair: Pair) -> None:
    """Fault 1 behind a load balancer: kill -9 of a whole server under load. It is the last test on the pair."""
    outcomes: list[list[int]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            outcomes.append(pair.token())

    callers = [threading.Thread(target=ask) for _ in range(3)]
    for caller in callers:
        caller.start()
    _wait_for(lambda: len(outcomes) >= 20)
    kill(pair.servers[0])
    before = len(outcomes)
    _wait_for(lambda: len(outcomes) >= before + 40)
    over.set()
    for caller in callers:
        caller.join()

    assert [outcome for outcome in outcomes if outcome[-1] != 200] == []
    assert Counter(outcome[0] for outcome in outcomes)[200] >= len(outcomes) - 3  # one request of each caller at most


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# What is repeated, and what is not


@dataclass
class Upstream:
    """A server that reads a whole request and answers it, or breaks off instead; `got` are the requests."""

    breaks: bool
    got: list[str] = field(default_factory=list)
    port: int = 0

    def serve(self, listener: socket.socket) -> None:
        """Serve until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                self._one(connection)

    def _one(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith((b"\r\n\r\n", b"a=b")):
            piece = connection.recv(65_536)
            if not piece:
                return  # somebody looked whether the port is open
            received += piece
        self.got.append(received.decode())
        if not self.breaks:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@contextmanager
def upstream(*, breaks: bool) -> Iterator[Upstream]:
    """Run an upstream."""
    served = Upstream(breaks)
    with socket.create_server((LOOPBACK, 0)) as listener:
        served.port = listener.getsockname()[1]
        thread = threading.Thread(target=served.serve, args=(listener,))
        thread.start()
        yield served
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(("method", "statuses", "repeated"), [("POST", [503, 200, 200, 200], 0), ("GET", [200] * 4, 1)])
def test_a_post_that_was_sent_is_never_sent_again(
    tmp_path: Path, method: str, statuses: list[int], repeated: int
) -> None:
    """An assertion is good once: a second sending would be a replay. A GET, the control, goes to the other server."""
    with (
        upstream(breaks=True) as broken,
        upstream(breaks=False) as good,
        nginx(tmp_path / "nginx", (broken.port, good.port)) as proxy,
        proxy.session() as session,
    ):
        data = {"a": "b"} if method == "POST" else None
        found = [session.request(method, f"{proxy.url}/auth/token", data=data, timeout=10) for _ in range(4)]

    assert sorted(answer.status_code for answer in found) == sorted(statuses)
    assert (len(broken.got), len(good.got)) == (1, 3 + repeated)


def test_a_post_that_could_not_be_sent_goes_to_the_other_server(tmp_path: Path) -> None:
    """Nobody listens there, so no assertion can have been used."""
    with upstream(breaks=False) as good, nginx(tmp_path / "nginx", (free_port(), good.port)) as proxy:
        found = [proxy.post("/auth/token", {"a": "b"}).status_code for _ in range(4)]

    assert (found, len(good.got)) == ([200] * 4, 4)


def test_without_any_server_the_answer_is_a_503_that_names_nothing(tmp_path: Path) -> None:
    with nginx(tmp_path / "nginx", (free_port(), free_port())) as proxy:
        answer = proxy.post("/auth/token", {"a": "b"})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {
        "error": "temporarily_unavailable",
        "error_description": "The server cannot answer now; try again with a new assertion.",
    }


def test_a_server_that_drains_gets_no_more_requests_once_a_probe_saw_it(tmp_path: Path) -> None:
    """Process life: readiness false first, the load balancer turns away, then the port may close; nobody fails."""
    with (
        upstream(breaks=False) as good,
        serving(tmp_path, "auth", "--dev", variables={"AUTHSERVER_DRAIN_SECONDS": "60"}) as draining,
        nginx(tmp_path / "nginx", (draining.port, good.port)) as proxy,
    ):
        shared = sorted(proxy.post("/auth/token", {"a": "b"}).status_code for _ in range(4))
        draining.process.send_signal(signal.SIGTERM)
        _wait_for(lambda: draining.get("/readyz").status_code == 503)

        ready = [proxy.get("/readyz").status_code for _ in range(2)]  # one of them asks the server that drains
        after = [proxy.post("/auth/token", {"a": "b"}).status_code for _ in range(6)]
        runs = draining.process.poll() is None
        draining.stop()  # a second signal: it does not drain on

    assert shared == [200, 200, 400, 400], "a form without an assertion is refused by the real server"
    assert (ready, after, runs) == ([200] * 2, [200] * 6, True)


def test_a_header_of_the_caller_does_not_say_where_it_is(tmp_path: Path) -> None:
    """X-Forwarded-For is set by nginx, so that AUTHSERVER_TRUSTED_PROXIES may name it."""
    with upstream(breaks=False) as good, nginx(tmp_path / "nginx", (good.port, good.port)) as proxy:
        answer = proxy.get("/healthz", headers={"X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7"})

    assert (answer.status_code, len(good.got)) == (200, 1)
    assert "10.9.8.7" not in good.got[0]
    assert f"X-Forwarded-For: {LOOPBACK}" in good.got[0]
