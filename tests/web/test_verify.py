"""Forward-auth over HTTP: what a proxy gets to hear. Row X45; threats F05, F06, F09, G05, G06."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from authserver import clock
from authserver.app import Parts, create_app
from authserver.errors import UnexpectedError
from authserver.protocol.forwarded_request import ForwardedRequest
from authserver.services.forward_auth import ForwardAuth
from tests.builders import CLIENT_ID, ROOT_SECRET, make_settings
from tests.http import Server, basic, bearer
from tests.services.memory_server import open_server

TOLD = ("X-Auth-Client", "X-Auth-Scope", "X-Auth-Tenant", "X-Auth-Jti")


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client, of a tenant, with a policy."""
    server.put_client(tenant="north")
    server.put_policy()


def forwarded(
    server: Server, token: str, *, method: str = "GET", uri: str = "/fhir/Patient/1", **headers: str
) -> TestResponse:
    """Ask as nginx, Traefik and Caddy do."""
    described = {"X-Forwarded-Method": method, "X-Forwarded-Uri": uri, **bearer(token)}
    return server.request("GET", "/auth/verify", headers={**described, **headers})


def told(response: TestResponse) -> Mapping[str, str]:
    """Return what the server behind is told."""
    return {name: response.headers[name] for name in TOLD if name in response.headers}


def test_a_good_request_passes_and_the_server_behind_is_told_whose_it_is(server: Server) -> None:
    """X45: client, scope, tenant and jti."""
    token = server.token(scope="system/Patient.rs")

    response = forwarded(server, token)

    jti = server.introspect(token).json["jti"]
    assert (response.status_code, response.data) == (200, b"{}")
    assert told(response) == dict(zip(TOLD, (CLIENT_ID, "system/Patient.rs", "north", jti), strict=True))


def test_a_client_without_a_tenant_has_an_empty_header(server: Server) -> None:
    """X45: present, so that a proxy overwrites what the caller sent."""
    server.put_client()

    assert told(forwarded(server, server.token()))["X-Auth-Tenant"] == ""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_envoy_names_the_request_by_path_and_method(server: Server, method: str) -> None:
    """X45: ext_authz with a path prefix; headers that the caller sent do not count then."""
    token = server.token(scope="system/Patient.rs")
    lies = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/fhir/Patient/1"}

    good = server.request(method, "/auth/verify/fhir/Patient/1?_format=json", headers=bearer(token))
    other = server.request(method, "/auth/verify/fhir/Observation/1", headers={**bearer(token), **lies})

    assert (good.status_code, other.status_code) == (200, 403)


def test_envoy_may_ask_about_the_root(server: Server) -> None:
    """X45: the prefix with a slash is the path `/`; the policy decides about it."""
    headers = bearer(server.token())
    before = server.request("GET", "/auth/verify/", headers=headers).status_code
    server.request("DELETE", f"/AccessPolicy/{CLIENT_ID}", headers=basic())

    assert (before, server.request("GET", "/auth/verify/", headers=headers).status_code) == (200, 403)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/auth/verify", "/auth/verify/"])
def test_nobody_is_sent_elsewhere(server: Server, method: str, path: str) -> None:
    """E13: no redirect, whose address would be made of the caller's own Host."""
    response = server.request(method, path, headers={"Host": "evil.example"})

    assert (response.status_code in (401, 403), response.headers.get("Location")) == (True, None)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_envoys_method_is_the_requests_own(server: Server, method: str) -> None:
    """A22: a reading token does not write."""
    server.put_client(scope=["system/*.read", "system/Patient.cud"])
    reading, writing = server.token(scope="system/Patient.rs"), server.token(scope="system/Patient.cud")
    path = "/auth/verify/fhir/Patient" + ("" if method == "POST" else "/1")

    answers = [server.request(method, path, headers=bearer(token)).status_code for token in (reading, writing)]

    assert answers == [403, 200]


@pytest.mark.parametrize("how", ["nonsense", "", "a.b.c"])
def test_a_bad_token_is_a_401_with_a_challenge(server: Server, how: str) -> None:
    """F05: nothing is told."""
    response = forwarded(server, how)

    assert (response.status_code, told(response)) == (401, {})
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="authserver", error="invalid_token"'


def test_no_token_is_a_401_without_an_error_code(server: Server) -> None:
    """RFC 6750 section 3.1; Basic is no token either."""
    described = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/x"}

    answers = [server.request("GET", "/auth/verify", headers={**described, **more}) for more in ({}, basic())]

    assert [(a.status_code, a.headers["WWW-Authenticate"]) for a in answers] == [(401, 'Bearer realm="authserver"')] * 2


def test_a_missing_scope_is_a_403_that_names_it(server: Server) -> None:
    response = forwarded(server, server.token(scope="system/Observation.rs"))

    assert (response.status_code, told(response)) == (403, {})
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="authserver", error="insufficient_scope", scope="system/Patient.r"'
    )


def test_the_policies_decide_and_a_deleted_one_at_once(server: Server) -> None:
    """X45, G10."""
    token = server.token()
    before = forwarded(server, token, uri="/api/anything", method="POST").status_code
    server.request("DELETE", f"/AccessPolicy/{CLIENT_ID}", headers=basic())

    after = forwarded(server, token, uri="/api/anything", method="POST")

    assert (before, after.status_code, after.json["error"]) == (200, 403, "access_denied")


def test_a_disabled_client_is_out_at_once(server: Server) -> None:
    """F06, X50."""
    token = server.token()
    before = forwarded(server, token).status_code
    server.put_client(active=False)

    assert (before, forwarded(server, token).status_code) == (200, 401)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Uri": "/fhir/Patient/%31"},
        {"X-Forwarded-Uri": "/fhir/Patient/../Observation"},
        {"X-Forwarded-Uri": "/fhir//Patient"},
        {"X-Forwarded-Uri": "http://x/fhir/Patient/1"},
        {"X-Forwarded-Uri": ""},
        {"X-Forwarded-Uri": "/fhir/Patient/1,/fhir/Observation/1"},
        {"X-Forwarded-Uri": "/fhir/Patient?name=x, /fhir/Observation/1"},
        {"X-Forwarded-Uri": "/fhir/Patient?access_token=x"},
        {"X-Forwarded-Method": "get"},
        {"X-Forwarded-Method": ""},
        {"X-Forwarded-Method": "GET, PUT"},
        {"X-HTTP-Method-Override": "PUT"},
    ],
    ids=str,
)
def test_a_bad_description_is_a_403(server: Server, headers: dict[str, str]) -> None:
    """G05, G06: never another status, which a proxy would take for a fault of its own."""
    token = server.token()

    assert forwarded(server, token).status_code == 200
    assert forwarded(server, token, **headers).status_code == 403


def test_a_proxy_that_describes_nothing_or_twice_is_refused(server: Server) -> None:
    """X45: closed without a description; a second header of the same name is one too many."""
    token = server.token()
    header = ("Authorization", f"Bearer {token}")
    method, uri = ("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/fhir/Patient/1")

    answers = [
        server.request("GET", "/auth/verify", headers=headers).status_code
        for headers in ([header], [header, method], [header, uri], [header, method, uri, uri], [header, method, uri])
    ]
    twice = server.request("GET", "/auth/verify", headers=[header, header, method, uri])

    assert (answers, twice.status_code) == ([403, 403, 403, 403, 200], 403)


def test_a_path_that_no_proxy_may_ask_about_is_a_403(server: Server) -> None:
    """G05 for Envoy."""
    token = server.token()

    escaped = server.request("GET", "/auth/verify/fhir/Patient/..%2f1", headers=bearer(token))

    assert escaped.status_code == 403


def test_a_token_for_another_audience_is_refused(tmp_path: Path, parts: Parts) -> None:
    """F05; with the setting it is the one that is taken. `none` leaves the paths to the policies alone."""
    settings = make_settings(tmp_path, verify_audiences="https://lab.example", verify_fhir_bases="none")
    server = Server(create_app(settings, parts=parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    server.put_client(auth={"client_credentials": {"audience": ["https://lab.example", "https://auth.example/fhir"]}})
    server.put_policy()

    ours = server.token(resource="https://lab.example", scope="system/Patient.r")
    other = server.token(resource="https://auth.example/fhir", scope="system/Patient.r")

    uri = "/fhir/Observation/1"
    assert [forwarded(server, token, uri=uri).status_code for token in (ours, other)] == [200, 401]


def test_a_claim_that_is_no_header_value_is_never_sent(tmp_path: Path) -> None:
    """X45: no line break, whoever wrote the registration; a token of our key with such a claim is refused."""
    server = open_server(tmp_path)
    server.register()
    server.allow(CLIENT_ID)
    now = clock.now()
    claims = {"iss": "https://auth.example", "aud": "https://auth.example/fhir", "client_id": CLIENT_ID, "scope": "x"}
    forward = ForwardAuth(server.services.introspection, frozenset({"https://auth.example/fhir"}), ())
    good, bad = (
        server.parts.signer.sign({**claims, "exp": now + 60, "jti": "1.x", "tenant": tenant}, typ="at+jwt")
        for tenant in ("north", "north\r\nX-Auth-Client: root")
    )

    assert forward.verify(good, ForwardedRequest("GET", "/"), now=now).tenant == "north"
    with pytest.raises(UnexpectedError):
        forward.verify(bad, ForwardedRequest("GET", "/"), now=now)
