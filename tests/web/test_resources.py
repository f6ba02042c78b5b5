"""The registry over HTTP: versions, preconditions, refusals, and who may administer."""

import pytest

from tests.builders import CLIENT_ID, client_resource, inline_keys
from tests.http import Server, basic, bearer
from tests.keys import key

POLICY = {"engine": "allow", "link": [{"id": CLIENT_ID, "resourceType": "Client"}]}
META = ("id", "resourceType", "meta")


def issues(response: object) -> list[tuple[list[str], str]]:
    """Return path and kind of every issue of an OperationOutcome."""
    return [(issue.get("expression", []), issue["code"]) for issue in response.json["issue"]]  # type: ignore[attr-defined]


def test_a_new_client_is_created(server: Server) -> None:
    """A4, A6: 201, the input plus resourceType and the path's id, ETag and Location."""
    response = server.put_client()

    assert response.status_code == 201
    assert {name: value for name, value in response.json.items() if name not in META} == client_resource()
    assert (response.json["resourceType"], response.json["id"]) == ("Client", CLIENT_ID)
    assert response.json["meta"]["versionId"] == "1"
    assert response.headers["ETag"] == 'W/"1"'
    assert response.headers["Location"] == f"https://auth.example/Client/{CLIENT_ID}/_history/1"
    assert response.headers["Last-Modified"].endswith("GMT")


def test_a_second_put_is_a_new_version(server: Server) -> None:
    """A4: 200, versionId grows."""
    server.put_client()

    response = server.put_client(active=False)

    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"2"')
    assert server.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).json == response.json


def test_unknown_attributes_are_kept(server: Server) -> None:
    """Registry rule: kept and returned, without effect."""
    response = server.put_client(details={"site": 7}, ourField=[1, {"a": None}])

    assert (response.json["details"], response.json["ourField"]) == ({"site": 7}, [1, {"a": None}])


def test_an_empty_id_in_the_body_is_the_documents_own_way(server: Server) -> None:
    """The documented answer shows `"id": ""`; sent back it is taken."""
    assert server.put_client(id="", resourceType="Client").status_code == 201


def test_a_stale_if_match_is_refused(server: Server) -> None:
    """X13: 412, the stored version unchanged."""
    server.put_client()
    body = client_resource(active=False)
    current = server.request("PUT", f"/Client/{CLIENT_ID}", json=body, headers={**basic(), "If-Match": 'W/"1"'})

    stale = server.request("PUT", f"/Client/{CLIENT_ID}", json=body, headers={**basic(), "If-Match": 'W/"1"'})

    assert (current.status_code, stale.status_code) == (200, 412)
    assert issues(stale) == [([], "conflict")]
    assert server.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).headers["ETag"] == 'W/"2"'


@pytest.mark.parametrize("value", ["*", '"7"', "7"])
def test_if_match_on_an_absent_client_creates_nothing(server: Server, value: str) -> None:
    """X13: update only."""
    response = server.request("PUT", "/Client/new", json=client_resource(), headers={**basic(), "If-Match": value})

    assert response.status_code == 412
    assert server.request("GET", "/Client/new", headers=basic()).status_code == 404


def test_an_if_match_that_names_no_version_is_refused(server: Server) -> None:
    """A precondition that cannot be read must not be passed over."""
    response = server.request("PUT", "/Client/new", json=client_resource(), headers={**basic(), "If-Match": "yes"})

    assert response.status_code == 400


def test_every_issue_of_an_invalid_client_is_listed_and_nothing_changes(server: Server) -> None:
    """A5: 422 naming each path; the stored version unchanged."""
    stored = server.put_client().json

    response = server.put_client(
        active="yes", grant_types=["client_credentials", "password"], scope=["system/Patient.sr"], jwks=[]
    )

    assert response.status_code == 422
    assert issues(response) == [(["Client.active"], "structure")]
    again = server.put_client(grant_types=["password"], scope=["system/Patient.sr"], jwks=[key().jwk])
    assert issues(again) == [
        (["Client.scope[0]"], "value"),
        (["Client.jwks"], "business-rule"),
        (["Client.grant_types[0]"], "not-supported"),
    ]
    assert server.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).json == stored


def test_duplicate_members_are_refused(server: Server) -> None:
    """G02: 422, nothing stored."""
    body = b'{"active": true, "grant_types": [], "active": false}'

    response = server.request("PUT", "/Client/twice", data=body, content_type="application/json", headers=basic())

    assert (response.status_code, issues(response)) == (422, [(["Client"], "structure")])
    assert server.request("GET", "/Client/twice", headers=basic()).status_code == 404


def test_broken_json_is_refused(server: Server) -> None:
    """A body that is no JSON is a 400 and says so."""
    response = server.request("PUT", "/Client/x", data=b"{", content_type="application/json", headers=basic())

    assert (response.status_code, response.json["resourceType"]) == (400, "OperationOutcome")


def test_a_body_that_is_no_object_is_refused(server: Server) -> None:
    """A list is JSON, and no Client."""
    assert server.request("PUT", "/Client/x", json=[1], headers=basic()).status_code == 400


def test_a_form_body_is_refused(server: Server) -> None:
    """What curl sends by default gets a sentence that helps."""
    response = server.request("PUT", "/Client/x", data={"active": "true"}, headers=basic())

    assert response.status_code == 415
    assert response.json["issue"][0]["diagnostics"].startswith("The Content-Type must be application/json")


def test_inline_keys_are_accepted_and_private_ones_refused(server: Server) -> None:
    """X6: both forms; a private member is 422 with its place."""
    good = server.put_client("inline", **inline_keys(key()))
    bare = server.put_client("bare", jwks_uri=None, jwks=[key().jwk])
    private = server.put_client("leaky", jwks_uri=None, jwks=[{**key().jwk, "d": "AAAA"}])

    assert (good.status_code, bare.status_code) == (201, 201)
    assert (private.status_code, issues(private)) == (422, [(["Client.jwks[0]"], "value")])


def test_the_secret_is_never_shown(server: Server) -> None:
    """G15: write-only."""
    response = server.put_client("with-secret", secret="canary-secret to hide", grant_types=["basic"], scope=None)
    shown = server.request("GET", "/Client/with-secret", headers=basic())

    assert response.status_code == 201
    assert "canary-secret to hide" not in response.text + shown.text
    assert "secret" not in shown.json
    assert server.introspect("x", headers=basic("with-secret", "canary-secret to hide")).status_code == 403


def test_a_deleted_client_is_gone_and_its_versions_go_on(server: Server) -> None:
    """Registry rule: 200 with the body, then 204; the number of a version never returns."""
    created = server.put_client().json

    deleted = server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())
    again = server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())

    assert (deleted.status_code, deleted.json) == (200, created)
    assert (again.status_code, again.data) == (204, b"")
    assert server.request("GET", f"/Client/{CLIENT_ID}", headers=basic()).status_code == 404
    anew = server.put_client()
    assert (anew.status_code, anew.headers["ETag"]) == (201, 'W/"3"')


def test_the_list_is_a_bundle(server: Server) -> None:
    """GET /Client: a searchset in the order of ids."""
    server.put_client("b")
    server.put_client("a")

    bundle = server.request("GET", "/Client", headers=basic()).json

    assert (bundle["resourceType"], bundle["type"], bundle["total"]) == ("Bundle", "searchset", 3)
    assert [entry["fullUrl"] for entry in bundle["entry"]] == [
        f"https://auth.example/Client/{name}" for name in ("a", "b", "root")
    ]


def test_a_policy_is_created_and_updated(server: Server) -> None:
    """A7: 201 then 200, both link forms (X20)."""
    server.put_client()

    created = server.put_policy()
    updated = server.request(
        "PUT",
        f"/AccessPolicy/{CLIENT_ID}",
        json={"engine": "allow", "link": [{"reference": f"Client/{CLIENT_ID}"}]},
        headers=basic(),
    )

    assert created.status_code == 201
    assert {n: v for n, v in created.json.items() if n != "meta"} == {
        "resourceType": "AccessPolicy",
        "id": CLIENT_ID,
        **POLICY,
    }
    assert updated.status_code == 200


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        ({"engine": "sql", "sql": {"query": "select true"}}, "AccessPolicy.engine"),
        ({"engine": "matcho", "matcho": {"uri": "#("}}, "AccessPolicy.matcho.uri"),
        ({"engine": "surprise"}, "AccessPolicy.engine"),
        ({}, "AccessPolicy.engine"),
        ({"engine": "allow", "link": [{"id": "nobody", "resourceType": "Client"}]}, "AccessPolicy.link"),
        ({"engine": "allow", "link": [{"id": "x", "resourceType": "User"}]}, "AccessPolicy.link[0]"),
        ({"engine": "allow", "id": "other"}, "AccessPolicy.id"),
    ],
)
def test_an_invalid_policy_is_refused(server: Server, policy: dict[str, object], path: str) -> None:
    """X17, X18, X19: 422 with the path, nothing stored."""
    response = server.request("PUT", "/AccessPolicy/p", json=policy, headers=basic())

    assert response.status_code == 422
    assert [expression for expression, _ in issues(response)] == [[path]]
    assert server.request("GET", "/AccessPolicy/p", headers=basic()).status_code == 404


@pytest.mark.parametrize("resource_id", ["a%20b", "a_b", "x" * 65, "ü"])
def test_an_id_outside_the_alphabet_is_no_resource(server: Server, resource_id: str) -> None:
    """G03."""
    response = server.request("PUT", f"/Client/{resource_id}", json=client_resource(), headers=basic())

    assert response.status_code in (400, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/Client//root",
        "/Client/../Client/root",
        "/Client/./root",
        "/Client;x=1",
        "/Client/a%00",
        "/Client%2Froot",
        "/%43lient",
    ],
)
def test_a_path_with_a_second_spelling_is_refused(server: Server, path: str) -> None:
    """G05: 400 before anything else."""
    assert server.request("GET", path, headers=basic()).status_code == 400


def test_method_overrides_are_refused(server: Server) -> None:
    """G06."""
    response = server.request("GET", "/Client", headers={**basic(), "X-HTTP-Method-Override": "DELETE"})

    assert response.status_code == 400


def test_without_credentials_there_is_a_challenge(server: Server) -> None:
    """401 with WWW-Authenticate."""
    response = server.request("GET", "/Client")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == (
        'Basic realm="authserver", charset="UTF-8", Bearer realm="authserver"'
    )


@pytest.mark.parametrize(
    "headers",
    [
        basic("root", "wrong secret"),
        basic("nobody", "wrong secret"),
        {"Authorization": "Basic !!"},
        {"Authorization": "Basic cm9vdA=="},
        {"Authorization": "Digest x"},
        bearer("a.b.c"),
    ],
)
def test_wrong_credentials_change_nothing(server: Server, headers: dict[str, str]) -> None:
    """G01, A4: 401, alike for every cause."""
    response = server.request("PUT", "/Client/x", json=client_resource(), headers=headers)

    assert (response.status_code, issues(response)) == (401, [([], "login")])
    assert server.request("GET", "/Client/x", headers=basic()).status_code == 404


def test_two_authorization_headers_are_refused(server: Server) -> None:
    """F09."""
    headers = [("Authorization", basic()["Authorization"]), ("Authorization", "Bearer x")]

    assert server.request("GET", "/Client", headers=headers).status_code == 400


def test_a_token_in_the_query_is_refused(server: Server) -> None:
    """F09."""
    assert server.request("GET", "/Client?access_token=x").status_code == 400


def test_a_token_needs_both_scope_and_policy(server: Server) -> None:
    """A named scope and a policy open the registry to a Bearer; each alone does not."""
    server.put_client(scope=["system/Client.rs", "system/*.read"])
    token = server.token(scope="system/Client.rs")
    narrow = server.token(scope="system/Patient.read")

    without_policy = server.request("GET", "/Client", headers=bearer(token))
    server.put_policy()
    allowed = server.request("GET", "/Client", headers=bearer(token))
    without_scope = server.request("GET", "/Client", headers=bearer(narrow))
    writing = server.request("PUT", "/Client/y", json=client_resource(), headers=bearer(token))

    assert (without_policy.status_code, allowed.status_code) == (403, 200)
    assert (without_scope.status_code, writing.status_code) == (403, 403)
    assert 'error="insufficient_scope", scope="system/Client.u"' in writing.headers["WWW-Authenticate"]


def test_a_wildcard_never_opens_the_registry(server: Server) -> None:
    """Decision: `*` covers none of our own types, under the broadest policy."""
    server.put_client(scope=["system/*.*"])
    server.put_policy()

    response = server.request("GET", "/Client", headers=bearer(server.token(scope="system/*.*")))

    assert response.status_code == 403


def test_a_client_for_another_audience_does_not_open_the_registry(server: Server) -> None:
    """F05: the token must be meant for this server."""
    elsewhere = {"client_credentials": {"audience": ["https://elsewhere.example"]}}
    server.put_client(scope=["system/Client.rs"], auth=elsewhere)
    server.put_policy()

    response = server.request("GET", "/Client", headers=bearer(server.token(scope="system/Client.rs")))

    assert response.status_code == 401


def test_basic_credentials_are_form_decoded(server: Server) -> None:
    """RFC 6749 section 2.3.1; openid-client sends `-` as %2D. As they are, they work too."""
    secret = "50% off + more"
    server.put_client("basic-client", secret=secret, grant_types=["basic"], scope=["system/Client.rs"])
    server.put_policy("basic-client", "basic-client")

    encoded = server.request("GET", "/Client", headers=basic("basic%2Dclient", "50%25+off+%2B+more"))
    plain = server.request("GET", "/Client", headers=basic("basic-client", secret))

    assert (encoded.status_code, plain.status_code) == (200, 200)


def test_a_put_tells_of_traps_when_it_is_asked_to(server: Server) -> None:
    """X19: `Prefer: return=OperationOutcome` has the warnings as issues; without it the answer is the resource."""
    open_to_all = {"engine": "matcho", "matcho": {"uri": "#/fhir"}}
    headers = {**basic(), "Prefer": "handling=strict; return=OperationOutcome"}

    told = server.request("PUT", "/AccessPolicy/p", json=open_to_all, headers=headers)
    quiet = server.request("PUT", "/AccessPolicy/p", json=open_to_all, headers={**basic(), "Prefer": "return=minimal"})
    client = server.request("PUT", f"/Client/{CLIENT_ID}", json=client_resource(), headers=headers)

    said = [(issue["severity"], issue.get("expression")) for issue in told.json["issue"]]
    assert said == [
        ("information", None),
        ("warning", ["AccessPolicy.link"]),
        ("warning", ["AccessPolicy.matcho.uri"]),
    ]
    assert (told.status_code, told.headers["ETag"], "Location" in told.headers) == (201, 'W/"1"', True)
    assert (quiet.status_code, quiet.json["resourceType"], quiet.json["matcho"]) == (
        200,
        "AccessPolicy",
        {"uri": "#/fhir"},
    )
    assert (client.status_code, [issue["severity"] for issue in client.json["issue"]]) == (201, ["information"])


def test_a_refused_policy_is_refused_whatever_answer_is_preferred(server: Server) -> None:
    """X16: 422 with the exact place."""
    headers = {**basic(), "Prefer": "return=OperationOutcome"}
    pattern = {"params": {"resource/type": "#("}}

    refused = server.request("PUT", "/AccessPolicy/p", json={"engine": "matcho", "matcho": pattern}, headers=headers)

    assert (refused.status_code, issues(refused)) == (422, [(["AccessPolicy.matcho.params.resource/type"], "value")])
    assert server.request("GET", "/AccessPolicy/p", headers=basic()).status_code == 404
