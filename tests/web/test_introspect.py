"""Introspection and revocation over HTTP: who may ask, and what each token is worth."""

import json
from pathlib import Path

import pytest
from freezegun import freeze_time

from authserver import clock
from authserver.app import Parts
from authserver.errors import TooManyRequests
from authserver.services.guess_limit import GuessLimit
from tests.builders import CLIENT_ID, make_assertion, make_settings
from tests.http import Server, basic, bearer, make_app
from tests.keys import key, new_key

INACTIVE = b'{"active":false}'


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """Every test starts with the documented client and no policy of its own."""
    server.put_client()


def test_an_active_token_is_described(server: Server) -> None:
    """X3, N2: the members and their values."""
    token = server.token(scope="system/Patient.read")

    body = server.introspect(token).json

    expires, issued, jti = body.pop("exp"), body.pop("iat"), body.pop("jti")
    assert (expires - issued, jti[:2]) == (300, "1.")
    assert body == {
        "active": True,
        "scope": "system/Patient.read",
        "client_id": CLIENT_ID,
        "sub": CLIENT_ID,
        "iss": "https://auth.example",
        "aud": "https://auth.example/fhir",
        "token_type": "Bearer",
    }


def test_the_tenant_is_told(server: Server) -> None:
    """X3: a client of a tenant has tokens of that tenant."""
    server.put_client(tenant="north")

    assert server.introspect(server.token()).json["tenant"] == "north"


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "x" * 20_000])
def test_what_is_no_token_is_inactive(server: Server, token: str) -> None:
    """F03: 200 and the same bytes."""
    response = server.introspect(token)

    assert (response.status_code, response.data) == (200, INACTIVE)


def test_an_assertion_is_no_access_token(server: Server) -> None:
    """A22."""
    assert server.introspect(make_assertion(now=clock.now())).data == INACTIVE


def test_a_token_signed_by_somebody_else_is_inactive(server: Server) -> None:
    """F05: our issuer and our kid, not our key."""
    claims = server.introspect(server.token()).json
    forged = new_key("ES256", kid=server.request("GET", "/.well-known/jwks.json").json["keys"][0]["kid"])

    response = server.introspect(forged.sign(claims, header={"typ": "at+jwt"}))

    assert response.data == INACTIVE


def test_an_expired_token_is_inactive(server: Server) -> None:
    """A21: at exp, not a second later."""
    with freeze_time("2027-01-15T08:00:00Z") as frozen:
        token = server.token()
        frozen.tick(299)
        before = server.introspect(token).json["active"]
        frozen.tick(1)

        response = server.introspect(token)

    assert (before, response.data) == (True, INACTIVE)


@pytest.mark.parametrize("change", ["disabled", "deleted", "registered anew"])
def test_a_token_dies_with_its_registration(server: Server, change: str) -> None:
    """X50, E10: at the next introspection."""
    token = server.token()
    before = server.introspect(token).json["active"]
    if change == "disabled":
        server.put_client(active=False)
    else:
        server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())
    if change == "registered anew":
        server.put_client()

    response = server.introspect(token)

    assert (before, response.data) == (True, INACTIVE)


def test_enabled_again_the_token_lives(server: Server) -> None:
    """The positive control: a disabled client's token is inactive because the client is."""
    token = server.token()
    server.put_client(active=False)
    server.put_client(active=True)

    assert server.introspect(token).json["active"] is True


def test_the_decision_of_the_policies_comes_with_the_described_request(server: Server) -> None:
    """A7, A8: the deciding policy's id; deleting the policy changes the very next answer."""
    token = server.token()
    described = {"method": "GET", "path": "/fhir/Observation", "parameters": [["code", "4548-4"]]}

    def decision() -> object:
        answer = server.introspect(token, request=json.dumps(described))
        told = answer.json["policy_decision"]
        # A refusal has a record under the request id of the answer (row X23).
        return {
            name: value == answer.headers["X-Request-Id"] if name == "decision" else value
            for name, value in told.items()
        }

    none = decision()
    server.put_policy("the-policy")
    allowed = decision()
    server.request("DELETE", "/AccessPolicy/the-policy", headers=basic())

    assert (none, allowed, decision()) == (
        {"allowed": False, "decision": True},
        {"allowed": True, "policy": "the-policy"},
        {"allowed": False, "decision": True},
    )


def test_a_policy_of_a_former_registration_decides_nothing(server: Server) -> None:
    """G10: linked to a client that was deleted and registered anew."""
    server.put_policy()
    server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())
    server.put_client()

    answer = server.introspect(server.token(), request='{"method": "GET", "path": "/fhir/Patient"}')

    assert answer.json["policy_decision"] == {"allowed": False, "decision": answer.headers["X-Request-Id"]}


@pytest.mark.parametrize(
    "described",
    [
        "{",
        "[]",
        "{}",
        '{"method": "GET"}',
        '{"method": 1, "path": "/"}',
        '{"method": "GET", "path": "/", "path": "/x"}',
    ],
)
def test_a_description_that_cannot_be_read_is_refused(server: Server, described: str) -> None:
    """A policy must never judge half a request."""
    response = server.introspect(server.token(), request=described)

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")


def test_a_missing_token_is_refused(server: Server) -> None:
    """RFC 7662 section 2.1: token is required."""
    response = server.post_form("/auth/introspect", {}, headers=basic())

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")


def test_introspection_needs_a_caller(server: Server) -> None:
    """F01: 401 without a word about the token."""
    response = server.post_form("/auth/introspect", {"token": server.token()})

    assert response.status_code == 401
    assert response.json == {"error": "invalid_client", "error_description": "Authentication is required."}


def test_a_caller_without_a_policy_is_forbidden(server: Server) -> None:
    """F02: an authenticated caller whom no policy allows."""
    server.put_client("asker", secret="canary-secret of the asker", grant_types=["basic"], scope=["__introspect"])
    token = server.token()

    forbidden = server.introspect(token, headers=basic("asker", "canary-secret of the asker"))
    server.put_policy("asker", "asker")
    allowed = server.introspect(token, headers=basic("asker", "canary-secret of the asker"))

    assert (forbidden.status_code, forbidden.json["error"]) == (403, "access_denied")
    assert allowed.json["active"] is True


def test_a_caller_by_basic_stays_within_its_registered_scopes(server: Server) -> None:
    """Least privilege: a resource server's client that names other scopes may not introspect."""
    server.put_client("asker", secret="canary-secret of the asker", grant_types=["basic"], scope=["system/Client.r"])
    server.put_policy("asker", "asker")

    assert server.introspect("x", headers=basic("asker", "canary-secret of the asker")).status_code == 401


def test_a_bearer_with_the_scope_may_introspect(server: Server) -> None:
    """N5: a suitably scoped token; one without the scope is a 401 (RFC 7662 section 2.3)."""
    server.put_client(scope=["__introspect", "system/*.read"])
    server.put_policy()
    suited, plain = server.token(scope="__introspect"), server.token(scope="system/Patient.read")

    allowed = server.introspect(plain, headers=bearer(suited))
    refused = server.introspect(plain, headers=bearer(plain))

    assert (allowed.json["active"], refused.status_code) == (True, 401)


def test_a_client_may_introspect_by_assertion(server: Server) -> None:
    """private_key_jwt at the introspection endpoint, within the registered scopes."""
    server.put_client(scope=["__introspect", "system/*.read"])
    server.put_policy()
    form = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": make_assertion(key(), now=clock.now()),
    }

    response = server.post_form("/auth/introspect", {"token": server.token(), **form})
    replayed = server.post_form("/auth/introspect", {"token": "x", **form})

    assert response.json["active"] is True
    assert (replayed.status_code, replayed.json["error"]) == (400, "invalid_client")


def test_a_revoked_token_is_inactive_at_once(server: Server) -> None:
    """X4: revoked by its own client with the token itself as credential; no row but the jti's."""
    token = server.token()

    response = server.post_form("/auth/revoke", {"token": token}, headers=bearer(token))

    assert (response.status_code, response.data) == (200, b"{}")
    assert server.introspect(token).data == INACTIVE


def test_an_operator_revokes_any_token(server: Server) -> None:
    """Root is bound by no scope."""
    token = server.token()

    assert server.post_form("/auth/revoke", {"token": token}, headers=basic()).status_code == 200
    assert server.introspect(token).data == INACTIVE


def test_a_client_cannot_revoke_anothers_token(server: Server) -> None:
    """RFC 7009 section 2.1: answered like an unknown token, and nothing happens."""
    server.put_client("other", scope=["system/*.read"])
    server.put_policy("other", "other")
    token, own = server.token(), server.ask_token(client_id="other").json["access_token"]

    response = server.post_form("/auth/revoke", {"token": token}, headers=bearer(own))

    assert (response.status_code, response.data) == (200, b"{}")
    assert server.introspect(token).json["active"] is True


def test_an_unknown_token_is_revoked_without_complaint(server: Server) -> None:
    """RFC 7009 section 2.2."""
    assert server.post_form("/auth/revoke", {"token": "x"}, headers=basic()).status_code == 200


def test_revocation_needs_a_caller(server: Server) -> None:
    """RFC 7009 section 2.1."""
    assert server.post_form("/auth/revoke", {"token": "x"}).status_code == 401


def test_an_operator_sees_what_became_of_each_requested_scope(server: Server) -> None:
    """X51: granted, narrowed, refused; as it was when the token was issued."""
    server.put_client(scope=["system/Patient.rs", "system/Observation.r"])
    token = server.token(scope="system/Patient.rs system/Observation.rs system/Condition.rs")

    told = server.introspect(token).json["scope_decisions"]

    assert [(one["requested"], one["outcome"], one["granted"]) for one in told] == [
        ("system/Patient.rs", "granted", "system/Patient.rs"),
        ("system/Observation.rs", "narrowed", "system/Observation.r"),
        ("system/Condition.rs", "refused", ""),
    ]


def test_a_token_that_got_all_it_asked_for_has_nothing_to_report(server: Server) -> None:
    """X51: in another order, in other words, or without asking."""
    server.put_client(scope=["system/Patient.rs", "system/Observation.rs"])
    asked: list[dict[str, str | None]] = [
        {"scope": "system/Patient.rs system/Observation.rs"},
        {"scope": "system/Patient.read"},
        {"scope": None},
    ]

    answers = [server.introspect(server.token(**form)).json for form in asked]

    assert [(answer["active"], "scope_decisions" in answer) for answer in answers] == [(True, False)] * 3


def test_who_is_no_operator_sees_no_report(server: Server) -> None:
    """X51, F02: a resource server with the scope for introspection alone."""
    server.put_client(scope=["system/Patient.rs"])
    token = server.token(scope="system/Patient.rs system/Condition.rs")
    secret = "canary-secret of the resource server"
    body = {"grant_types": ["basic"], "scope": ["__introspect"], "secret": secret}
    server.request("PUT", "/Client/rs", json=body, headers=basic())
    server.put_policy("rs", "rs")

    answer = server.introspect(token, headers=basic("rs", secret)).json

    assert (answer["active"], answer["scope"], "scope_decisions" in answer) == (True, "system/Patient.rs", False)


def guessing(folder: Path, parts: Parts) -> Server:
    """Return a server that allows two guesses a minute."""
    settings = make_settings(folder, introspection_guesses=2)
    return Server(make_app(settings, parts))


def test_a_caller_that_guesses_is_slowed_down(server: Server, parts: Parts, tmp_path: Path) -> None:
    """F03: made-up tokens get 429 beyond the limit, tokens of ours are answered all the same."""
    server.put_client()
    token, limited = server.token(), guessing(tmp_path, parts)

    with freeze_time("2030-01-01 00:00:10"):
        guesses = [limited.introspect(f"{token[:-8]}{number:08}") for number in range(4)]
        expired = limited.introspect(token)
    with freeze_time("2030-01-01 00:01:10"):
        later = limited.introspect("another guess")

    assert [answer.status_code for answer in guesses] == [200, 200, 429, 429]
    assert (guesses[2].headers["Retry-After"], guesses[2].json["error"]) == ("60", "slow_down")
    assert [answer.json for answer in (expired, later)] == [{"active": False}] * 2


def test_a_guess_too_many_has_its_reason(
    server: Server, parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F03."""
    limited = guessing(tmp_path, parts)

    for _ in range(3):
        limited.introspect("x")

    assert "reason=introspection_guesses" in capsys.readouterr().out


def test_one_callers_guesses_are_not_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    """F03: and only so many callers are counted."""
    monkeypatch.setattr("authserver.services.guess_limit.MAX_CALLERS", 1)
    limit = GuessLimit(limit=1)
    limit.guessed("one", now=0)
    limit.guessed("other", now=0)
    limit.guessed("one", now=0)

    with pytest.raises(TooManyRequests):
        limit.guessed("one", now=59)
    limit.guessed("one", now=60)
