"""The registry in YAML, in and out. Threat G02."""

from typing import Any

import pytest

from authserver.protocol import strict_yaml
from tests.builders import CLIENT_ID, client_resource
from tests.http import Server, basic

PATH = f"/Client/{CLIENT_ID}"


def put(server: Server, text: str, *, media_type: str = "text/yaml", path: str = PATH) -> Any:
    """Put a YAML text as root."""
    return server.request("PUT", path, data=text, content_type=media_type, headers=basic())


@pytest.mark.parametrize(
    "media_type", ["text/yaml", "application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"]
)
def test_a_client_in_yaml_is_the_same_as_in_json(server: Server, media_type: str) -> None:
    sent = put(server, strict_yaml.dumps(client_resource()), media_type=media_type)
    as_json = server.put_client("in-json")

    assert (sent.status_code, sent.mimetype) == (201, "application/json")
    assert {name: sent.json[name] for name in client_resource()} == client_resource()
    assert sent.json.keys() == as_json.json.keys()


def test_a_policy_and_a_posted_client_in_yaml(server: Server) -> None:
    policy = put(server, "engine: allow\nlink:\n  - {id: root, resourceType: Client}\n", path="/AccessPolicy/p")
    posted = server.request("POST", "/Client", data="id: made\n", content_type="text/yaml", headers=basic())

    assert (policy.status_code, policy.json["link"]) == (201, [{"id": "root", "resourceType": "Client"}])
    assert (posted.status_code, posted.json["id"]) == (201, "made")


@pytest.mark.parametrize("accept", ["text/yaml", "application/yaml", "text/yaml, application/json;q=0.5"])
@pytest.mark.parametrize("path", [PATH, "/Client", f"{PATH}/_history", f"{PATH}/_history/1", "/Client/nobody"])
def test_answers_come_in_yaml_to_who_prefers_it(server: Server, accept: str, path: str) -> None:
    """Resources, Bundles and refusals: the same values, status and version."""
    server.put_client(description="no")
    plain = server.request("GET", path, headers=basic())

    answer = server.request("GET", path, headers={**basic(), "Accept": accept})

    assert (answer.status_code, answer.headers.get("ETag")) == (plain.status_code, plain.headers.get("ETag"))
    assert answer.content_type == f"{accept.split(',')[0]}; charset=utf-8"
    assert strict_yaml.loads(answer.data, max_bytes=10**6) == plain.json


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "application/fhir+json, text/yaml;q=0.9", "text/html"]
)
def test_answers_come_in_json_to_everybody_else(server: Server, accept: str | None) -> None:
    server.put_client()

    answer = server.request("GET", PATH, headers={**basic(), **({"Accept": accept} if accept else {})})

    assert (answer.mimetype, answer.headers["Vary"]) == ("application/json", "Accept")


@pytest.mark.parametrize(
    ("text", "status", "place"),
    [
        ("active: true\nactive: false", 422, "line 2"),
        ("a: &x 1\nb: *x", 400, "line 1"),  # yaml_malformed
        ("a: !!python/name:os.system", 400, "line 1"),
        ("- a\n- b", 400, "JSON object"),
        ("a: [", 400, "line"),
        ("scope: no", 422, ""),
    ],
)
def test_yaml_that_has_no_one_meaning_is_refused(server: Server, text: str, status: int, place: str) -> None:
    """G02: and nothing is stored."""
    response = put(server, text)

    assert (response.status_code, place in response.json["issue"][0]["diagnostics"]) == (status, True)
    assert server.request("GET", PATH, headers=basic()).status_code == 404


def test_aliases_that_would_grow_are_refused_at_the_first(server: Server) -> None:
    """A billion laughs in 300 bytes."""
    rows = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    rows += [f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(8)]

    assert put(server, "\n".join(rows)).status_code == 400
