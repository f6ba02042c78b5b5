"""Policies asked by each of the three doors: what they see of a request, and what becomes of a policy that fails.

Rows X16, X19; threats G07, G10.
"""

from pathlib import Path
from typing import Any

import pytest

from authserver.errors import Forbidden
from authserver.protocol.forwarded_request import ForwardedRequest
from authserver.protocol.policy_request import PolicyRequest
from authserver.services.ports import ACCESS_POLICY, CLIENT
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, NOW
from tests.services.memory_server import SECRET, Server, open_server

SEARCH = PolicyRequest("GET", "/fhir/Patient", (("_id", "1"),), "search-type", "Patient")
UNREADABLE = PolicyRequest("GET", "/fhir/Patient/\ud800")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A server with the documented client, of a tenant."""
    server = open_server(tmp_path)
    server.register(tenant="north", details={"patients": ["1", "2"]})
    return server


def put_policy(server: Server, body: dict[str, Any], policy_id: str = "p") -> None:
    """Register a policy."""
    server.services.registration.put(ACCESS_POLICY, policy_id, body, actor="test", now=NOW * 10**6)


def pattern(pattern: dict[str, Any]) -> dict[str, Any]:
    """Return a policy of the engine matcho."""
    return {"engine": "matcho", "matcho": pattern}


def decision(server: Server, token: str, request: PolicyRequest) -> object:
    """Return the decision that comes with an introspection, without the id of its record."""
    told = server.services.introspection.introspect(token, request=request, now=NOW)["policy_decision"]
    return {name: value for name, value in told.items() if name != "decision"}


@pytest.mark.parametrize(
    ("fitting", "other"),
    [
        ({"params": {"resource/type": "Patient"}}, {"params": {"resource/type": "Observation"}}),
        (
            {"params": {"_id": {"$one-of": ".client.details.patients"}}},
            {"params": {"_id": ".client.details.patients.1"}},
        ),
        ({"jwt": {"client_id": CLIENT_ID, "tenant": ".tenant"}}, {"jwt": {"client_id": "x"}}),
        ({"tenant": "north"}, {"tenant": "south"}),
        ({"operation": {"id": "FhirSearch"}}, {"operation": {"id": "FhirRead"}}),
        ({"client": {"type": "bulk-api-client"}}, {"client": {"secret": "present?"}}),
    ],
)
def test_an_introspection_decides_by_request_token_and_client(
    server: Server, fitting: dict[str, Any], other: dict[str, Any]
) -> None:
    """Row X16."""
    token = server.token()
    put_policy(server, pattern(fitting))
    allowed = decision(server, token, SEARCH)

    put_policy(server, pattern(other))

    assert (allowed, decision(server, token, SEARCH)) == ({"allowed": True, "policy": "p"}, {"allowed": False})


def test_forward_auth_decides_by_headers_source_and_token(server: Server) -> None:
    """Rows X16, X45."""
    token, verify = server.token(scope="system/Patient.rs"), server.services.forward_auth.verify
    put_policy(
        server, pattern({"headers": {"x-purpose": "care"}, "remote-addr": "#^192\\.0\\.2\\.", "jwt": "present?"})
    )
    request = ForwardedRequest("GET", "/fhir/Patient/1", (), (("x-purpose", "care"),), "192.0.2.7")

    assert verify(token, request, now=NOW).client_id == CLIENT_ID
    with pytest.raises(Forbidden):
        verify(token, ForwardedRequest("GET", "/fhir/Patient/1", (), (), "192.0.2.7"), now=NOW)


def test_our_own_doors_decide_by_token_and_operation(server: Server) -> None:
    """Row X16."""
    server.register(auth={"client_credentials": {"audience": [ISSUER]}}, scope=["__introspect"])
    authorization = server.services.authorization
    caller = authorization.by_token(server.token(scope="__introspect"), now=NOW)
    put_policy(server, pattern({"operation": {"id": "auth-introspect"}, "jwt": {"scope": "__introspect"}}))

    authorization.require_name(
        caller, PolicyRequest("POST", "/auth/introspect", (), "auth-introspect"), scope="__introspect"
    )
    with pytest.raises(Forbidden):
        authorization.require_name(
            caller, PolicyRequest("POST", "/auth/revoke", (), "auth-revoke"), scope="__introspect"
        )


def test_a_policy_that_fails_refuses_and_is_told_of(server: Server) -> None:
    """Threat G07: deny and alarm, by a reason of its own; a policy beside it may still allow."""
    server.register(grant_types=["basic"], secret=SECRET, scope=None)
    authorization = server.services.authorization
    caller = authorization.by_secret(CLIENT_ID, SECRET)
    put_policy(server, pattern({"uri": "#^/fhir/"}))

    with pytest.raises(Forbidden) as refused:
        authorization.require_resource(caller, UNREADABLE, letter="r")
    told = server.events[-1]
    server.allow(CLIENT_ID, policy_id="q")
    authorization.require_resource(caller, UNREADABLE, letter="r")

    assert refused.value.reason == "policy_failed"
    assert told == ("policy_failed", {"policy": "p", "client_id": CLIENT_ID, "interaction": ""})


def test_forward_auth_tells_of_a_policy_that_fails(server: Server) -> None:
    """Threat G07."""
    put_policy(server, pattern({"uri": "#^/fhir/"}))

    with pytest.raises(Forbidden) as refused:
        server.services.forward_auth.verify(server.token(), ForwardedRequest("GET", "/api/\ud800"), now=NOW)

    assert (refused.value.reason, server.events[-1][0]) == ("policy_failed", "policy_failed")


def test_a_link_to_an_operation_is_for_every_client_and_one_to_a_client_for_its_life(server: Server) -> None:
    """Row X19: alternatives. Threat G10: registered anew, the client has the operation like all, and nothing more."""
    link = [{"reference": f"Client/{CLIENT_ID}"}, {"reference": "Operation/FhirRead"}]
    put_policy(server, {"engine": "allow", "link": link})
    server.register("another")
    read = PolicyRequest("GET", "/fhir/Patient/1", (), "read", "Patient", "1")

    def decisions(client_id: str) -> list[object]:
        token = server.token(client_id)
        return [decision(server, token, request) for request in (read, SEARCH)]

    before, others = decisions(CLIENT_ID), decisions("another")
    server.delete(CLIENT_ID)
    server.register()

    yes, no = {"allowed": True, "policy": "p"}, {"allowed": False}
    assert (before, others, decisions(CLIENT_ID)) == ([yes, yes], [yes, no], [yes, no])


def test_reading_clients_is_another_operation_than_reading_patients(server: Server) -> None:
    """Row X19: what opens FhirRead to everybody opens no registry."""
    put_policy(server, {"engine": "allow", "link": [{"reference": "Operation/FhirRead"}]})
    server.register(grant_types=["basic"], secret=SECRET, scope=None)
    authorization = server.services.authorization
    caller = authorization.by_secret(CLIENT_ID, SECRET)
    client = PolicyRequest("GET", "/Client/x", (), "read", CLIENT, "x")

    refused = authorization.is_operator(caller, client)
    put_policy(server, {"engine": "allow", "link": [{"reference": "Operation/registry-read"}]})

    assert (refused, authorization.is_operator(caller, client)) == (False, True)


def test_a_policy_sees_the_claims_as_they_are_signed(server: Server) -> None:
    """Row X16."""
    put_policy(server, pattern({"jwt": {"aud": FHIR_BASE, "exp": NOW + 300}}))

    assert decision(server, server.token(), SEARCH) == {"allowed": True, "policy": "p"}
