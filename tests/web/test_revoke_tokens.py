"""Every token of a client revoked by one write. Rows X46 and X50; threats C14, E10, F06, G01, G10."""

from typing import Any

import pytest

from authserver.app import Parts
from tests.builders import CLIENT_ID, RecordingAuditLog, client_resource, inline_keys
from tests.http import Server, basic, bearer
from tests.keys import key, new_key

PATH = f"/Client/{CLIENT_ID}/$revoke-tokens"


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client with a policy."""
    server.put_client()
    server.put_policy()


def events(parts: Parts, name: str) -> list[dict[str, object]]:
    """Return what the audit log was told of this kind."""
    assert isinstance(parts.audit_log, RecordingAuditLog)
    return [facts for event, facts in parts.audit_log.events if event == name]


def test_every_token_is_dead_and_new_ones_live(server: Server, parts: Parts) -> None:
    """X46, F06: no registration anew, no new version; the policy goes on to work for the next token."""
    tokens = [server.token() for _ in range(3)]
    etag = server.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).headers["ETag"]

    response = server.request("POST", PATH, headers=basic())

    described = '{"method": "GET", "path": "/fhir/Patient"}'
    fresh = server.introspect(server.token(), request=described).json
    assert (response.status_code, response.json["issue"][0]["severity"]) == (200, "information")
    assert [server.introspect(token).json for token in tokens] == [{"active": False}] * 3
    assert (fresh["active"], fresh["jti"][:2], fresh["policy_decision"]["allowed"]) == (True, "2.", True)
    assert server.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).headers["ETag"] == etag
    assert events(parts, "client_tokens_revoked") == [{"client_id": CLIENT_ID, "generation": 2, "actor": "root"}]


def test_another_clients_tokens_live_on(server: Server) -> None:
    """X46: one client, not all."""
    server.put_client("other", **inline_keys(key()))
    token = server.ask_token(client_id="other").json["access_token"]

    server.request("POST", PATH, headers=basic())

    assert server.introspect(token).json["active"] is True


def test_registered_anew_no_former_token_comes_back(server: Server) -> None:
    """E10, X50: the count goes on over deletion, revocation, and deletion again."""
    tokens = []
    for change in ("revoke", "delete", "revoke", "delete"):
        tokens.append(server.token())
        if change == "revoke":
            server.request("POST", PATH, headers=basic())
            continue
        server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())
        server.put_client()
    tokens.append(server.token())

    answers = [server.introspect(token).json for token in tokens]

    assert [answer["active"] for answer in answers] == [False] * 4 + [True]
    assert answers[-1]["jti"].startswith("5.")


@pytest.mark.parametrize("path", ["/Client/unknown/$revoke-tokens", "/AccessPolicy/x/$revoke-tokens"])
def test_only_a_registered_client_has_tokens(server: Server, path: str) -> None:
    assert server.request("POST", path, headers=basic()).status_code == 404


def test_a_deleted_client_has_none(server: Server) -> None:
    server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())

    assert server.request("POST", PATH, headers=basic()).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_it_is_a_post(server: Server, method: str) -> None:
    assert server.request(method, PATH, headers=basic()).status_code == 405


def test_it_needs_an_operator(server: Server) -> None:
    """G01: the letter u on Client and a policy; neither nobody nor the client itself."""
    server.put_client(scope=["system/Client.u", "system/Client.r", "system/Patient.rs"])
    token, writing, reading = (server.token(scope=f"system/{what}") for what in ("Patient.r", "Client.u", "Client.r"))

    refused = [server.request("POST", PATH, headers=headers).status_code for headers in ({}, bearer(reading))]
    still = server.introspect(token).json["active"]
    allowed = server.request("POST", PATH, headers=bearer(writing)).status_code

    assert (refused, still, allowed) == ([401, 403], True, 200)
    assert server.introspect(token).json["active"] is False


def put_keys(server: Server, query: str, **changes: Any) -> int:
    """Replace the client's keys and return the status."""
    body = client_resource(**changes)
    return server.request("PUT", f"/Client/{CLIENT_ID}{query}", json=body, headers=basic()).status_code


@pytest.mark.parametrize(
    ("query", "active"), [("", True), ("?revoke-tokens=false", True), ("?revoke-tokens=true", False)]
)
def test_a_change_of_keys_ends_the_tokens_on_request(server: Server, parts: Parts, query: str, active: bool) -> None:
    """C14: by a parameter of the PUT, in one write; the change of keys is an event either way."""
    token = server.token()

    status = put_keys(server, query, **inline_keys(new_key()))

    assert (status, server.introspect(token).json["active"]) == (200, active)
    assert events(parts, "client_keys_changed") == [
        {"client_id": CLIENT_ID, "actor": "root", "revoked": not active},
    ]


def test_another_change_is_no_change_of_keys(server: Server, parts: Parts) -> None:
    """C14's control."""
    put_keys(server, "", name="a better name")

    assert events(parts, "client_keys_changed") == []


@pytest.mark.parametrize("query", ["?revoke-tokens=", "?revoke-tokens=yes", "?revoke-tokens=true&revoke-tokens=true"])
def test_a_parameter_that_cannot_be_read_changes_nothing(server: Server, query: str) -> None:
    """A revocation must not be lost by a slip."""
    assert put_keys(server, query, active=False) == 400
    assert server.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).json["active"] is True


def test_a_policy_has_no_tokens(server: Server) -> None:
    response = server.request("PUT", "/AccessPolicy/x?revoke-tokens=true", json={"engine": "allow"}, headers=basic())

    assert response.status_code == 400
