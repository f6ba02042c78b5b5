"""The one description of a request: what comes in from others, and what policies see of it. Rows X16, X20; G05, G06."""

from typing import Any

import pytest

from authserver.errors import InvalidRequest
from authserver.protocol import policy_request
from authserver.protocol.policy_request import Case, PolicyRequest, as_document, from_description, operation_of
from tests.builders import CLIENT_ID, client_resource, make_client

DESCRIPTION: dict[str, Any] = {
    "method": "GET",
    "path": "/fhir/Patient/1",
    "parameters": [["_format", "json"], ["a", "1"], ["a", "2"]],
    "interaction": "read",
    "resource_type": "Patient",
    "resource_id": "1",
    "scheme": "https",
    "remote_addr": "192.0.2.1",
    "headers": {"Accept": "json", "Authorization": "Bearer x"},
    "body": {"a": [1, None]},
}


def test_a_whole_description_is_read() -> None:
    assert from_description(DESCRIPTION) == PolicyRequest(
        method="GET",
        path="/fhir/Patient/1",
        parameters=(("_format", "json"), ("a", "1"), ("a", "2")),
        interaction="read",
        resource_type="Patient",
        resource_id="1",
        scheme="https",
        headers=(("accept", "json"), ("authorization", "Bearer x")),
        remote_addr="192.0.2.1",
        body={"a": [1, None]},
    )


def test_method_and_path_are_enough() -> None:
    described = {"method": "GET", "path": "/x", "interaction": None, "resource_type": None, "resource_id": None}

    assert from_description(described) == PolicyRequest("GET", "/x")


@pytest.mark.parametrize(
    "changes",
    [
        {"method": None},
        {"method": 1},
        {"path": 1},
        {"path": "x"},
        {"path": "/x?a=b"},
        {"path": "/x#a"},
        {"parameters": [["a"]]},
        {"parameters": [["a", 1]]},
        {"parameters": [[1, "a"]]},
        {"parameters": 1},
        {"interaction": 1},
        {"resource_type": []},
        {"resource_id": {}},
        {"scheme": 1},
        {"remote_addr": 1},
        {"headers": []},
        {"headers": {"a": 1}},
        {"headers": {"a": "1", "A": "2"}},
        {"body": [0] * policy_request.MAX_BODY_VALUES},
        {"body": {"a": [[0] * 10] * (policy_request.MAX_BODY_VALUES // 10)}},
    ],
)
def test_a_description_with_anything_else_in_it_is_refused(changes: dict[str, Any]) -> None:
    """Threat G05: nothing of a description is guessed at."""
    with pytest.raises(InvalidRequest):
        from_description({**DESCRIPTION, **changes})


@pytest.mark.parametrize("described", [None, 1, "x", [], ["method"], {}, {"path": "/x"}, {"method": "GET"}])
def test_what_is_no_description_is_refused(described: object) -> None:
    with pytest.raises(InvalidRequest):
        from_description(described)


def test_a_body_of_as_many_values_as_are_allowed_is_taken() -> None:
    body = [0] * (policy_request.MAX_BODY_VALUES - 1)

    assert from_description({**DESCRIPTION, "body": body}).body == body


def test_what_a_policy_sees() -> None:
    """Row X16: the documented members; no credentials, and no secret of the client."""
    client = make_client(
        tenant="north", details={"site": 7}, secret="canary-secret of it", id="", meta={"versionId": "1"}
    )
    claims = {"sub": CLIENT_ID, "scope": "system/*.rs"}
    request = from_description(DESCRIPTION)

    seen = as_document(client, PolicyRequest(**{**_fields(request), "claims": claims}))

    assert seen == {
        "request-method": "get",
        "scheme": "https",
        "uri": "/fhir/Patient/1",
        "query-string": "_format=json&a=1&a=2",
        "params": {"_format": "json", "a": ["1", "2"], "resource/type": "Patient", "resource/id": "1"},
        "headers": {"accept": "json"},
        "remote-addr": "192.0.2.1",
        "body": {"a": [1, None]},
        "client": {
            **client_resource(tenant="north", details={"site": 7}),
            "resourceType": "Client",
            "id": CLIENT_ID,
        },
        "jwt": claims,
        "tenant": "north",
        "operation": {"id": "FhirRead"},
    }


def _fields(request: PolicyRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in PolicyRequest.__slots__}


def test_what_is_not_known_is_not_there() -> None:
    seen = as_document(make_client(), PolicyRequest("PUT", "/x"))

    assert {name: value for name, value in seen.items() if name != "client"} == {
        "request-method": "put",
        "uri": "/x",
        "params": {},
        "headers": {},
    }


def test_a_schema_sees_no_empty_members() -> None:
    """Registry rule: empty members are removed first, elements keep their places."""
    body = {"a": "", "b": [], "c": {}, "d": None, "e": {"f": {"g": ""}}, "h": 0, "i": False, "j": ["", {"k": None}]}

    pruned = Case(make_client(), PolicyRequest("PUT", "/x", body=body)).pruned

    assert (pruned["body"], "params" in pruned) == ({"h": 0, "i": False, "j": ["", {}]}, False)


@pytest.mark.parametrize(
    ("method", "interaction", "resource_type", "operation"),
    [
        ("GET", "read", "Patient", "FhirRead"),
        ("GET", "search-type", "Patient", "FhirSearch"),
        ("POST", "search-type", "Patient", "FhirPostSearch"),
        ("GET", "operation", None, "FhirOperation"),
        ("GET", "capabilities", None, "FhirCapabilities"),
        ("GET", "read", "Client", "registry-read"),
        ("GET", "search-type", "AccessPolicy", "registry-search"),
        ("PUT", "update", "Client", "registry-update"),
        ("DELETE", "delete", "AccessPolicy", "registry-delete"),
        ("POST", "client-revoke-tokens", "Client", "client-revoke-tokens"),
        ("POST", "auth-introspect", None, "auth-introspect"),
        ("GET", "", None, None),
        ("GET", "FhirRead", None, None),
    ],
)
def test_the_operation_of_a_request(method: str, interaction: str, resource_type: str | None, operation: str) -> None:
    """Row X19."""
    request = PolicyRequest(method, "/x", (), interaction, resource_type)

    assert operation_of(request) == operation
    assert operation is None or operation in policy_request.OPERATIONS
