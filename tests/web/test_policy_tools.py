"""Trying out patterns and policies over HTTP, as an operator. Rows X21, X22; threats G01, G09."""

from typing import Any

import pytest

from authserver.protocol.policy_request import MAX_BODY_VALUES
from tests.builders import CLIENT_ID, client_resource
from tests.http import Server, basic, bearer

READ = {"request-method": "get", "uri": "/fhir/Patient/1", "client-id": CLIENT_ID}
ONE_PATIENT = {"engine": "matcho", "matcho": {"params": {"resource/id": "1"}, "tenant": "present?"}}


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client, of a tenant."""
    server.put_client(tenant="north")


def post(server: Server, path: str, body: object) -> Any:
    """Post as root."""
    return server.request("POST", path, json=body, headers=basic())


def try_out(server: Server, policy: object = ONE_PATIENT, **request: object) -> Any:
    """Try a policy on a read of a patient with changes; a None leaves the member out."""
    described = {name: value for name, value in {**READ, **request}.items() if value is not None}
    return post(server, "/auth/test-policy", {"request": described, "policy": policy})


def places(response: Any) -> list[str]:
    """Return where the issues of a 422 are."""
    assert response.status_code == 422
    return [issue.get("expression", [""])[0] for issue in response.json["issue"]]


def test_a_pattern_that_fits_has_no_mismatch(server: Server) -> None:
    """Row X21."""
    body = {"matcho": {"name": "#^A", "site": ".id"}, "resource": {"name": "Ab", "site": 7}, "context": {"id": 7}}

    answer = post(server, "/$matcho", body)

    assert (answer.status_code, answer.json) == (
        200,
        {"matcho": body["matcho"], "resource": body["resource"], "result": []},
    )


def test_a_pattern_that_does_not_fit_tells_each_place(server: Server) -> None:
    """Row X21: `{expected, but, path}`; without a context paths lead through the resource."""
    pattern = {"list": ["x"], "name": "#^A", "site": ".id"}

    answer = post(server, "/$matcho", {"matcho": pattern, "resource": {"name": "b", "list": ["y"], "id": 1, "site": 1}})

    assert answer.json["result"] == [
        {"expected": "x", "but": "y", "path": ["list", 0]},
        {"expected": "#^A", "but": "b", "path": ["name"]},
    ]


def test_a_pattern_that_does_not_compile_is_told_with_its_place(server: Server) -> None:
    """Row X21."""
    assert places(post(server, "/$matcho", {"matcho": {"a": ["#("]}, "resource": {}})) == ["matcho.a[0]"]


def test_a_resource_of_any_size_is_not_taken(server: Server) -> None:
    """Threat G09."""
    taken = post(server, "/$matcho", {"matcho": "present?", "resource": [0] * (MAX_BODY_VALUES - 3)})

    refused = post(server, "/$matcho", {"matcho": "present?", "resource": [0] * MAX_BODY_VALUES})

    assert (taken.json["result"], places(refused)) == ([], ["resource"])


def test_a_policy_that_allows_is_told_with_what_it_saw(server: Server) -> None:
    """Row X22: `{request, operation, policy, result: {eval-result}}`."""
    told = try_out(server, headers={"Authorization": "Bearer x", "X-A": "1"}, jwt={"sub": "s"}).json

    seen = told.pop("request")
    assert told == {
        "operation": {"id": "FhirRead"},
        "policy": ONE_PATIENT,
        "result": {"id": "-", "engine": "matcho", "eval-result": True, "candidate": True, "warnings": []},
    }
    assert seen["client"] == {**client_resource(tenant="north"), "resourceType": "Client", "id": CLIENT_ID}
    assert (seen["params"], seen["headers"], seen["jwt"], seen["tenant"]) == (
        {"resource/type": "Patient", "resource/id": "1"},
        {"x-a": "1"},
        {"sub": "s"},
        "north",
    )


def test_a_policy_that_does_not_allow_is_told_why(server: Server) -> None:
    """Row X22, with the traps of the policy."""
    policy = {"engine": "matcho", "matcho": {"uri": "#/Group/"}}

    result = try_out(server, policy).json["result"]

    assert result["mismatches"] == [{"expected": "#/Group/", "but": "/fhir/Patient/1", "path": ["uri"]}]
    assert result["eval-result"] is False
    assert [warning["expression"] for warning in result["warnings"]] == ["AccessPolicy.link", "AccessPolicy.matcho.uri"]


@pytest.mark.parametrize(
    ("link", "candidate"), [(f"Client/{CLIENT_ID}", True), ("Client/x", False), ("Operation/FhirRead", True)]
)
def test_whether_the_links_let_the_policy_judge_is_told_apart(server: Server, link: str, candidate: bool) -> None:
    """Rows X19, X22."""
    result = try_out(server, {"engine": "allow", "link": [{"reference": link}]}).json["result"]

    assert (result["eval-result"], result["candidate"]) == (True, candidate)


def test_a_client_may_be_written_out(server: Server) -> None:
    """Row X22; without its secret in what the policy sees."""
    client = {"id": "made-up", "details": {"patient": "1"}, "secret": "canary-secret of it"}
    policy = {"engine": "matcho", "matcho": {"params": {"resource/id": ".client.details.patient"}}}

    answer = try_out(server, policy, client=client).json

    assert (answer["result"]["eval-result"], "secret" in str(answer["request"])) == (True, False)


def test_a_search_has_its_parameters(server: Server) -> None:
    """Row X22: from `uri` or from `query-string`."""
    policy = {"engine": "matcho", "matcho": {"params": {"name": "x y"}}}

    by_uri = try_out(server, policy, uri="/fhir/Patient?name=x+y").json
    by_query = try_out(server, policy, **{"uri": "/fhir/Patient", "query-string": "name=x%20y"}).json
    elsewhere = try_out(server, policy, uri="/api/x").json

    assert [one["result"]["eval-result"] for one in (by_uri, by_query, elsewhere)] == [True, True, False]
    assert [one["operation"] for one in (by_uri, by_query, elsewhere)] == [
        {"id": "FhirSearch"},
        {"id": "FhirSearch"},
        None,
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [""]),
        ({"request": READ}, [""]),
        ({"request": READ, "policy": "allow"}, [""]),
        ({"request": READ, "policy": {"engine": "sql"}}, ["AccessPolicy.engine"]),
        ({"request": {**READ, "client-id": "nobody"}, "policy": {"engine": "allow"}}, ["request.client-id"]),
        ({"request": {**READ, "client-id": "../x"}, "policy": {"engine": "allow"}}, ["request.client-id"]),
        ({"request": {**READ, "client": {"active": 1}}, "policy": {"engine": "allow"}}, ["Client.active"]),
        (
            {"request": {**READ, "user": {}, "uri": 1, "jwt": []}, "policy": {"engine": "allow"}},
            ["request.user", "request.uri", "request.jwt"],
        ),
    ],
)
def test_what_cannot_be_tried_is_told_with_its_place(server: Server, body: dict[str, Any], expected: list[str]) -> None:
    assert places(post(server, "/auth/test-policy", body)) == expected


@pytest.mark.parametrize("uri", ["/fhir/%50atient/1", "/fhir//Patient/1", "fhir", None])
def test_a_request_that_would_be_refused_before_any_policy_is_refused(server: Server, uri: str | None) -> None:
    """Threat G05."""
    assert (try_out(server, uri=uri).status_code, try_out(server).status_code) == (400, 200)


@pytest.mark.parametrize("path", ["/$matcho", "/auth/test-policy"])
def test_nobody_but_an_operator_tries_policies(server: Server, path: str) -> None:
    """Threat G01: not without credentials, not by a client's token, not by a client with scopes."""
    client = {"grant_types": ["basic"], "secret": "canary-secret of a client", "scope": ["system/*.cruds"]}
    server.request("PUT", "/Client/c", json=client, headers=basic())
    server.request("PUT", "/AccessPolicy/all", json={"engine": "allow"}, headers=basic())
    body = {"matcho": "present?", "resource": 1, "request": READ, "policy": {"engine": "allow"}}

    def status(headers: dict[str, str]) -> int:
        return server.request("POST", path, json=body, headers=headers).status_code

    assert [status({}), status(bearer(server.token())), status(basic("c", "canary-secret of a client"))] == [
        401,
        403,
        403,
    ]
    assert status(basic()) == 200
