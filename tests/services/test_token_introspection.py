"""What a token is worth now. Rows A21, X3, X4, X46, X50; threats E10, F02, F05, F06."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authserver.protocol.policy import PolicyRequest
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, NOW, make_assertion, make_client
from tests.services.memory_server import Server, open_server

READ = PolicyRequest("GET", "/fhir/Patient/1", (), "read", "Patient", "1")
INACTIVE = {"active": False}


def introspect(server: Server, token: str, *, now: int = NOW, request: PolicyRequest | None = None) -> dict[str, Any]:
    """Return the introspection response."""
    return server.services.introspection.introspect(token, request=request, now=now)


def test_an_active_token_is_described(server: Server) -> None:
    """Row X3."""
    answer = introspect(server, server.token(scope="system/Patient.rs"))

    assert answer.pop("jti").startswith("1.")
    assert answer == {
        "active": True,
        "scope": "system/Patient.rs",
        "client_id": CLIENT_ID,
        "sub": CLIENT_ID,
        "iss": ISSUER,
        "aud": FHIR_BASE,
        "iat": NOW,
        "exp": NOW + 300,
        "token_type": "Bearer",
    }


@pytest.mark.parametrize(("now", "active"), [(NOW, True), (NOW + 299, True), (NOW + 300, False), (NOW + 10**6, False)])
def test_a_token_is_active_until_its_exp(server: Server, now: int, active: bool) -> None:
    """Row A21."""
    assert introspect(server, server.token(), now=now)["active"] is active


def _sign(server: Server, *, typ: str = "at+jwt", **changes: Any) -> str:
    """Return a token by our own key with changed claims, as an old version or a thief of the key might."""
    usual = {
        "iss": ISSUER,
        "sub": CLIENT_ID,
        "aud": FHIR_BASE,
        "client_id": CLIENT_ID,
        "scope": "system/Patient.rs",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "1.x",
    }
    claims = {name: value for name, value in {**usual, **changes}.items() if value is not None}
    return server.parts.signer.sign(claims, typ=typ)


def test_the_control_of_the_tokens_below_is_active(server: Server) -> None:
    assert introspect(server, _sign(server))["active"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"exp": None},
        {"exp": "never"},
        {"client_id": None},
        {"client_id": "unknown"},
        {"client_id": [CLIENT_ID]},
        {"client_id": "a\u0000b"},
        {"jti": None},
        {"jti": "2.x"},
        {"jti": 1},
        {"typ": "JWT"},
        {"typ": "at+jwt "},
    ],
    ids=str,
)
def test_a_token_of_our_key_with_other_claims_is_not_active(server: Server, changes: dict[str, Any]) -> None:
    """Threats F04 and F05."""
    assert introspect(server, _sign(server, **changes)) == INACTIVE


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: "x",
        lambda token: token[:-1],
        lambda token: token + "=",
        lambda token: f" {token}",
        lambda token: f"{token}.x",
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: "eyJhbGciOiJub25lIn0." + token.split(".")[1] + ".",
        lambda token: token.partition(".")[0] + "." + "A" * 20_000 + "." + token.rpartition(".")[2],
        lambda token: make_assertion(),
    ],
)
def test_everything_else_is_inactive_to_the_byte(server: Server, change: Callable[[str], str]) -> None:
    """Threats A22, F02, F03; standard answer IA."""
    token = server.token()

    assert json.dumps(introspect(server, change(token))) == '{"active": false}'
    assert introspect(server, token)["active"] is True


def test_a_token_of_another_server_is_not_active(server: Server, tmp_path: Path) -> None:
    """Threat F04: same issuer, another key."""
    other = open_server(tmp_path / "other")
    other.register()

    assert introspect(server, other.token()) == INACTIVE


def test_a_token_dies_with_its_clients_activity_and_wakes_with_it(server: Server) -> None:
    """Row X50, threat E10: the very next question."""
    token = server.token()

    server.register(active=False)
    disabled = introspect(server, token)
    server.register()

    assert disabled == INACTIVE
    assert introspect(server, token)["active"] is True


def test_a_token_dies_with_its_clients_registration_for_good(server: Server) -> None:
    """Row X50, threat E10: the id registered anew is another client."""
    token = server.token()

    server.delete()
    deleted = introspect(server, token)
    server.register()

    assert [deleted, introspect(server, token)] == [INACTIVE, INACTIVE]
    assert introspect(server, server.token())["active"] is True


def test_a_new_version_of_a_client_keeps_its_tokens(server: Server) -> None:
    token = server.token()

    server.register(name="a better name")

    assert introspect(server, token)["active"] is True


def test_an_owner_revokes_its_own_token_alone(server: Server) -> None:
    """Row X4; the other token of the same client lives on."""
    token, other = server.token(), server.token()
    owner = server.services.introspection.registry.client(CLIENT_ID)

    server.services.introspection.revoke(token, owner=owner, now=NOW)

    assert introspect(server, token) == INACTIVE
    assert introspect(server, other)["active"] is True
    event, facts = server.events[-1]
    assert (event, facts["client_id"], set(facts)) == ("token_revoked", CLIENT_ID, {"client_id", "jti"})
    assert token.split(".")[1] not in json.dumps(server.events)


def test_another_client_revokes_nothing(server: Server) -> None:
    """RFC 7009 section 2.1."""
    server.register("another")
    token = server.token()
    another = server.services.introspection.registry.client("another")

    server.services.introspection.revoke(token, owner=another, now=NOW)

    assert introspect(server, token)["active"] is True


def test_an_operator_revokes_any_token(server: Server) -> None:
    token = server.token()

    server.services.introspection.revoke(token, owner=None, now=NOW)
    server.services.introspection.revoke(token, owner=None, now=NOW)

    assert introspect(server, token) == INACTIVE


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_revoking_what_is_no_token_is_nothing(server: Server, token: str) -> None:
    """RFC 7009 section 2.2."""
    events = list(server.events)

    server.services.introspection.revoke(token, owner=None, now=NOW)

    assert server.events == events
    assert server.parts.stores.revocations.purge(before=2**40) == 0


def test_a_revocation_is_remembered_as_long_as_the_token_would_live(server: Server) -> None:
    """Row X46."""
    server.services.introspection.revoke(server.token(), owner=None, now=NOW)

    forgotten = [server.parts.stores.revocations.purge(before=moment) for moment in (NOW + 300, NOW + 301)]

    assert forgotten == [0, 1]


def test_a_described_request_is_decided_for_an_active_token(server: Server) -> None:
    """Rows A7 and A8: deleting the policy refuses the very next request."""
    token = server.token()
    decisions: list[dict[str, object]] = []

    decisions.append(introspect(server, token, request=READ)["policy_decision"])
    server.allow(CLIENT_ID)
    decisions.append(introspect(server, token, request=READ)["policy_decision"])
    server.services.registration.delete("AccessPolicy", "policy-1", actor="test", now=NOW)
    decisions.append(introspect(server, token, request=READ)["policy_decision"])

    records = [decisions[index].pop("decision") for index in (0, 2)]
    assert decisions == [{"allowed": False}, {"allowed": True, "policy": "policy-1"}, {"allowed": False}]
    assert len(set(records)) == 2


def test_a_caller_is_told_of_what_it_may_see_alone(server: Server) -> None:
    """Row X4, threat F02: for everybody else the token is inactive, described request or not."""
    server.allow(CLIENT_ID)
    token, introspection = server.token(), server.services.introspection
    lab, all_of_it = make_client("lab", introspection_audience="https://lab.example"), make_client("gateway")

    answers = [introspection.introspect(token, caller=who, request=READ, now=NOW) for who in (lab, all_of_it, None)]

    assert answers[0] == INACTIVE
    assert answers[1] == answers[2] == introspect(server, token, request=READ)
    assert answers[1]["active"] is True


def test_no_request_no_decision_and_no_token_no_decision(server: Server) -> None:
    server.allow(CLIENT_ID)

    assert "policy_decision" not in introspect(server, server.token())
    assert introspect(server, "nonsense", request=READ) == INACTIVE
