"""The token endpoint of a real server, spoken to over sockets as hostile callers do: threats E01 to E05, E12 to E14."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlencode

import pytest

from authserver.protocol.token_request import JWT_BEARER
from tests.builders import ROOT_SECRET
from tests.http import FORM
from tests.keys import key
from tests.stories.world import KeyHost, World, foreign_token

PAIR = key("RS384", "rsa-1")
CONSTANT = b'{"error":"invalid_client","error_description":"Client authentication failed."}'
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def connected(world: World) -> Iterator[socket.socket]:
    """Return a connection to the server."""
    with closing(socket.create_connection(("127.0.0.1", world.server.port), timeout=20)) as connection:
        yield connection


def form(world: World, **changes: str | None) -> dict[str, str]:
    """Return a valid form with changes; a None leaves a parameter out."""
    fields = {
        "grant_type": "client_credentials",
        "scope": "system/Patient.rs",
        "client_assertion_type": JWT_BEARER,
        "client_assertion": world.assertion(PAIR),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def send(world: World, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    """Send one request as it is; header names are written with dashes for underscores."""
    connection = http.client.HTTPConnection("127.0.0.1", world.server.port, timeout=20)
    with closing(connection):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body=body, headers=sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def post(world: World, body: bytes, target: str = "/auth/token", **headers: str) -> Answer:
    """Post a form."""
    return send(world, "POST", target, body, **{"Content_Type": FORM, **headers})


def error_of(answer: Answer) -> tuple[int, str]:
    """Return the status and the code of a refusal that nobody stores."""
    status, headers, body = answer
    assert headers["cache-control"] == "no-store"
    return status, json.loads(body)["error"]


def test_a_form_gets_a_token(client: World) -> None:
    """The positive control of this page."""
    status, headers, body = post(client, urlencode(form(client)).encode())

    assert (status, json.loads(body)["scope"], headers["cache-control"]) == (200, "system/Patient.rs", "no-store")


@pytest.mark.parametrize("name", ["scope", "grant_type", "client_id", "client_assertion", "client_assertion_type"])
def test_a_parameter_in_the_query_is_refused(client: World, name: str) -> None:
    """E01: whatever the body says; the query never adds to it or wins over it."""
    sent = urlencode(form(client)).encode()

    refused = post(client, sent, f"/auth/token?{name}=system%2F*.read")

    assert error_of(refused) == (400, "invalid_request")
    assert post(client, sent, "/auth/token?trace=1")[0] == 200


@pytest.mark.parametrize("name", ["scope", "grant_type", "client_assertion", "client_assertion_type", "client_id"])
def test_a_repeated_parameter_is_refused(client: World, name: str) -> None:
    """E02: the same value twice as well."""
    pairs = [*form(client, client_id="inferno-my-clinic-bulk-client").items()]

    refused = post(client, urlencode([*pairs, *(pair for pair in pairs if pair[0] == name)]).encode())

    assert error_of(refused) == (400, "invalid_request")
    assert post(client, urlencode(pairs).encode())[0] == 200


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "",
        f"{FORM}; charset=utf-16",
        f"{FORM}-x",
        f"{FORM}, {FORM}",
    ],
)
def test_another_media_type_is_refused(client: World, media_type: str) -> None:
    """E03."""
    refused = post(client, urlencode(form(client)).encode(), Content_Type=media_type)

    assert error_of(refused) == (400, "invalid_request")


@pytest.mark.parametrize("body", [b"grant_type=\xff", b"grant_type=%ff", b"\x1f\x8b\x08\x00", "grant_type=é".encode()])
def test_bytes_that_are_no_form_are_refused(client: World, body: bytes) -> None:
    """E03."""
    assert error_of(post(client, body)) == (400, "invalid_request")


def test_a_compressed_body_is_refused(client: World) -> None:
    """E03."""
    refused = post(client, urlencode(form(client)).encode(), Content_Encoding="gzip")

    assert error_of(refused) == (400, "invalid_request")


def test_a_second_way_to_authenticate_is_refused(client: World) -> None:
    """E04: beside a good assertion, which is not used up by it (RFC 7521 section 4.2.1)."""
    fields = form(client)
    sent, with_secret = (urlencode(one).encode() for one in (fields, {**fields, "client_secret": "secret"}))

    refused = [
        post(client, sent, Authorization="Basic eDp5"),
        post(client, sent, Authorization="Bearer x"),
        post(client, with_secret),
        post(client, urlencode({**fields, "client_assertion_type": ""}).encode()),
    ]

    assert [(status, body) for status, _, body in refused] == [(400, CONSTANT)] * 4
    assert post(client, sent)[0] == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_another_method_is_refused(client: World, method: str) -> None:
    """E05."""
    status, headers, _ = send(client, method, "/auth/token")

    assert (status, headers["allow"], headers["cache-control"]) == (405, "POST", "no-store")


def test_a_method_in_lower_case_is_no_method(client: World) -> None:
    """G06: methods are case-sensitive (RFC 9110 section 9.1), so this is not read as POST by anybody."""
    status, headers, _ = send(client, "post", "/auth/token")

    assert (status, headers["cache-control"]) == (400, "no-store")


@pytest.mark.parametrize(
    "grant_type",
    [
        "authorization_code",
        "refresh_token",
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "CLIENT_CREDENTIALS",
    ],
)
def test_another_grant_is_refused(client: World, grant_type: str) -> None:
    """E05."""
    refused = post(client, urlencode(form(client, grant_type=grant_type)).encode())

    assert error_of(refused) == (400, "unsupported_grant_type")


def test_a_large_body_is_refused_before_it_is_sent(client: World) -> None:
    """E12: 10 MB are declared; the answer comes while the sender still waits."""
    with connected(client) as connection:
        started = time.monotonic()
        head = f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 10000000\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - started < 2


def test_a_large_body_in_chunks_is_refused(client: World) -> None:
    """E12: nothing is declared, so it is counted."""
    with connected(client) as connection:
        connection.sendall(f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n".encode())
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n1\r\nx\r\n0\r\n\r\n")
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_form_in_chunks_is_read(client: World) -> None:
    """The positive control of the chunks."""
    sent = urlencode(form(client)).encode()
    with connected(client) as connection:
        connection.sendall(f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n".encode())
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        for part in (sent[:100], sent[100:]):
            connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_ten_thousand_parameters_are_refused(client: World) -> None:
    """E12."""
    refused = post(client, "&".join(f"p{number}=1" for number in range(8_000)).encode())

    assert error_of(refused) == (400, "invalid_request")


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5\r\n X: folded\r\n",
    ],
)
def test_a_request_with_two_readings_is_refused(client: World, head: str) -> None:
    """E12: what a proxy in front could frame otherwise never reaches the endpoint."""
    with connected(client) as connection:
        connection.sendall(f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n{head}\r\nhello".encode())
        answer = connection.recv(4096)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert b"access_token" not in answer


def test_slow_bodies_do_not_stop_others(client: World) -> None:
    """E12: a hundred senders that say nothing more hold no thread; each gets 408 at its deadline."""
    head = f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n\r\na".encode()
    slow = [socket.create_connection(("127.0.0.1", client.server.port), timeout=20) for _ in range(100)]
    try:
        for connection in slow:
            connection.sendall(head)
        started = time.monotonic()
        statuses = [post(client, urlencode(form(client)).encode())[0] for _ in range(5)]
        took = time.monotonic() - started
        refused = [connection.recv(4096) for connection in slow]
        waited = time.monotonic() - started
    finally:
        for connection in slow:
            connection.close()

    assert statuses == [200] * 5
    assert took < 5
    assert {answer.split(b"\r\n")[0] for answer in refused} == {b"HTTP/1.1 408 Request Timeout"}
    assert all(b'"error":"invalid_request"' in answer and b"no-store" in answer for answer in refused)
    assert waited < 15


def test_a_thousand_idle_connections_do_not_stop_others(client: World) -> None:
    """E12."""
    idle = [socket.create_connection(("127.0.0.1", client.server.port), timeout=20) for _ in range(1_000)]
    try:
        started = time.monotonic()
        status, _, _ = post(client, urlencode(form(client)).encode())
        took = time.monotonic() - started
    finally:
        for connection in idle:
            connection.close()

    assert (status, took < 5) == (200, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X_Forwarded_Prefix": "/evil", "X_Original_URL": "/evil", "X_Rewrite_URL": "/evil"},
    ],
)
def test_a_header_changes_no_address_of_ours(client: World, headers: dict[str, str]) -> None:
    """E13: issuer, audience and links come from the settings alone."""
    discovered = [
        send(client, "GET", path, b"", **headers)[2]
        for path in ("/.well-known/smart-configuration", "/.well-known/oauth-authorization-server")
    ]
    accepted = post(client, urlencode(form(client)).encode(), "/auth/token", **headers)
    hostile = form(client, client_assertion=client.assertion(PAIR, aud="https://evil.example/auth/token"))
    refused = post(client, urlencode(hostile).encode(), "/auth/token", **headers)

    claims = client.introspect(json.loads(accepted[2])["access_token"])
    assert all(b"evil" not in document and client.server.url.encode() in document for document in discovered)
    assert (claims["iss"], claims["aud"]) == (client.server.url, f"{client.server.url}/fhir")
    assert (refused[0], refused[2]) == (400, CONSTANT)


def test_a_header_with_an_underscore_is_no_other_header(client: World) -> None:
    """E04: `client_authorization`-like names never pass for the real one."""
    sent = urlencode(form(client)).encode()
    with connected(client) as connection:
        head = f"POST /auth/token HTTP/1.1\r\nHost: x\r\nContent_Type: text/plain\r\nContent-Type: {FORM}\r\n"
        connection.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_no_secret_is_in_any_log(client: World, key_host: KeyHost) -> None:
    """E14: after a whole story, the log has neither tokens nor assertions nor secrets, nor a signature of them."""
    assertion = client.assertion(PAIR)
    token = client.ask(assertion, scope="system/Patient.rs").json()["access_token"]
    client.ask(assertion)
    client.ask(f"{assertion}x")
    send(client, "POST", "/auth/token?client_assertion=canary-in-query", b"", Content_Type=FORM)
    client.introspect(token)
    client.fhir("/Patient", token)
    client.fhir(f"/Patient?access_token={token}")
    client.put("/Client/canary-client", {"secret": "canary-secret-value", "grant_types": ["basic"]})
    client.put("/Client/canary-client", {"secret": ["canary-secret-value"], "grant_types": 5})
    foreign_token(client, PAIR, scope="system/Patient.rs")

    logged = client.server.logged + client.server.said

    secrets = [assertion, token, "canary-in-query", "canary-secret-value", ROOT_SECRET]
    parts = [part for secret in (assertion, token) for part in secret.split(".")[1:]]
    assert [secret for secret in [*secrets, *parts] if secret in logged] == []
    assert re.search(r"eyJ[A-Za-z0-9_-]{20,}", logged) is None
    assert '"jti_replayed"' in logged or "jti_replayed" in logged
    client.delete("/Client/canary-client")
