"""POST, conditional PUT and DELETE, JSON Patch over HTTP. Rows X13, X15; threats G02, G04, G15."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.builders import CLIENT_ID, client_resource
from tests.http import Server, basic, bearer

PATCH = "application/json-patch+json"
SECRET = "canary-secret of eight or more"


def send(server: Server, method: str, path: str, body: object = None, **headers: str) -> Any:
    """Send as root."""
    return server.request(method, path, json=body, headers={**basic(), **headers})


def patch(server: Server, *operations: dict[str, object], path: str = f"/Client/{CLIENT_ID}", **headers: str) -> Any:
    """Send a JSON Patch as root."""
    return server.request("PATCH", path, json=operations, content_type=PATCH, headers={**basic(), **headers})


def version(server: Server, resource_id: str = CLIENT_ID) -> str | None:
    """Return the current version's tag."""
    return send(server, "GET", f"/Client/{resource_id}").headers.get("ETag")


def ids(server: Server) -> list[str]:
    """Return the ids of all clients."""
    return [entry["resource"]["id"] for entry in send(server, "GET", "/Client").json["entry"]]


# POST


def test_a_posted_client_has_the_bodys_id(server: Server) -> None:
    """Registry rule: 201, Location with the version."""
    response = send(server, "POST", "/Client", {"id": "acme", **client_resource()})

    assert (response.status_code, response.json["id"], response.headers["ETag"]) == (201, "acme", 'W/"1"')
    assert response.headers["Location"] == "https://auth.example/Client/acme/_history/1"
    assert send(server, "GET", "/Client/acme").json == response.json


def test_a_posted_client_without_id_gets_a_random_one(server: Server) -> None:
    first, second = (send(server, "POST", "/Client", client_resource()) for _ in range(2))

    assert re.fullmatch("[0-9a-f]{32}", first.json["id"])
    assert first.json["id"] != second.json["id"]


def test_posting_never_replaces(server: Server) -> None:
    """Registry rule: 409 `already_exists`; the stored version unchanged."""
    server.put_client()

    response = send(server, "POST", "/Client", {"id": CLIENT_ID, **client_resource(active=False)})

    assert (response.status_code, response.json["issue"][0]["code"]) == (409, "duplicate")
    assert version(server) == 'W/"1"'


@pytest.mark.parametrize("named", ["a b", "../root", "x" * 65, "ü", 7])
def test_a_posted_id_outside_the_alphabet_is_refused(server: Server, named: object) -> None:
    """G03: at the member."""
    response = send(server, "POST", "/Client", {"id": named, **client_resource()})

    assert (response.status_code, response.json["issue"][0]["expression"]) == (422, ["Client.id"])
    assert ids(server) == ["root"]


def test_a_policy_is_posted_too(server: Server) -> None:
    response = send(server, "POST", "/AccessPolicy", {"id": "p", "engine": "allow"})

    assert (response.status_code, response.json["resourceType"]) == (201, "AccessPolicy")


def test_creating_needs_the_letter_c(server: Server) -> None:
    server.put_client(scope=["system/Client.c", "system/Client.u"])
    server.put_policy()
    creates, changes = (bearer(server.token(scope=f"system/Client.{letter}")) for letter in "cu")

    statuses = [
        server.request("POST", "/Client", json=client_resource(), headers=who).status_code
        for who in (changes, creates, {})
    ]

    assert statuses == [403, 201, 401]


# Conditional PUT and DELETE


def test_a_conditional_put_creates_changes_or_refuses(server: Server) -> None:
    """X15: none 201, one 200, several 412 `several_match` and nothing changed."""
    body = client_resource(type="lab")

    created = send(server, "PUT", "/Client?type=lab", {"id": "lab-1", **body})
    changed = send(server, "PUT", "/Client?type=lab", {**body, "name": "Lab"})
    server.put_client("lab-2", type="lab")
    refused = send(server, "PUT", "/Client?type=lab", body)

    assert [response.status_code for response in (created, changed, refused)] == [201, 200, 412]
    assert (created.json["id"], changed.json["id"], changed.json["name"]) == ("lab-1", "lab-1", "Lab")
    assert (version(server, "lab-1"), version(server, "lab-2")) == ('W/"2"', 'W/"1"')


def test_a_conditional_put_by_id_creates_that_id(server: Server) -> None:
    """X15: twice is as once, so no client is made anew with each call."""
    statuses = [send(server, "PUT", "/Client?_id=acme", client_resource()).status_code for _ in range(2)]

    assert (statuses, ids(server)) == ([201, 200], ["acme", "root"])


def test_a_conditional_put_that_names_no_id_creates_a_random_one(server: Server) -> None:
    response = send(server, "PUT", "/Client?name=nobody", client_resource())

    assert (response.status_code, len(response.json["id"])) == (201, 32)


def test_a_conditional_put_takes_no_id_of_another(server: Server) -> None:
    """X15: a body id that is in use and does not match is a conflict, one that differs from the match an error."""
    server.put_client("a", type="lab")
    server.put_client("b", type="other")

    taken = send(server, "PUT", "/Client?type=none", {"id": "b", **client_resource()})
    differs = send(server, "PUT", "/Client?type=lab", {"id": "b", **client_resource()})

    assert (taken.status_code, differs.status_code) == (409, 422)
    assert (version(server, "a"), version(server, "b")) == ('W/"1"', 'W/"1"')


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("query", ["", "?_count=1", "?_sort=_id", "?colour=red", "?_id=", "?active=maybe"])
def test_a_conditional_change_needs_criteria_that_are_understood(server: Server, method: str, query: str) -> None:
    """X15: what is passed over would change more than was meant."""
    server.put_client()

    response = send(server, method, f"/Client{query}", client_resource())

    assert (response.status_code, ids(server)) == (400, [CLIENT_ID, "root"])


def test_a_conditional_delete_deletes_one_at_most(server: Server) -> None:
    """X15: none 204, several 412, one 200 with its body."""
    server.put_client("a", type="lab")
    server.put_client("b", type="lab")

    none = send(server, "DELETE", "/Client?type=nothing")
    several = send(server, "DELETE", "/Client?type=lab")
    one = send(server, "DELETE", "/Client?type=lab&_id=a")

    assert [response.status_code for response in (none, several, one)] == [204, 412, 200]
    assert (one.json["id"], ids(server)) == ("a", ["b", "root"])


def test_a_conditional_change_needs_the_letter_of_search_too(server: Server) -> None:
    """Its answer says whether something matches."""
    server.put_client(scope=["system/Client.u", "system/Client.us", "system/Client.d", "system/Client.ds"])
    server.put_policy()

    def status(method: str, scope: str) -> int:
        headers = bearer(server.token(scope=f"system/Client.{scope}"))
        return server.request(method, "/Client?_id=x", json=client_resource(), headers=headers).status_code

    assert [status("PUT", "u"), status("PUT", "us")] == [403, 201]
    assert [status("DELETE", "d"), status("DELETE", "ds")] == [403, 200]


# DELETE without a body


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?_no-content=false", 200), ("?_no-content=true", 204)])
def test_a_delete_answers_without_body_on_request(server: Server, query: str, status: int) -> None:
    """Registry rule: `_no-content=true` is always 204."""
    server.put_client()

    response = send(server, "DELETE", f"/Client/{CLIENT_ID}{query}")

    assert (response.status_code, response.data == b"", version(server)) == (status, status == 204, None)


@pytest.mark.parametrize("query", ["_no-content=1", "_no-content=true&_no-content=true"])
def test_a_flag_that_is_not_understood_deletes_nothing(server: Server, query: str) -> None:
    server.put_client()

    assert send(server, "DELETE", f"/Client/{CLIENT_ID}?{query}").status_code == 400
    assert version(server) == 'W/"1"'


@pytest.mark.parametrize(("value", "status"), [('W/"2"', 200), ('"2"', 200), ("2", 200), ("*", 200), ('W/"1"', 412)])
def test_a_delete_minds_if_match(server: Server, value: str, status: int) -> None:
    """X13: 412 is an OperationOutcome, and nothing is deleted."""
    server.put_client()
    server.put_client(name="two")

    response = send(server, "DELETE", f"/Client/{CLIENT_ID}", **{"If-Match": value})

    assert (response.status_code, version(server) is None) == (status, status == 200)
    assert response.json["resourceType"] == ("Client" if status == 200 else "OperationOutcome")


def test_of_two_administrators_with_one_version_one_wins(server: Server) -> None:
    """X13, G04: by real threads, over HTTP; without If-Match both are in the history."""
    server.put_client()

    def put(name: str, **headers: str) -> int:
        body = client_resource(name=name)
        return int(send(server, "PUT", f"/Client/{CLIENT_ID}", body, **headers).status_code)

    with ThreadPoolExecutor(2) as pool:
        matched = sorted(pool.map(lambda name: put(name, **{"If-Match": 'W/"1"'}), ("ann", "ben")))
        free = list(pool.map(put, ("cat", "dan")))

    history = send(server, "GET", f"/Client/{CLIENT_ID}/_history").json["entry"]
    assert (matched, free) == ([200, 412], [200, 200])
    assert {entry["resource"].get("name") for entry in history[:2]} == {"cat", "dan"}
    assert len(history) == 4


# JSON Patch


def test_a_patch_changes_what_it_names_alone(server: Server) -> None:
    """RFC 6902; the next version, everything else as it was."""
    before = server.put_client(details={"site": 7}).json

    response = patch(
        server,
        {"op": "test", "path": "/details/site", "value": 7},
        {"op": "replace", "path": "/active", "value": False},
        {"op": "add", "path": "/scope/-", "value": "system/Device.rs"},
        {"op": "remove", "path": "/details"},
    )

    expected = {
        **before,
        "active": False,
        "scope": ["system/*.read", "system/Device.rs"],
        "meta": response.json["meta"],
    }
    del expected["details"]
    assert (response.status_code, response.headers["ETag"], response.json) == (200, 'W/"2"', expected)


def test_a_patch_keeps_the_secret(server: Server) -> None:
    """G15: it is not in the body, so it is not lost either."""
    server.put_client("with-secret", secret=SECRET, grant_types=["basic"], scope=["system/Client.s"])
    server.put_policy("p", "with-secret")

    patch(server, {"op": "add", "path": "/name", "value": "x"}, path="/Client/with-secret")

    assert server.request("GET", "/Client", headers=basic("with-secret", SECRET)).status_code == 200


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/id", "value": "root"},
        {"op": "add", "path": "/resourceType", "value": "AccessPolicy"},
        {"op": "add", "path": "/meta/versionId", "value": "9"},
        {"op": "add", "path": "/secret", "value": SECRET},
        {"op": "add", "path": "/s~0ecret~1", "value": SECRET, "expected": 200},
        {"op": "move", "from": "/name", "path": "/secret"},
        {"op": "copy", "from": "/secret", "path": "/name"},
        {"op": "replace", "path": "", "value": {}},
        {"op": "test", "path": "/active", "value": False},
        {"op": "remove", "path": "/nothing"},
        {"op": "add", "path": "/scope/9", "value": "x"},
        {"op": "add", "path": "/scope/x", "value": "x"},
        {"op": "replace", "path": "/active", "value": "yes"},
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(server: Server, operation: dict[str, object]) -> None:
    """G02: reserved members, failed tests and what PUT would refuse: 422 with a place."""
    server.put_client(name="Acme")
    expected = operation.pop("expected", 422)

    response = patch(server, {"op": "add", "path": "/description", "value": "fine"}, operation)

    assert (response.status_code, version(server)) == (expected, 'W/"1"' if expected == 422 else 'W/"2"')
    if expected == 422:
        assert response.json["issue"][0]["expression"] in (["patch[1]"], ["Client.active"])
        assert SECRET not in response.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        [1],
        [{"op": "spell", "path": "/x"}],
        [{"op": "remove", "path": 1}],
        [{"op": "remove", "path": "/x"}] * 101,
        [{"path": "/x"}],
        [{"op": "add", "path": "active", "value": True}],
        [{"op": "add", "path": "/active"}],
        [{"op": "move", "path": "/x"}],
    ],
)
def test_what_is_no_patch_is_refused(server: Server, body: object) -> None:
    """`patch_malformed`: 400 before anything is looked at."""
    server.put_client()

    response = server.request("PATCH", f"/Client/{CLIENT_ID}", json=body, content_type=PATCH, headers=basic())

    assert (response.status_code, version(server)) == (400, 'W/"1"')


def test_a_patch_cannot_grow_without_bound(server: Server) -> None:
    """`copy` doubles: a few of them would fill any memory."""
    server.put_client(details={"a": "x" * 1_000})
    doubling = [{"op": "copy", "from": "/details", "path": f"/details/{name}"} for name in range(12)]

    response = patch(server, *doubling)

    assert (response.status_code, version(server)) == (422, 'W/"1"')


def test_a_patch_cannot_nest_without_bound(server: Server) -> None:
    server.put_client(details={})
    nesting = [{"op": "add", "path": "/details" + "/x" * depth, "value": {}} for depth in range(1, 60)]

    assert patch(server, *nesting).status_code == 422


@pytest.mark.parametrize(("media_type", "status"), [(PATCH, 200), ("application/json", 415), ("text/plain", 415)])
def test_a_patch_has_its_own_media_type(server: Server, media_type: str, status: int) -> None:
    server.put_client()

    response = server.request("PATCH", f"/Client/{CLIENT_ID}", data=b"[]", content_type=media_type, headers=basic())

    assert response.status_code == status


def test_a_patch_minds_if_match_and_needs_a_resource(server: Server) -> None:
    """X13."""
    server.put_client()
    operation = {"op": "replace", "path": "/active", "value": False}

    stale = patch(server, operation, **{"If-Match": 'W/"7"'})
    current = patch(server, operation, **{"If-Match": 'W/"1"'})
    nobody = patch(server, operation, path="/Client/nobody")

    assert [response.status_code for response in (stale, current, nobody)] == [412, 200, 404]


def test_a_patched_policy_follows_its_links(server: Server) -> None:
    """A7: the client that the patch links passes the policy stage, the former one no more."""
    for client_id in ("a", "b"):
        server.put_client(client_id, secret=SECRET, grant_types=["basic"], scope=["system/Client.s"])
    server.put_policy("p", "a")

    patch(server, {"op": "replace", "path": "/link/0/id", "value": "b"}, path="/AccessPolicy/p")

    statuses = [server.request("GET", "/Client", headers=basic(who, SECRET)).status_code for who in ("a", "b")]
    assert statuses == [403, 200]
