"""What the Terraform provider for Aidbox sends, request by request: it must find the registry that it knows.

The requests are those of its Go client: Basic credentials, JSON without resourceType, `Accept: application/json` at
reads, no headers at all beside them at deletes, POST to create and PUT to update; its generic resource creates by PUT
and deletes with the body `{}`. It reads `resourceType` and `id` of each answer, and takes 404 for "create it again".
"""

import json
from typing import Any

from tests.http import Server, basic

JSON = "application/json"


def go(server: Server, method: str, path: str, body: object | None = None) -> Any:
    """Send as the provider's client does: an encoder of Go ends the body with a line feed."""
    if body is None:
        headers = {**basic(), "Accept": JSON} if method == "GET" else basic()
        return server.request(method, path, headers=headers)
    data = json.dumps(body).encode() + b"\n"
    return server.request(method, path, data=data, content_type=JSON, headers={**basic(), "Accept-Encoding": "gzip"})


def test_the_life_of_an_aidbox_client(server: Server) -> None:
    """aidbox_client: POST 201, GET, PUT, DELETE, GET 404; grant_types as they were sent, each time."""
    body = {"id": "my-client", "secret": "canary-secret of some length", "grant_types": ["basic"]}

    answers = [
        go(server, "POST", "/Client", body),
        go(server, "GET", "/Client/my-client"),
        go(server, "PUT", "/Client/my-client", {**body, "secret": "another secret of some length"}),
        go(server, "DELETE", "/Client/my-client"),
    ]
    gone = go(server, "GET", "/Client/my-client")

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert {(answer.json["resourceType"], answer.json["id"]) for answer in answers} == {("Client", "my-client")}
    assert [answer.json["grant_types"] for answer in answers] == [["basic"]] * 4
    assert gone.status_code == 404


def test_the_life_of_an_aidbox_access_policy(server: Server) -> None:
    """aidbox_access_policy: without an id it gets one; links as {id, resourceType}; the description is kept."""
    go(server, "POST", "/Client", {"id": "postman", "secret": "canary-secret of some length", "grant_types": ["basic"]})
    link = [{"id": "postman", "resourceType": "Client"}]
    body = {"description": "A policy to allow postman to access data", "engine": "allow", "link": link}

    created = go(server, "POST", "/AccessPolicy", body)
    path = f"/AccessPolicy/{created.json['id']}"
    changed = go(server, "PUT", path, {"id": created.json["id"], **body, "description": "changed"})
    read = go(server, "GET", path)
    deleted = go(server, "DELETE", path)

    assert [answer.status_code for answer in (created, changed, read, deleted)] == [201, 200, 200, 200]
    assert read.json == changed.json
    assert (read.json["description"], read.json["engine"], read.json["link"]) == ("changed", "allow", link)


def test_the_life_of_a_generic_resource(server: Server) -> None:
    """The provider's generic resource: created by PUT with its id and type in the body, deleted with the body {}."""
    content = {
        "resourceType": "Client",
        "id": "backend",
        "type": "bulk-api-client",
        "active": True,
        "first_party": True,
        "trusted": True,
        "grant_types": ["client_credentials"],
        "scope": ["system/*.read"],
        "fhir-base-url": "https://fhir.example/fhir",
        "allowed_origins": ["https://app.example"],
        "jwks_uri": "https://backend.example/jwks.json",
        "auth": {"client_credentials": {"token_format": "jwt", "access_token_expiration": 300}},
    }

    created = go(server, "PUT", "/Client/backend", content)
    again = go(server, "PUT", "/Client/backend", content)
    deleted = go(server, "DELETE", "/Client/backend", {})

    assert [answer.status_code for answer in (created, again, deleted)] == [201, 200, 200]
    for answer in (created, again, deleted):
        assert {name: value for name, value in answer.json.items() if name != "meta"} == content


def test_a_refusal_names_what_to_change_in_the_configuration(server: Server) -> None:
    """The provider shows the status; the body says where. Its own example's secret is too short for this server."""
    response = go(server, "POST", "/Client", {"id": "x", "secret": "secret", "grant_types": ["basic", "implicit"]})

    assert response.status_code == 422
    assert [issue["expression"] for issue in response.json["issue"]] == [["Client.secret"], ["Client.grant_types[1]"]]
