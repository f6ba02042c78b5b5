"""API keys over HTTP: the operator's paths, and the key as a caller's credential. Rows C2 and X31; threats F09, G01."""

from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from werkzeug.test import TestResponse

from authserver.app import Parts, build_services, create_app, direct_endpoints
from authserver.protocol import api_key
from authserver.web.direct import DirectRequest
from tests.builders import CLIENT_ID, make_settings
from tests.http import FORM, OneExchange, Server, basic, bearer

ADMIN = "admin"


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client, and one that may look after API keys and clients by its scopes."""
    server.put_client(tenant="north")
    server.put_policy()
    server.put_client(ADMIN, scope=["system/ApiKey.cruds", "system/Client.rs", "__introspect"])
    server.put_policy(ADMIN, ADMIN)


def create(server: Server, headers: dict[str, str] | None = None, **changes: Any) -> TestResponse:
    """Ask for a key of the documented client, as root."""
    body = {"client": CLIENT_ID, "environment": "live", "scope": ["system/Patient.rs"], **changes}
    return server.request("POST", "/ApiKey", json=body, headers=headers or basic())


def made(server: Server, **changes: Any) -> tuple[str, str]:
    """Return id and text of a new key."""
    answer = create(server, **changes)
    assert answer.status_code == 201, answer.text
    return answer.json["id"], answer.json["key"]


def key_header(text: str) -> dict[str, str]:
    """Return the header that carries an API key."""
    return {"x-api-key": text}


def admin_key(server: Server, *scope: str) -> str:
    """Return a key of the client that looks after others."""
    return made(server, client=ADMIN, scope=list(scope))[1]


def refused(answer: TestResponse) -> tuple[int, str]:
    """Return status and sentence of an OperationOutcome."""
    return answer.status_code, answer.json["issue"][0]["diagnostics"]


def test_a_key_is_shown_once(server: Server) -> None:
    """X31: the answers to a read and a search have everything but the key."""
    answer = create(server, name="nightly", days=7)

    key_id, text = answer.json["id"], answer.json["key"]
    read = server.request("GET", f"/ApiKey/{key_id}", headers=basic())
    found = server.request("GET", f"/ApiKey?client={CLIENT_ID}", headers=basic())
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    assert answer.headers["Location"].endswith(f"/ApiKey/{key_id}")
    assert api_key.read(text) is not None
    assert read.json == {name: value for name, value in answer.json.items() if name != "key"}
    assert [entry["resource"] for entry in found.json["entry"]] == [read.json]
    assert text[21:53] not in read.text + found.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/ApiKey", {"client": CLIENT_ID, "environment": "live", "scope": ["system/Patient.rs"]}),
        ("GET", "/ApiKey", None),
        ("GET", "/ApiKey/{id}", None),
        ("POST", "/ApiKey/{id}/$rotate", None),
        ("DELETE", "/ApiKey/{id}", None),
    ],
)
def test_only_who_may_touches_keys(server: Server, method: str, path: str, body: dict[str, Any] | None) -> None:
    """G01: without credentials 401; with the scopes of data alone 403; with a scope on ApiKey it is done."""
    key_id, data_key = made(server)
    path = path.format(id=key_id)
    administrator = admin_key(server, "system/ApiKey.cruds")

    statuses = [
        server.request(method, path, json=body, headers=headers).status_code
        for headers in ({}, key_header(data_key), bearer(server.token()), key_header(administrator))
    ]

    assert statuses == [401, 403, 403, 201 if path == "/ApiKey" and body else 200]


def test_a_wildcard_scope_opens_no_keys(server: Server) -> None:
    """G01: `system/*.cruds` is about data."""
    server.put_client(scope=["system/*.cruds"])

    answer = server.request("GET", "/ApiKey", headers=key_header(made(server, scope=["*"])[1]))

    assert answer.status_code == 403


def test_a_rotated_key_is_dead_at_the_next_request(server: Server) -> None:
    """X31."""
    key_id, old = made(server)

    rotated = server.request("POST", f"/ApiKey/{key_id}/$rotate", headers=basic())

    assert (rotated.status_code, rotated.json["id"]) == (200, key_id)
    assert server.introspect(old).json == {"active": False}
    assert server.introspect(rotated.json["key"]).json["active"]


def test_a_revoked_key_is_dead_at_the_next_request_and_still_shown(server: Server) -> None:
    """C2: beats 60 s."""
    key_id, text = made(server)
    before = server.introspect(text).json["active"]

    ended = server.request("DELETE", f"/ApiKey/{key_id}", headers=basic())

    assert (before, ended.status_code, ended.json["status"]) == (True, 200, "revoked")
    assert server.introspect(text).json == {"active": False}
    assert server.request("GET", f"/ApiKey/{key_id}", headers=basic()).json["status"] == "revoked"


def test_a_holder_ends_its_own_key(server: Server) -> None:
    """RFC 7009 with `x-api-key`."""
    _, text = made(server)

    answer = server.post_form("/auth/revoke", {"token": text}, headers=key_header(text))

    assert (answer.status_code, server.introspect(text).json) == (200, {"active": False})


@pytest.mark.parametrize("way", [key_header, bearer], ids=["x-api-key", "Bearer"])
def test_a_key_proves_a_caller_of_the_registry(server: Server, way: Any) -> None:
    """One rule for every caller: its scopes and a policy."""
    text = admin_key(server, "system/Client.r")

    statuses = [
        server.request("GET", path, headers=way(text)).status_code for path in (f"/Client/{CLIENT_ID}", "/Client")
    ]

    assert statuses == [200, 403]


def test_without_a_policy_a_key_opens_nothing(server: Server) -> None:
    """G07: the key is bound to its client's policies."""
    text = admin_key(server, "system/Client.r")
    server.request("DELETE", f"/AccessPolicy/{ADMIN}", headers=basic())

    assert server.request("GET", f"/Client/{CLIENT_ID}", headers=key_header(text)).status_code == 403


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda server, key_id, text: text[:-1], "The API key has the wrong shape."),
        (lambda server, key_id, text: server.token(), "The API key has the wrong shape."),
        (lambda server, key_id, text: api_key.compose("live", "0" * 12, "1" * 32), "The API key is not known."),
        (lambda server, key_id, text: api_key.compose("live", key_id, "1" * 32), "The API key is not known."),
        (
            lambda server, key_id, text: (server.request("DELETE", f"/ApiKey/{key_id}", headers=basic()), text)[1],
            "The API key was revoked.",
        ),
    ],
    ids=["slip", "no-key", "unknown", "other-secret", "revoked"],
)
def test_a_bad_key_is_a_401(server: Server, spoil: Any, sentence: str) -> None:
    """C2: wrong shape, unknown and revoked each say so; beside them the key as it was made."""
    key_id, text = made(server, client=ADMIN, scope=["system/Client.r"])
    path = f"/Client/{CLIENT_ID}"

    good = server.request("GET", path, headers=key_header(text)).status_code
    bad = server.request("GET", path, headers=key_header(spoil(server, key_id, text)))

    assert (good, refused(bad)) == (200, (401, sentence))


def test_an_expired_key_is_a_401(server: Server) -> None:
    """C2."""
    with freeze_time("2030-01-01"):
        text = made(server, client=ADMIN, scope=["system/Client.r"], days=1)[1]
        before = server.request("GET", f"/Client/{CLIENT_ID}", headers=key_header(text)).status_code
    with freeze_time("2030-01-02"):
        after = server.request("GET", f"/Client/{CLIENT_ID}", headers=key_header(text))

    assert (before, refused(after)) == (200, (401, "The API key has expired."))


def test_a_key_beside_other_credentials_is_refused(server: Server) -> None:
    """F09: which one would count?"""
    text = admin_key(server, "system/Client.r")
    path = f"/Client/{CLIENT_ID}"

    answers = [
        server.request("GET", path, headers=key_header(text) | basic()),
        server.request("GET", path, headers=key_header(text) | bearer(text)),
        server.request("GET", path, headers=[("x-api-key", text), ("x-api-key", text)]),
        server.post_form("/auth/revoke", {"token": text, "client_assertion": "x"}, headers=key_header(text)),
    ]

    assert [answer.status_code for answer in answers] == [400] * 4
    assert server.request("GET", path, headers=key_header(text)).status_code == 200


def test_a_key_introspects_for_a_resource_server(server: Server) -> None:
    text = admin_key(server, "__introspect")

    assert server.introspect(server.token(), headers=key_header(text)).json["active"]


@pytest.mark.parametrize("way", [key_header, bearer], ids=["x-api-key", "Bearer"])
def test_forward_auth_takes_a_key(server: Server, way: Any) -> None:
    """X45: the server behind is told the client, and for a test key the tenant of test data."""
    described = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/fhir/Patient/1"}
    keys = [made(server, environment=environment)[1] for environment in ("live", "test")]

    answers = [server.request("GET", "/auth/verify", headers=described | way(text)) for text in keys]

    told = [(one.status_code, one.headers["X-Auth-Client"], one.headers["X-Auth-Tenant"]) for one in answers]
    assert told == [(200, CLIENT_ID, "north"), (200, CLIENT_ID, "north~test")]


def test_forward_auth_says_401_with_a_bearer_challenge_for_a_bad_key(server: Server) -> None:
    """C2."""
    described = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/fhir/Patient/1"}

    answers = [
        server.request("GET", "/auth/verify", headers=described | headers)
        for headers in ({}, key_header("clk_live_x"), key_header(server.token()))
    ]

    assert [answer.status_code for answer in answers] == [401] * 3
    assert {answer.headers["WWW-Authenticate"] for answer in answers[1:]} == {
        'Bearer realm="authserver", error="invalid_token"'
    }


def test_a_bad_request_for_a_key_is_refused_with_its_paths(server: Server) -> None:
    answer = create(server, scope=["system/Patient.rs", "write"])

    assert (answer.status_code, answer.json["issue"][0]["expression"]) == (422, ["ApiKey.scope[1]"])


@pytest.mark.parametrize("query", ["name=x", f"client={CLIENT_ID}&client={ADMIN}"])
def test_an_unknown_search_parameter_is_refused(server: Server, query: str) -> None:
    assert server.request("GET", f"/ApiKey?{query}", headers=basic()).status_code == 400


def test_a_key_that_is_not_there_is_a_404(server: Server) -> None:
    answers = [
        server.request(method, path, headers=basic()).status_code
        for method, path in (
            ("GET", "/ApiKey/000000000000"),
            ("GET", "/ApiKey/_"),
            ("DELETE", "/ApiKey/000000000000"),
            ("POST", "/ApiKey/000000000000/$rotate"),
        )
    ]

    assert answers == [404] * 4


def test_no_log_line_has_a_key(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """F08: made, used, refused, revoked: the key stands nowhere."""
    key_id, text = made(server)
    server.request("GET", "/Client", headers=key_header(text))
    server.request("GET", "/Client", headers=key_header(text[:-1]))
    server.request("DELETE", f"/ApiKey/{key_id}", headers=basic())
    server.request("GET", "/Client", headers=key_header(text))

    said = capsys.readouterr()

    assert [code in said.out for code in ("api_key_revoked", "api_key_format")] == [True, True]
    assert text[21:53] not in said.out + said.err


def test_introspection_of_a_key_needs_no_waiting_and_still_sees_the_end(
    server: Server, parts: Parts, tmp_path: Path
) -> None:
    """The fast path: at hand after the first time, dead at the request after its revocation, and not said from memory
    to a request with other credentials."""
    settings = make_settings(tmp_path)
    endpoint = direct_endpoints(settings, parts, build_services(settings, parts))["/auth/introspect"]
    key_id, text = made(server)

    def ask(**headers: str) -> tuple[int, int, bool]:
        lines = [("content-type", FORM), *((name.replace("_", "-").lower(), value) for name, value in headers.items())]
        exchange = OneExchange()
        endpoint.begin(DirectRequest("POST", "/auth/introspect", lines, f"token={text}".encode(), None), exchange)
        (answer,) = exchange.answers
        return answer.status, exchange.threads, b'"active":true' in answer.body

    first, again, kept = ask(**basic()), ask(**basic()), ask(**basic())
    two = ask(**basic(), x_api_key=text)
    server.request("DELETE", f"/ApiKey/{key_id}", headers=basic())

    assert (first, again, kept, two) == ((200, 1, True), (200, 0, True), (200, 0, True), (400, 1, False))
    assert ask(**basic())[2] is False


def test_a_use_is_seen_in_each_hour_though_answers_are_kept(server: Server, parts: Parts, tmp_path: Path) -> None:
    """X31: last used, to the hour, also for a key that is asked about all the time."""
    settings = make_settings(tmp_path)
    services = build_services(settings, parts)
    endpoint = direct_endpoints(settings, parts, services)["/auth/introspect"]
    app = Server(create_app(settings, parts=parts, services=services))
    seen = []
    with freeze_time("2030-01-01 10:59:50") as frozen:
        key_id, text = made(app)
        for _ in range(4):
            lines = [("content-type", FORM), ("authorization", basic()["Authorization"])]
            request = DirectRequest("POST", "/auth/introspect", lines, f"token={text}".encode(), None)
            endpoint.begin(request, OneExchange())
            seen.append(app.request("GET", f"/ApiKey/{key_id}", headers=basic()).json["lastUsed"][11:13])
            frozen.tick(5)

    assert seen == ["10", "10", "11", "11"]
