"""Both ways of asking, through one suite; the HTTP one against a real local server."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from authserver.errors import IntrospectionUnavailable
from authserver.fhir.introspection import DirectIntrospection, HttpIntrospection, Introspection

REQUEST = {"method": "GET", "path": "/fhir/Observation", "parameters": [["code", "a&b=é"]], "resource_id": None}
ACTIVE = {"active": True, "client_id": "c"}


class AuthorizationServer:
    """Answers introspection with what the test sets, and remembers the requests."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"", {"Content-Type": "application/json"}
        self.delay = 0.0
        self.closes_first = 0
        self.requests: list[tuple[dict[str, str], dict[str, list[str]]]] = []
        self.connections = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def do_POST(self) -> None:
                server.answer(self)

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/auth/introspect"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        form = handler.rfile.read(int(handler.headers.get("Content-Length", "0"))).decode()
        self.requests.append((dict(handler.headers), parse_qs(form)))
        time.sleep(self.delay)
        if self.closes_first:
            self.closes_first -= 1
            handler.close_connection = True
            return
        handler.send_response(self.status)
        for name, value in {**self.headers, "Content-Length": str(len(self.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that gave up
            handler.wfile.write(self.body)

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    """A local authorization server."""
    server = AuthorizationServer()
    yield server
    server.stop()


@pytest.fixture
def http(server: AuthorizationServer) -> Iterator[HttpIntrospection]:
    """The HTTP adapter, asking the local server."""
    introspection = HttpIntrospection(server.url, "fhir:layer", "s%cret +", timeout=0.5)
    yield introspection
    introspection.close()


@pytest.fixture(params=["direct", "http"])
def answering(request: pytest.FixtureRequest) -> Any:
    """A function from the answer of the authorization server to an Introspection that gets it."""

    def direct(answer: object) -> Introspection:
        return DirectIntrospection(lambda token, description: answer)

    def over_http(answer: object) -> Introspection:
        request.getfixturevalue("server").body = json.dumps(answer).encode()
        introspection: HttpIntrospection = request.getfixturevalue("http")
        return introspection

    return direct if request.param == "direct" else over_http


@pytest.mark.parametrize("answer", [ACTIVE, {"active": False}])
def test_a_clear_answer_is_handed_on(answering: Any, answer: dict[str, Any]) -> None:
    assert answering(answer).introspect("token", REQUEST) == answer


@pytest.mark.parametrize("answer", [None, [], "active", {}, {"active": "true"}, {"active": 1}, {"active": None}])
def test_no_boolean_active_is_no_answer(answering: Any, answer: object) -> None:
    with pytest.raises(IntrospectionUnavailable):
        answering(answer).introspect("token", REQUEST)


def test_a_function_that_raises_is_no_answer() -> None:
    def fail(token: str, request: object) -> object:
        raise KeyError(token)

    with pytest.raises(IntrospectionUnavailable) as refused:
        DirectIntrospection(fail).introspect("secret-token", REQUEST)

    assert "secret-token" not in refused.value.detail


def test_the_function_gets_token_and_description() -> None:
    asked: list[object] = []

    def introspect(*arguments: object) -> object:
        asked.append(arguments)
        return ACTIVE

    DirectIntrospection(introspect).introspect("token", REQUEST)

    assert asked == [("token", REQUEST)]


def test_the_form_has_token_and_description_and_the_header_the_secret(
    server: AuthorizationServer, http: HttpIntrospection
) -> None:
    """RFC 7662 section 2.1; the credentials are form-encoded first (RFC 6749 section 2.3.1)."""
    server.body = json.dumps(ACTIVE).encode()

    http.introspect("token", REQUEST)

    ((headers, form),) = server.requests
    assert sorted(form) == ["request", "token"]
    assert (form["token"], json.loads(form["request"][0])) == (["token"], REQUEST)
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"fhir%3Alayer:s%25cret+%2B").decode()
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_connections_are_kept(server: AuthorizationServer, http: HttpIntrospection) -> None:
    server.body = json.dumps(ACTIVE).encode()

    for _ in range(3):
        http.introspect("token", REQUEST)

    assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 400, 401, 403, 404, 429, 500, 503])
def test_any_other_status_is_no_answer_and_no_redirect_is_followed(
    server: AuthorizationServer, http: HttpIntrospection, status: int
) -> None:
    server.status = status
    server.body = b"" if status == 204 else json.dumps(ACTIVE).encode()
    server.headers["Location"] = server.url

    with pytest.raises(IntrospectionUnavailable):
        http.introspect("token", REQUEST)

    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"active", b"\xff", b" " * 64_001 + b"{}", b"[" * 60_000])
def test_a_body_that_is_no_small_json_is_no_answer(
    server: AuthorizationServer, http: HttpIntrospection, body: bytes
) -> None:
    server.body = body

    with pytest.raises(IntrospectionUnavailable):
        http.introspect("token", REQUEST)


def test_a_slow_server_is_no_answer(server: AuthorizationServer) -> None:
    server.delay = 0.4
    introspection = HttpIntrospection(server.url, "c", "s", timeout=0.1)

    with pytest.raises(IntrospectionUnavailable):
        introspection.introspect("token", REQUEST)

    introspection.close()


def test_a_closed_kept_connection_is_tried_once_more(server: AuthorizationServer, http: HttpIntrospection) -> None:
    server.body = json.dumps(ACTIVE).encode()
    server.closes_first = 1

    assert http.introspect("token", REQUEST) == ACTIVE


def test_a_server_that_keeps_closing_is_no_answer(server: AuthorizationServer, http: HttpIntrospection) -> None:
    server.closes_first = 9

    with pytest.raises(IntrospectionUnavailable):
        http.introspect("token", REQUEST)

    assert len(server.requests) == 2


def test_nobody_listening_is_no_answer(server: AuthorizationServer) -> None:
    introspection = HttpIntrospection("http://127.0.0.1:1/auth/introspect", "c", "s", timeout=0.5)

    with pytest.raises(IntrospectionUnavailable):
        introspection.introspect("token", REQUEST)

    introspection.close()


def test_the_environment_has_no_say(
    server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, http: HttpIntrospection
) -> None:
    """Proxies and .netrc of the environment would get the token or change the credentials."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.body = json.dumps(ACTIVE).encode()

    assert http.introspect("token", REQUEST) == ACTIVE
