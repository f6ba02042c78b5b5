"""AuthZEN over HTTP: who may ask, about whom, and what is answered. Row X57; threats F02, G01."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.builders import CLIENT_ID
from tests.http import Server, basic

PATH = "/access/v1/evaluation"
LINK = [{"reference": f"Client/{CLIENT_ID}"}]


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client, of a tenant, which may read patients."""
    server.put_client(tenant="north")
    pattern = {"operation": {"id": "FhirRead"}, "params": {"resource/type": "Patient"}}
    body = {"engine": "matcho", "matcho": pattern, "link": LINK}
    server.request("PUT", "/AccessPolicy/reads", json=body, headers=basic())


def ask(server: Server, *, headers: Any = None, **changes: Any) -> TestResponse:
    """Ask the good question with changes, by default as root."""
    body = {
        "subject": {"type": "client", "id": CLIENT_ID},
        "action": {"name": "read"},
        "resource": {"type": "Patient", "id": "1"},
        **changes,
    }
    return server.request("POST", PATH, json=body, headers=basic() if headers is None else headers)


def resource_server(server: Server, **changes: Any) -> dict[str, str]:
    """Register one that may ask, and return its credentials."""
    server.put_client("rs", grant_types=["basic"], secret="canary-secret", **{"scope": ["__introspect"], **changes})
    body = {"engine": "allow", "link": [{"reference": "Client/rs"}]}
    server.request("PUT", "/AccessPolicy/rs", json=body, headers=basic())
    return basic("rs", "canary-secret")


def test_the_decision_is_that_of_the_policies(server: Server) -> None:
    answers = [ask(server), ask(server, action={"name": "update"}), ask(server, resource={"type": "Device", "id": "1"})]

    assert [(answer.status_code, answer.json) for answer in answers] == [
        (200, {"decision": True}),
        (200, {"decision": False}),
        (200, {"decision": False}),
    ]


def test_a_no_is_explained_by_the_request_id_which_is_ours(server: Server) -> None:
    """Row X23."""
    answer = ask(server, action={"name": "delete"}, headers={**basic(), "X-Request-Id": "chosen-by-the-caller"})

    told = server.request("GET", f"/AccessPolicy/$explain?decision={answer.headers['X-Request-Id']}", headers=basic())

    assert (told.json["operation"], told.json["path"]) == ("FhirDelete", "/fhir/Patient/{id}")


@pytest.mark.parametrize("changes", [{"active": False}, None])
def test_a_client_that_is_disabled_or_gone_may_do_nothing(server: Server, changes: dict[str, Any] | None) -> None:
    """Row X50."""
    before = ask(server).json
    if changes is None:
        server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())
    else:
        server.put_client(**changes)

    assert (before, ask(server).json) == ({"decision": True}, {"decision": False})


@pytest.mark.parametrize("client_id", ["nobody", "\ud7ff", "a/b", "x" * 65])
def test_a_client_that_never_was_may_do_nothing(server: Server, client_id: str) -> None:
    answer = ask(server, subject={"type": "client", "id": client_id})

    assert (answer.status_code, answer.json) == (200, {"decision": False})


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, True),
        ({"tenant": "north"}, True),
        ({"tenant": "south"}, False),
        ({"introspection_audience": "https://auth.example/fhir"}, True),
        ({"introspection_audience": "https://other.example"}, False),
    ],
)
def test_a_resource_server_asks_about_clients_of_its_own(
    server: Server, changes: dict[str, Any], decision: bool
) -> None:
    """Threat F02: as it may see their tokens."""
    assert ask(server, headers=resource_server(server, **changes)).json == {"decision": decision}


def test_a_stranger_and_a_client_that_may_not_introspect_are_refused(server: Server) -> None:
    """Threat G01."""
    bound = resource_server(server, scope=["system/Patient.rs"])
    without_scope = ask(server, headers=bound).status_code
    may_ask = resource_server(server)
    server.request("DELETE", "/AccessPolicy/rs", headers=basic())

    statuses = [without_scope, ask(server, headers=may_ask).status_code, ask(server, headers={}).status_code]

    assert statuses == [403, 403, 401]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {}}, 400),
        ({"json": []}, 400),
        ({"data": "{", "content_type": "application/json"}, 400),
        ({"data": "a=b"}, 415),
    ],
)
def test_what_is_no_question_is_refused(server: Server, options: dict[str, Any], status: int) -> None:
    assert server.request("POST", PATH, headers=basic(), **options).status_code == status


def test_the_metadata_names_the_endpoint_and_never_the_host_that_was_asked(server: Server) -> None:
    """AuthZEN 1.0, section 9; threat E13."""
    answer = server.request("GET", "/.well-known/authzen-configuration", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json) == (
        200,
        {
            "policy_decision_point": "https://auth.example",
            "access_evaluation_endpoint": "https://auth.example/access/v1/evaluation",
        },
    )
