"""A 403 of the policies explained by its request id, and what a policy would change. Rows X23, X52; threat G01."""

import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.builders import CLIENT_ID
from tests.http import Server, basic, bearer

READS = {"engine": "matcho", "matcho": {"request-method": "get"}, "link": [{"reference": f"Client/{CLIENT_ID}"}]}


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client, which may read."""
    server.put_client()
    put_policy(server, READS)


def put_policy(server: Server, body: dict[str, Any], name: str = "reads") -> TestResponse:
    """Register a policy."""
    return server.request("PUT", f"/AccessPolicy/{name}", json=body, headers=basic())


def as_root(server: Server, path: str) -> TestResponse:
    """Ask as root."""
    return server.request("GET", path, headers=basic())


def explained(server: Server, decision: str) -> Any:
    """Return the record of a decision."""
    response = as_root(server, f"/AccessPolicy/$explain?decision={decision}")
    assert response.status_code == 200, response.text
    return response.json


def write(server: Server, token: str) -> TestResponse:
    """Let a proxy ask about a write."""
    headers = {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": "/app/Smith?given=John", **bearer(token)}
    return server.request("GET", "/auth/verify", headers=headers)


def test_a_proxy_that_was_refused_has_the_decision_as_its_request_id(server: Server) -> None:
    """Row X23: every candidate's verdict, and nothing that a request said."""
    refused = write(server, server.token())

    told = explained(server, refused.headers["X-Request-Id"])

    assert refused.status_code == 403
    assert {name: value for name, value in told.items() if name not in ("at", "until")} == {
        "id": refused.headers["X-Request-Id"],
        "client_id": CLIENT_ID,
        "method": "PUT",
        "path": "/{id}/{id}",
        "operation": None,
        "resource_type": None,
        "parameters": ["given"],
        "allowed": False,
        "policy": None,
        "verdicts": [
            {
                "id": "reads",
                "version": 1,
                "engine": "matcho",
                "eval-result": False,
                "mismatches": [{"expected": "get", "path": ["request-method"]}],
            }
        ],
    }


def test_an_introspection_with_a_refusal_has_the_decision_as_its_request_id(server: Server) -> None:
    """Row X23; asked again, the answer is another one with a record of its own."""
    token, request = server.token(), '{"method": "PUT", "path": "/fhir/Patient/1"}'

    # The first one is answered by asking, the second at hand; only the third could be said again.
    refused = [server.introspect(token, request=request) for _ in range(3)]

    named = [answer.json["policy_decision"]["decision"] for answer in refused]
    assert named == [answer.headers["X-Request-Id"] for answer in refused]
    assert len(set(named)) == 3
    assert [explained(server, name)["allowed"] for name in named] == [False, False, False]


def test_a_403_of_the_registry_has_the_decision_as_its_request_id(server: Server) -> None:
    """Row X23."""
    server.put_client(scope=["system/Client.cruds"])
    headers = bearer_of_registry(server)

    refused = server.request("DELETE", "/Client/x", headers=headers)

    told = explained(server, refused.headers["X-Request-Id"])
    assert (refused.status_code, told["operation"], told["path"]) == (403, "registry-delete", "/Client/{id}")


def bearer_of_registry(server: Server) -> dict[str, str]:
    """Return the credentials of a client with a secret that may read the registry by its policies alone."""
    server.put_client("clerk", grant_types=["basic"], secret="canary-secret", scope=["system/Client.cruds"])
    return basic("clerk", "canary-secret")


def test_only_an_operator_is_told(server: Server) -> None:
    """Threat G01: a client learns nothing of the rules, even of its own refusal."""
    refused, own = write(server, server.token()), bearer_of_registry(server)
    put_policy(server, {"engine": "allow", "link": [{"reference": "Client/clerk"}]}, "clerk")
    paths = [f"/AccessPolicy/$explain?decision={refused.headers['X-Request-Id']}", "/AccessPolicy/reads/$impact"]

    statuses = [[server.request("GET", path, headers=headers).status_code for path in paths] for headers in ({}, own)]

    assert statuses == [[401, 401], [403, 403]]
    assert [as_root(server, path).status_code for path in paths] == [200, 200]


@pytest.mark.parametrize("query", ["", "?decision=", "?decision=a&decision=b", "?decision=a&x=y", "?id=a"])
def test_one_decision_is_asked_for(server: Server, query: str) -> None:
    """What is not understood is not guessed at."""
    assert as_root(server, f"/AccessPolicy/$explain{query}").status_code == (404 if query == "?decision=" else 400)


@pytest.mark.parametrize(
    "path", ["$explain?decision=0123456789abcdef", "none/$impact", "n%6Fne/$impact", "a_b/$impact"]
)
def test_what_is_not_there_is_not_found(server: Server, path: str) -> None:
    assert as_root(server, f"/AccessPolicy/{path}").status_code == (400 if "%" in path else 404)


def test_a_policy_in_the_shadow_allows_nothing_and_tells_what_it_would(server: Server) -> None:
    """Row X52."""
    shadow = {"engine": "matcho", "matcho": {"request-method": "put"}, "mode": "shadow"}
    put_policy(server, shadow, "writes")
    token = server.token()

    statuses = [write(server, token).status_code for _ in range(2)]
    told = as_root(server, "/AccessPolicy/writes/$impact").json

    assert statuses == [403, 403]
    assert (told["if"], told["would-be-allowed"], told["failed"]) == ("enforced", 2, 0)
    assert told["by"] == [{"client": CLIENT_ID, "operation": None, "decisions": 2}]
    put_policy(server, {**shadow, "mode": "enforced"}, "writes")
    assert write(server, token).status_code == 200


def test_removing_the_only_policy_that_allows_would_refuse(server: Server) -> None:
    """Row X52: allowed decisions are recorded, too, as samples."""
    token, request = (
        server.token(),
        json.dumps({"method": "GET", "path": "/fhir/Patient", "interaction": "search-type"}),
    )
    server.introspect(token, request=request)

    told = as_root(server, "/AccessPolicy/reads/$impact").json

    assert (told["if"], told["would-be-refused"]) == ("removed", 1)
    assert told["by"] == [{"client": CLIENT_ID, "operation": "FhirSearch", "decisions": 1}]
    assert explained(server, told["examples"][0])["policy"] == "reads"


def test_a_new_version_of_a_policy_begins_without_an_impact(server: Server) -> None:
    """Row X52: what was recorded is about the text of before."""
    write(server, server.token())
    put_policy(server, READS | {"description": "another version"})

    told = as_root(server, "/AccessPolicy/reads/$impact").json

    assert (told["judged"], told["judged-by-other-versions"]) == (0, 1)
