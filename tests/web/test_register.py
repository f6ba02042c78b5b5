"""Dynamic registration (RFC 7591). Row X59, G1 of the protocol; threats G01, C14."""

import re
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from werkzeug.test import TestResponse

from authserver import clock
from authserver.app import Parts, create_app
from tests.builders import JWKS_URI, ROOT_SECRET, make_settings
from tests.http import Server, basic, bearer
from tests.keys import key

PORTAL = "portal"
KEYS = {"keys": [key("ES256", "k").jwk]}


def metadata(**changes: Any) -> dict[str, Any]:
    """Return the metadata of a client with changes; a None leaves the member out."""
    usual = {
        "client_name": "Clinic 7",
        "jwks": KEYS,
        "grant_types": ["client_credentials"],
        "scope": "system/Patient.rs system/Observation.rs",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        **changes,
    }
    return {name: value for name, value in usual.items() if value is not None}


def put_portal(server: Server, **changes: Any) -> None:
    """Register the client whose initial access tokens let others register."""
    hands_out = ["system/Patient.rs", "system/Observation.rs"]
    server.put_client(PORTAL, **{"scope": ["__register"], "registration_scope": hands_out, **changes})
    server.put_policy(PORTAL, PORTAL)


def initial_token(server: Server) -> dict[str, str]:
    """Return the header with an initial access token."""
    return bearer(server.ask_token(client_id=PORTAL, scope="__register").json["access_token"])


def register(server: Server, headers: dict[str, str] | None = None, **changes: Any) -> TestResponse:
    """Register with this metadata and an initial access token."""
    return server.request("POST", "/auth/register", json=metadata(**changes), headers=headers or initial_token(server))


@pytest.fixture(autouse=True)
def portal(server: Server) -> None:
    """Every test starts with the portal registered."""
    put_portal(server)


@freeze_time("2027-01-15T08:00:00Z")
def test_a_client_registers_itself(server: Server) -> None:
    """X59: 201 with a random id, the time and the metadata; the same Client resource as by PUT, not yet active."""
    response = register(server, unknown_member={"a": 1}, software_statement="x")

    client_id = response.json["client_id"]
    stored = server.request("GET", f"/Client/{client_id}", headers=basic()).json
    assert (response.status_code, response.headers["Cache-Control"]) == (201, "no-store")
    assert re.fullmatch("[0-9a-f]{32}", client_id)
    assert response.json == {
        **metadata(),
        "response_types": [],
        "client_id": client_id,
        "client_id_issued_at": 1_800_000_000,
    }
    assert {name: value for name, value in stored.items() if name != "meta"} == {
        "resourceType": "Client",
        "id": client_id,
        "active": False,
        "name": "Clinic 7",
        "grant_types": ["client_credentials"],
        "scope": ["system/Patient.rs", "system/Observation.rs"],
        "jwks": KEYS,
        "token_endpoint_auth_signing_alg": "ES256",
        "details": {"registered_by": PORTAL},
    }


def test_a_new_client_gets_tokens_when_an_operator_enables_it(server: Server) -> None:
    """X59: inactive by default; enabled it authenticates with its key."""
    pair = key("ES256", "k")
    client_id = register(server).json["client_id"]
    before = server.ask_token(pair, client_id=client_id)
    body = server.request("GET", f"/Client/{client_id}", headers=basic()).json
    server.request("PUT", f"/Client/{client_id}", json={**body, "active": True}, headers=basic())

    after = server.ask_token(pair, client_id=client_id, scope="system/*.rs")

    assert (before.status_code, before.json["error"]) == (400, "invalid_client")
    assert after.json["scope"] == "system/Observation.rs system/Patient.rs"


def test_a_setting_makes_new_clients_active_but_without_a_policy(tmp_path: Path, parts: Parts) -> None:
    """X59: a token then, and nothing that it opens."""
    settings = make_settings(tmp_path, registered_clients_active=True)
    server = Server(create_app(settings, parts=parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    client_id = register(server).json["client_id"]

    token = server.ask_token(key("ES256", "k"), client_id=client_id, scope=None).json["access_token"]
    answer = server.introspect(token, request='{"method": "GET", "path": "/fhir/Patient"}').json

    assert (answer["active"], answer["client_id"], answer["policy_decision"]["allowed"]) == (True, client_id, False)


def test_two_registrations_are_two_clients(server: Server) -> None:
    """C14, G01: nobody chooses an id, so nobody takes a client over."""
    ids = [register(server, client_id=PORTAL, id=PORTAL).json["client_id"] for _ in range(2)]

    assert len({*ids, PORTAL}) == 3
    assert server.request("GET", f"/Client/{PORTAL}", headers=basic()).headers["ETag"] == 'W/"1"'


def test_absent_metadata_gets_this_servers_values(server: Server) -> None:
    """G1: RFC 7591's own defaults name what this server has not."""
    response = register(
        server,
        client_name=None,
        grant_types=None,
        token_endpoint_auth_method=None,
        token_endpoint_auth_signing_alg=None,
        jwks=None,
        jwks_uri=JWKS_URI,
    )

    found = {name: value for name, value in response.json.items() if not name.startswith("client_id")}
    assert found == {
        "grant_types": ["client_credentials"],
        "response_types": [],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": JWKS_URI,
        "scope": "system/Patient.rs system/Observation.rs",
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"jwks_uri": JWKS_URI}, "jwks: jwks and jwks_uri must not both be present"),
        ({"jwks": None}, "jwks: jwks or jwks_uri is needed"),
        ({"jwks": {"keys": []}}, "jwks.keys: must be a list"),
        pytest.param({"jwks": {"keys": [{**KEYS["keys"][0], "d": "AAAA"}]}}, "jwks.keys[0]: ", id="private key"),
        pytest.param({"jwks": [KEYS["keys"][0]]}, "jwks: ", id="bare array"),
        ({"jwks": None, "jwks_uri": "http://10.0.0.1/k"}, "jwks_uri: "),
        ({"jwks": None, "jwks_uri": 'https://x.example/"'}, "jwks_uri: "),
        ({"grant_types": ["client_credentials", "authorization_code"]}, "grant_types: "),
        ({"grant_types": []}, "grant_types: "),
        ({"response_types": ["code"]}, "response_types: "),
        ({"token_endpoint_auth_method": "none"}, "token_endpoint_auth_method: "),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method: "),
        ({"token_endpoint_auth_signing_alg": "HS256"}, "token_endpoint_auth_signing_alg: "),
        ({"client_name": 7}, "client_name: "),
        ({"client_name": "x" * 201}, "client_name: "),
        ({"scope": None}, "scope: "),
        ({"scope": ""}, "scope: "),
        ({"scope": "system/Patient.sr"}, "scope: is no list"),
        ({"scope": "system/Patient.cruds"}, "scope: goes beyond"),
        ({"scope": "system/Patient.rs system/Goal.rs"}, "scope: goes beyond"),
        ({"scope": "system/*.rs"}, "scope: goes beyond"),
        ({"scope": "__register"}, "scope: goes beyond"),
        ({"scope": "__introspect"}, "scope: goes beyond"),
    ],
    ids=str,
)
def test_metadata_that_cannot_be_registered_is_refused(server: Server, changes: dict[str, Any], named: str) -> None:
    """G1, X59: 400 invalid_client_metadata naming the member; nothing is stored."""
    control = register(server)
    before = server.request("GET", "/Client", headers=basic()).json["total"]

    response = register(server, **changes)

    assert control.status_code == 201
    assert (response.status_code, response.json["error"]) == (400, "invalid_client_metadata")
    assert response.json["error_description"].startswith(named)
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", response.json["error_description"])
    assert server.request("GET", "/Client", headers=basic()).json["total"] == before


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"scope": "a", "scope": "b"}', b"\xff", b""])
def test_a_body_that_is_no_object_is_refused(server: Server, body: bytes) -> None:
    """G02: two readings are none."""
    options = {"content_type": "application/json", "headers": initial_token(server)}
    response = server.request("POST", "/auth/register", data=body, **options)

    assert (response.status_code, response.json["error"]) == (400, "invalid_client_metadata")


def test_a_form_is_refused(server: Server) -> None:
    assert server.post_form("/auth/register", {"scope": "x"}, headers=initial_token(server)).status_code == 415


def test_a_scope_is_narrower_than_what_may_be_handed_out(server: Server) -> None:
    """X59: one letter, one filter; the wildcard only where it was given."""
    one = register(server, scope="system/Observation.s?category=laboratory")
    put_portal(server, registration_scope=["system/*.rs", "__introspect"])
    every = register(server, scope="system/*.rs __introspect")
    client = register(server, scope="system/Client.r")

    assert [answer.status_code for answer in (one, every, client)] == [201, 201, 400]


def test_a_portal_that_may_hand_out_nothing_registers_nobody(server: Server) -> None:
    """X59: its own scopes are not what it hands out."""
    put_portal(server, registration_scope=None, scope=["__register", "system/Patient.rs"])

    assert register(server, scope="system/Patient.rs").json["error"] == "invalid_client_metadata"


def test_a_new_client_is_of_the_portals_tenant(server: Server) -> None:
    """X59: whatever the metadata says."""
    put_portal(server, tenant="north")

    client_id = register(server, tenant="south").json["client_id"]

    assert server.request("GET", f"/Client/{client_id}", headers=basic()).json["tenant"] == "north"


@pytest.mark.parametrize("headers", [{"X": "none"}, bearer("nonsense"), basic()], ids=["none", "bearer", "basic"])
def test_only_an_initial_access_token_opens_it(server: Server, headers: dict[str, str]) -> None:
    """G01, X59: not the operator's secret either."""
    response = register(server, headers)

    assert response.status_code == 401
    assert 'Bearer realm="authserver"' in response.headers["WWW-Authenticate"]


def test_the_token_needs_the_scope_and_the_client_a_policy(server: Server) -> None:
    """G01: a client's own bearer token registers nobody."""
    put_portal(server, scope=["__register", "system/Patient.rs"])
    plain = bearer(server.ask_token(client_id=PORTAL, scope="system/Patient.rs").json["access_token"])
    good = initial_token(server)
    scoped = register(server, plain)
    before = register(server, good).status_code
    server.request("DELETE", f"/AccessPolicy/{PORTAL}", headers=basic())

    after = register(server, good)

    assert (scoped.status_code, scoped.json["error"]) == (403, "insufficient_scope")
    assert (before, after.status_code, after.json["error"]) == (201, 403, "access_denied")


def test_a_token_in_the_query_is_refused(server: Server) -> None:
    """F09."""
    path, headers = "/auth/register?access_token=x", initial_token(server)

    assert server.request("POST", path, json=metadata(), headers=headers).status_code == 400


def test_discovery_names_the_endpoint(server: Server) -> None:
    """X59: registration_endpoint, absolute."""
    for name in ("smart-configuration", "oauth-authorization-server"):
        document = server.request("GET", f"/.well-known/{name}").json
        assert document["registration_endpoint"] == "https://auth.example/auth/register"
