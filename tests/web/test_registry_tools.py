"""`$validate` and `$keys` over HTTP. Row X49; and nothing is stored by looking."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from authserver import clock
from authserver.adapters.jwks_cache import JwksCache
from authserver.app import create_app
from authserver.errors import JwksUnavailable
from authserver.protocol.jwks import parse_document
from authserver.protocol.jwks_freshness import FetchedJwks
from authserver.protocol.key_policy import KeyRules
from authserver.protocol.render import encode
from tests.builders import CLIENT_ID, JWKS_URI, ROOT_SECRET, client_resource, inline_keys, make_parts, make_settings
from tests.http import Server, basic, bearer
from tests.keys import key

SECRET = "canary-secret of eight or more"
NO_POLICY = ("warning", "Client", "no AccessPolicy is linked to this client, so all its requests are refused")


def validate(server: Server, body: object, path: str = "/Client") -> list[tuple[str, str, str]]:
    """Return severity, place and words of each issue."""
    response = server.request("POST", f"{path}/$validate", json=body, headers=basic())
    assert (response.status_code, response.json["resourceType"]) == (200, "OperationOutcome")
    return [
        (issue["severity"], issue.get("expression", [""])[0], issue["diagnostics"]) for issue in response.json["issue"]
    ]


def validate_client(server: Server, **changes: Any) -> list[tuple[str, str]]:
    """Validate the documented Client with changes under its id, which a policy allows; leave out the words."""
    server.put_client()
    server.put_policy()
    found = validate(server, client_resource(**changes), f"/Client/{CLIENT_ID}")
    return [(severity, place) for severity, place, _ in found]


# $validate


def test_a_client_that_works_is_told_so(server: Server) -> None:
    """The control: keys fetched, a policy linked."""
    assert validate_client(server) == [("information", "")]


def test_a_new_client_lacks_its_policy(server: Server) -> None:
    """Reachability: neither a linked policy nor one for everybody."""
    before = validate(server, {"id": "new", **client_resource()})
    server.request("PUT", "/AccessPolicy/all", json={"engine": "allow"}, headers=basic())
    after = validate(server, {"id": "new", **client_resource()})

    assert (before, [severity for severity, _, _ in after]) == ([NO_POLICY], ["information"])


def test_a_policy_of_a_former_life_reaches_nobody(server: Server) -> None:
    """X50: the id was deleted and registered anew."""
    server.put_client()
    server.put_policy()
    server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())
    server.put_client()

    assert validate(server, client_resource(), f"/Client/{CLIENT_ID}") == [NO_POLICY]


def test_what_put_would_refuse_is_an_error_with_its_place(server: Server) -> None:
    """A5: every finding, and the members without effect beside them."""
    found = validate(server, client_resource(scope=["system/Patient.sr", "x y"], grant_types=["password"], scop="x"))

    assert [(severity, place) for severity, place, _ in found] == [
        ("error", "Client.scope[0]"),
        ("error", "Client.scope[1]"),
        ("error", "Client.grant_types[0]"),
        ("warning", "Client.scop"),
    ]
    assert found[-1][2].endswith("did you mean scope?")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"active": False}, [("warning", "Client.active")]),
        ({"grant_types": []}, [("warning", "Client.grant_types")]),
        ({"jwks_uri": None}, [("warning", "Client.jwks_uri")]),
        ({"scope": []}, [("warning", "Client.scope")]),
        ({"grant_types": ["basic"]}, [("warning", "Client.secret")]),
        ({"grant_types": ["basic"], "secret": SECRET}, [("information", "")]),
        ({"first_party": True, "ours": 1}, [("warning", "Client.first_party"), ("warning", "Client.ours")]),
        ({"auth": {"implicit": {}}}, [("warning", "Client.auth.implicit")]),
        ({"jwks_uri": "https://nobody.example/jwks"}, [("warning", "Client.jwks_uri")]),
        (inline_keys(key()), [("information", "")]),
        (
            {**inline_keys(key()), "token_endpoint_auth_signing_alg": "ES256"},
            [("warning", "Client.jwks"), ("warning", "Client.jwks")],
        ),
        ({"name": "x", "description": "y", "details": {}, "tenant": "t"}, [("information", "")]),
    ],
)
def test_what_a_valid_client_lacks_is_a_warning(server: Server, changes: dict[str, Any], found: list[Any]) -> None:
    assert validate_client(server, **changes) == found


def test_keys_that_verify_nothing_are_named(tmp_path: Path) -> None:
    """X49: fetched through the same port as an assertion's keys, judged by the same rules."""
    small = {**key().jwk, "kid": "old", "use": "enc"}
    parts = make_parts(tmp_path, jwks={JWKS_URI: {"keys": [small]}})
    server = served(tmp_path, parts)

    found = validate(server, client_resource())

    assert [(severity, place) for severity, place, _ in found[:2]] == [("warning", "Client.jwks_uri")] * 2
    assert found[0][2] == 'the key old verifies nothing: use must be "sig"'
    assert found[1][2] == "no key of the set can prove the client"


def test_validating_stores_nothing(server: Server) -> None:
    """Nor does it change a version, or remember a secret."""
    server.put_client()
    before = server.request("GET", "/Client/_history", headers=basic()).json

    validate(server, client_resource(secret=SECRET, grant_types=["basic"]), f"/Client/{CLIENT_ID}")
    validate(server, {"id": "new", **client_resource()})
    validate(server, {"engine": "allow"}, "/AccessPolicy")

    assert server.request("GET", "/Client/_history", headers=basic()).json == before
    assert server.request("GET", "/AccessPolicy/new", headers=basic()).status_code == 404
    assert server.request("GET", "/Client", headers=basic(CLIENT_ID, SECRET)).status_code == 401


def test_what_is_stored_is_validated_without_a_body(server: Server) -> None:
    server.put_client("idle", active=False)

    response = server.request("POST", "/Client/idle/$validate", headers=basic())
    nobody = server.request("POST", "/Client/nobody/$validate", headers=basic())

    places = [issue["expression"] for issue in response.json["issue"]]
    assert (places, nobody.status_code) == ([["Client.active"], ["Client"]], 404)


def test_a_policy_is_validated(server: Server) -> None:
    """X19: no link, an unknown and an inactive client; and one that is as it should be."""
    server.put_client("idle", active=False)

    def found(**body: Any) -> list[tuple[str, str]]:
        return [(severity, place) for severity, place, _ in validate(server, body, "/AccessPolicy/p")]

    assert found(engine="allow") == [("warning", "AccessPolicy.link")]
    assert found(engine="allow", link=[{"reference": "Client/idle"}]) == [("warning", "AccessPolicy.link")]
    assert found(engine="allow", link=[{"reference": "Client/nobody"}]) == [("error", "AccessPolicy.link")]
    assert found(engine="allow", id="other") == [("error", "AccessPolicy.id")]
    assert found(engine="allow", link=[{"reference": "Client/root"}]) == [("information", "")]


@pytest.mark.parametrize("path", ["/Client/$validate", "/AccessPolicy/$validate", "/Client/x/$validate"])
def test_a_body_that_is_no_resource_is_refused_as_by_put(server: Server, path: str) -> None:
    broken = server.request("POST", path, data=b"{", content_type="application/json", headers=basic())
    form = server.request("POST", path, data={"a": "b"}, headers=basic())

    assert (broken.status_code, form.status_code) == (400, 415)


# $keys


class Owner:
    """JwksFetcher of one owner: what it publishes, or what it fails by."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document, self.failing = document, False

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Answer for 60 seconds, or fail."""
        if self.failing:
            raise JwksUnavailable(detail=f"{url}: down", reason="jwks_status")
        return FetchedJwks(status=200, body=encode(self.document), cache_control="max-age=60")


def served(folder: Path, parts: Any) -> Server:
    """Return a server of these parts, with root."""
    settings = make_settings(folder)
    server = Server(create_app(settings, parts=parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    return server


def with_owner(folder: Path, owner: Owner) -> Server:
    """Return a server whose keys come from the owner, through the real cache."""
    cache = JwksCache(owner, lambda data: parse_document(data, rules=KeyRules()))
    return served(folder, replace(make_parts(folder), jwks_source=cache, jwks_watch=cache))


def keys_of(server: Server, client_id: str = CLIENT_ID) -> Any:
    """Ask for the health of a client's keys as root."""
    return server.request("GET", f"/Client/{client_id}/$keys", headers=basic())


def test_each_key_of_a_fetched_set_is_judged(tmp_path: Path) -> None:
    """X49: usable by which algorithms, or the code and why not; age and next refresh of the set."""
    symmetric = {"kty": "oct", "k": "AAAA", "kid": "shared"}
    twins = [{**key("ES384").jwk, "kid": "twin"}, {**key("ES256").jwk, "kid": "twin"}]
    server = with_owner(tmp_path, Owner({"keys": [key().jwk, symmetric, *twins]}))
    server.put_client()

    answer = keys_of(server).json

    told = [(found["kid"], found["kty"], found["usable"], found.get("code")) for found in answer["keys"]]
    assert told == [
        (key().jwk["kid"], key().jwk["kty"], True, None),
        ("twin", "EC", False, "key_ambiguous"),
        ("twin", "EC", False, "key_ambiguous"),
        ("shared", "oct", False, "symmetric_key"),
    ]
    members = {"kid", "kty", "alg", "use", "thumbprint", "usable", "algorithms", "last_used"}
    assert answer["keys"][0].keys() == members
    assert (answer["client"], answer["source"], answer["jwks_uri"]) == (CLIENT_ID, "jwks_uri", JWKS_URI)
    assert (answer["fetches"], answer["failures"], answer["failing_since"]) == (1, 0, None)
    assert 0 <= answer["age_seconds"] <= 60 - answer["fresh_seconds"] + 5
    assert answer["last_fetch"] == answer["last_success"] <= answer["server_time"] < answer["next_refresh"]
    assert '"k"' not in keys_of(server).text


def test_each_key_tells_when_it_last_proved_the_client(server: Server) -> None:
    """X49: by the hour, for the key that was used; its neighbour, another client's use of the same key: none."""
    second = key("ES384", "key-2")
    server.put_client(**inline_keys(key(), second))
    server.put_client("other", **inline_keys(key(), second))
    before = keys_of(server).json["keys"]
    with freeze_time("2026-11-21T08:59:59Z"):
        server.ask_token()
    with freeze_time("2026-11-21T09:01:00Z"):
        server.ask_token(second, client_id="other")

    after, others = (keys_of(server, name).json["keys"] for name in (CLIENT_ID, "other"))

    assert [one["last_used"] for one in before] == [None, None]
    assert [one["thumbprint"] for one in after] == [key().thumbprint, second.thumbprint]
    assert [one["last_used"] for one in after] == ["2026-11-21T08:00:00.000000Z", None]
    assert [one["last_used"] for one in others] == [None, "2026-11-21T09:00:00.000000Z"]


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": "https://elsewhere.example"}, {"jti": None}])
def test_an_assertion_that_proves_nobody_uses_no_key(server: Server, claims: dict[str, Any]) -> None:
    """X49: a use is a proof."""
    server.put_client()

    status = server.ask_token(claims=claims).status_code

    assert (status, [one["last_used"] for one in keys_of(server).json["keys"]]) == (400, [None])


def test_looking_asks_the_owner_only_when_nothing_fresh_is_held(tmp_path: Path) -> None:
    server = with_owner(tmp_path, Owner({"keys": [key().jwk]}))
    server.put_client()

    fetches = [keys_of(server).json["fetches"] for _ in range(3)]

    assert fetches == [1, 1, 1]


def test_an_owner_that_fails_is_told_with_the_reason(tmp_path: Path) -> None:
    """X49: failing since when."""
    owner = Owner({"keys": []})
    owner.failing = True
    server = with_owner(tmp_path, owner)
    server.put_client()

    answer = keys_of(server).json

    assert (answer["keys"], answer["last_reason"], answer["failures"]) == ([], "jwks_status", 1)
    assert answer["failing_since"] == answer["last_fetch"] is not None
    assert answer["last_success"] is answer["age_seconds"] is None


def test_registered_keys_and_none_at_all_are_told(server: Server) -> None:
    server.put_client("inline", **inline_keys(key()))
    server.put_client("none", jwks_uri=None)

    inline, none, nobody = (keys_of(server, name) for name in ("inline", "none", "nobody"))

    assert (inline.json["source"], [found["usable"] for found in inline.json["keys"]]) == ("jwks", [True])
    assert (none.json["source"], none.json["keys"], nobody.status_code) == (None, [], 404)


def test_a_source_that_remembers_nothing_still_tells_the_keys(server: Server) -> None:
    """The port alone: keys, and nothing of when."""
    server.put_client()
    server.put_client("lost", jwks_uri="https://nobody.example/jwks")

    found, lost = keys_of(server).json, keys_of(server, "lost").json

    assert ([one["usable"] for one in found["keys"]], found["last_fetch"]) == ([True], None)
    assert (lost["keys"], lost["last_reason"]) == ([], "jwks_unavailable")


def test_the_tools_need_the_letter_r_and_a_policy(server: Server) -> None:
    server.put_client(scope=["system/Client.r", "system/Client.u"])
    server.put_policy()
    reads, changes = (bearer(server.token(scope=f"system/Client.{letter}")) for letter in "ru")

    def statuses(headers: dict[str, str]) -> list[int]:
        return [
            server.request("POST", "/Client/$validate", json={}, headers=headers).status_code,
            server.request("POST", f"/Client/{CLIENT_ID}/$validate", json={}, headers=headers).status_code,
            server.request("GET", f"/Client/{CLIENT_ID}/$keys", headers=headers).status_code,
        ]

    assert [statuses(who) for who in (reads, changes, {})] == [[200] * 3, [403] * 3, [401] * 3]
