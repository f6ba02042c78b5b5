"""nginx in front of a server that knows nothing of tokens, configured by the page docs/forward-auth.md. Row X45."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from authserver.cli.demo_server import free_port
from tests.builders import CLIENT_ID
from tests.keys import key
from tests.stories.world import OPERATOR, World

PAGE = Path(__file__).parents[2] / "docs" / "forward-auth.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
TOLD = ("X-Auth-Client", "X-Auth-Scope", "X-Auth-Tenant", "X-Auth-Jti", "Authorization")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass
class Behind:
    """The protected server; `seen` are the requests that reached it."""

    server: HTTPServer
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        """Keep what it was told, and answer."""
        told = {name: request.headers[name] for name in TOLD if name in request.headers}
        self.seen.append((request.method, request.full_path.rstrip("?"), told))
        return Response("the answer")


@dataclass
class Gate:
    """nginx with the protected server behind it."""

    url: str
    world: World
    behind: Behind

    def ask(self, path: str, token: str | None = None, *, method: str = "GET", **headers: str) -> requests.Response:
        """Send one request to nginx, path as it is."""
        sent = headers if token is None else {"Authorization": f"Bearer {token}", **headers}
        prepared = requests.Request(method, self.url, headers=sent, data=b"x" if method == "POST" else None).prepare()
        prepared.url = f"{self.url}{path}"  # requests would tidy the path up
        with requests.Session() as session:
            return session.send(prepared, timeout=10)

    def token(self, scope: str) -> str:
        """Return an access token of the documented client."""
        answer = self.world.ask(self.world.assertion(key("ES384", "ec-1")), scope=scope)
        return str(answer.json()["access_token"])


@contextmanager
def nginx(folder: Path, *, auth: str, behind: str) -> Iterator[str]:
    """Run nginx with the page's own configuration, its three addresses put in; return its URL."""
    [snippet] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    port = free_port()
    addresses = {"127.0.0.1:8080": auth, "127.0.0.1:8081": f"127.0.0.1:{port}", "127.0.0.1:9000": behind}
    for documented, ours in addresses.items():
        assert snippet.count(documented) == 1
        snippet = snippet.replace(documented, ours)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{snippet}}}\n"
    )
    process = subprocess.Popen([str(NGINX), "-p", str(folder), "-c", str(configuration), "-e", str(folder / "early")])
    try:
        _await(port, process, folder)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _await(port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, (folder / "early").read_text()
            assert time.monotonic() < deadline, "nginx does not answer"
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def gate(client: World, tmp_path: Path) -> Iterator[Gate]:
    """nginx between callers and the protected server, asking the authorization server."""
    server = HTTPServer(host="127.0.0.1")
    behind = Behind(server)
    server.expect_request(re.compile(".*")).respond_with_handler(behind.answer)
    with server, nginx(tmp_path, auth=client.url("").removeprefix("http://"), behind=f"127.0.0.1:{server.port}") as url:
        yield Gate(url, client, behind)


def test_x45_a_good_request_passes_with_the_callers_name(gate: Gate) -> None:
    """X45: the server behind is told by nginx alone, and never sees the token."""
    token = gate.token("system/Patient.rs")
    lies = dict.fromkeys(TOLD[:4], "root") | {"X-Forwarded-Uri": "/nowhere", "X-Forwarded-Method": "DELETE"}

    answer = gate.ask("/fhir/Patient?name=x&_count=2", token, **lies)

    jti = gate.world.introspect(token)["jti"]
    told = {"X-Auth-Client": CLIENT_ID, "X-Auth-Scope": "system/Patient.rs", "X-Auth-Jti": jti}
    assert (answer.status_code, answer.text) == (200, "the answer")
    assert gate.behind.seen == [("GET", "/fhir/Patient?name=x&_count=2", told)]


def test_x45_what_may_not_pass_does_not(gate: Gate) -> None:
    """X45, G05, G06: no token, another type, a write, a path with two spellings, a lying header."""
    token = gate.token("system/Patient.rs")
    good = gate.ask("/fhir/Patient/1", token).status_code
    gate.behind.seen.clear()

    none = gate.ask("/fhir/Patient/1")
    refused = [
        gate.ask("/fhir/Observation/1", token),
        gate.ask("/fhir/Patient", token, method="POST"),
        gate.ask("/fhir/Patient/1", token, method="DELETE"),
        gate.ask("/fhir/x/../Observation/1", token),
        gate.ask("/fhir/%4fbservation/1", token),
        gate.ask("/fhir//Observation/1", token),
        gate.ask("/fhir/Observation/1", token, **{"X-Forwarded-Uri": "/fhir/Patient/1"}),
        gate.ask("/fhir/Patient/1", token, **{"X-HTTP-Method-Override": "DELETE"}),
    ]

    assert (good, none.status_code, none.headers["WWW-Authenticate"]) == (200, 401, 'Bearer realm="authserver"')
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert gate.behind.seen == []


def test_x45_a_revoked_token_is_out_at_the_next_request(gate: Gate) -> None:
    """F06: nginx keeps nothing; so it is with all tokens of a client, and with its policy."""
    first, second, third = (gate.token("system/Patient.rs") for _ in range(3))
    before = [gate.ask("/fhir/Patient/1", token).status_code for token in (first, second)]

    requests.post(gate.world.url("/auth/revoke"), data={"token": first}, auth=OPERATOR, timeout=10)
    one = [gate.ask("/fhir/Patient/1", token).status_code for token in (first, second)]
    gate.world.operate(f"/Client/{CLIENT_ID}/$revoke-tokens")
    all_of_it = [gate.ask("/fhir/Patient/1", token).status_code for token in (second, third)]

    assert (before, one, all_of_it) == ([200, 200], [401, 200], [401, 401])


def test_x45_long_scopes_pass(gate: Gate) -> None:
    """X45: the answer's headers are large, and the page's buffers hold them."""
    token = gate.token("system/*.read")

    answer = gate.ask("/fhir/Patient/1", token)

    assert (answer.status_code, len(gate.behind.seen[0][2]["X-Auth-Scope"]) > 300) == (200, True)


def test_x45_no_answer_is_no(gate: Gate, tmp_path: Path) -> None:
    """X45: nginx refuses when nobody can be asked."""
    token, dead = gate.token("system/Patient.rs"), f"127.0.0.1:{free_port()}"
    (tmp_path / "closed").mkdir()

    with nginx(tmp_path / "closed", auth=dead, behind=f"127.0.0.1:{gate.behind.server.port}") as url:
        answer = Gate(url, gate.world, gate.behind).ask("/fhir/Patient/1", token)

    assert (answer.status_code, gate.behind.seen) == (500, [])
