"""Explaining over HTTP: the account of an assertion and the receipts. Rows X47, X48, X51; threats A13, E06."""

from typing import Any

import pytest
from freezegun import freeze_time
from werkzeug.test import TestResponse

from authserver import clock
from authserver.app import Parts
from tests.builders import CLIENT_ID, JWKS_URI, StaticJwks, inline_keys, make_assertion, token_form
from tests.http import Server, basic, bearer
from tests.keys import key

DIAGNOSE = "/auth/assertion/$diagnose"


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """Every test starts with the documented client, whose keys are inline."""
    server.put_client(**inline_keys(key()))


def make_now(pair: Any = None, **changes: Any) -> str:
    """Return an assertion that is valid at this moment but for `changes`."""
    return make_assertion(pair, now=clock.now(), **changes)


def diagnose(server: Server, assertion: str, *, operator: bool = False, **form: str) -> Any:
    """Return the account of the assertion."""
    headers = basic() if operator else {}
    answer = server.post_form(DIAGNOSE, {"client_assertion": assertion, **form}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def outcomes(told: Any) -> dict[str, str]:
    """Return the outcome of each check, the code of one that failed."""
    return {check["check"]: check.get("code", check["outcome"]) for check in told["checks"]}


def test_a_good_assertion_passes_every_check(server: Server) -> None:
    """Row X47: all checks in their order, the keys that were seen, the state of the jti, the scope to be granted."""
    told = diagnose(server, make_now(), scope="system/Patient.rs")

    assert list(outcomes(told)) == [
        *("shape", "alg", "header", "claims", "sub", "client", "registration", "typ", "alg_registered", "jku", "kid"),
        *("keys", "key", "signature", "iss", "aud", "exp", "iat", "nbf", "lifetime", "jti", "jti_unused"),
    ]
    assert set(outcomes(told).values()) == {"passed"}
    assert (told["proven"], told["accepted"], told["jti"]) == (True, True, "unused")
    assert [(seen["kid"], seen["thumbprint"], seen["usable"]) for seen in told["keys"]] == [
        ("key-1", key().thumbprint, True)
    ]
    assert told["scope"]["granted"] == "system/Patient.rs"


def test_a_diagnosis_uses_up_nothing_and_issues_nothing(server: Server) -> None:
    """Row X47."""
    assertion = make_now()

    told = [diagnose(server, assertion)["jti"] for _ in range(2)]

    assert told == ["unused", "unused"]
    assert server.post_form("/auth/token", token_form(assertion)).status_code == 200
    assert "access_token" not in server.post_form(DIAGNOSE, {"client_assertion": make_now()}).text


def test_a_proven_assertion_that_was_used_is_explained(server: Server) -> None:
    """Its sender still proves possession of the key."""
    assertion = make_now()
    server.post_form("/auth/token", token_form(assertion))

    told = diagnose(server, assertion)

    assert (told["proven"], told["jti"], told["accepted"]) == (True, "used", False)
    assert outcomes(told)["jti_unused"] == "jti_replayed"


def test_the_checks_go_on_after_a_failure_with_what_was_expected_and_what_came(server: Server) -> None:
    """Row X47: two mistakes are told at once; the hint where the fix is certain."""
    now = clock.now()

    told = diagnose(server, make_assertion(now=now, exp=now + 3_600, typ=None, header={"typ": "at+jwt"}))

    failed = {check["check"]: check for check in told["checks"] if check["outcome"] == "failed"}
    assert set(failed) == {"typ", "exp", "lifetime"}
    assert failed["typ"]["received"] == '"at+jwt"'
    assert failed["exp"]["code"] == "exp_too_far"
    assert "s ahead; the limit is 300 s" in failed["exp"]["finding"]
    assert "clock" in failed["exp"]["hint"]


def test_milliseconds_are_recognised(server: Server) -> None:
    told = diagnose(server, make_now(exp=(clock.now() + 300) * 1000))

    (exp,) = [check for check in told["checks"] if check["check"] == "exp"]
    assert "milliseconds" in exp["received"]


@pytest.mark.parametrize("seconds", [0, -120, 20])
def test_the_skew_of_the_clients_clock_is_told_in_seconds(server: Server, seconds: int) -> None:
    """Threat B06."""
    told = diagnose(server, make_now(iat=clock.now() + seconds, exp=clock.now() + 100))

    assert abs(told["skew_seconds"] - seconds) <= 2


STRANGERS: dict[str, dict[str, Any]] = {
    "signed by another key": {"pair": key("ES384", "key-2"), "header": {"kid": "key-1"}},
    "another kid": {"header": {"kid": "none"}},
    "for another server": {"aud": "https://other.example"},
    "from an old log": {"exp": 1_700_000_000, "iat": 1_699_999_900},
}


@pytest.mark.parametrize("changes", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_learns_nothing_of_the_registration(server: Server, changes: dict[str, Any]) -> None:
    """Threat E06: the same answer for a client that is there, one that is not, and one that is inactive."""
    server.put_client("inactive", active=False)
    now = clock.now()
    sent = [
        make_assertion(now=now, client_id=client_id, jti="one", **changes)
        for client_id in (CLIENT_ID, "x" * len(CLIENT_ID), "inactive-but-for-this-name-".ljust(len(CLIENT_ID), "-"))
    ]

    told = [server.post_form(DIAGNOSE, {"client_assertion": one}).json for one in sent]

    names = [[(c["check"], c["outcome"], c.get("code")) for c in one["checks"]] for one in told]
    assert names[0] == names[1] == names[2]
    assert {frozenset(one) for one in told} == {frozenset({"proven", "server_time", "checks", "skew_seconds"})}
    assert [one["proven"] for one in told] == [False, False, False]


def test_the_answer_to_a_stranger_is_the_same_bytes_before_and_after_the_registration(server: Server) -> None:
    """Threat E06: for one and the same assertion."""
    forged = make_now(key("ES384", "key-2"), client_id="later", header={"kid": "key-1"})

    with freeze_time():
        before = server.post_form(DIAGNOSE, {"client_assertion": forged})
        server.put_client("later", **inline_keys(key()))
        after = server.post_form(DIAGNOSE, {"client_assertion": forged})

    assert (after.status_code, after.data) == (before.status_code, before.data)
    assert [name for name, _ in after.headers] == [name for name, _ in before.headers]


def test_an_operator_sees_what_the_registration_says_without_any_proof(server: Server) -> None:
    forged = make_now(key("ES384", "key-2"))

    told = diagnose(server, forged, operator=True)

    assert (told["proven"], told["accepted"]) == (False, False)
    (found,) = [check for check in told["checks"] if check["check"] == "key"]
    assert found["code"] == "key_not_found"
    assert found["expected"] == "one of the kids there: key-1"
    assert told["client"]["id"] == CLIENT_ID


def test_a_client_with_scopes_is_no_operator(server: Server) -> None:
    """Only a caller that no scope binds, with a policy, sees another's registration."""
    server.put_policy()
    token = server.token()

    answer = server.post_form(DIAGNOSE, {"client_assertion": make_now(client_id="x")}, headers=bearer(token))

    assert answer.status_code == 200
    assert set(answer.json) == {"proven", "server_time", "checks", "skew_seconds"}


def test_wrong_operator_credentials_are_refused(server: Server) -> None:
    answer = server.post_form(DIAGNOSE, {"client_assertion": make_now()}, headers=basic("root", "wrong"))

    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


def test_each_requested_scope_is_accounted_for(server: Server) -> None:
    """Row X51: granted, narrowed to what, refused why; what a token request then gets is the same."""
    server.put_client(**inline_keys(key()), scope=["system/Patient.rs", "system/Observation.r"])
    asked = "system/Patient.rs system/Observation.rs system/Device.rs patient/Patient.rs launch"

    told = diagnose(server, make_now(), scope=asked)["scope"]

    assert [(one["requested"], one["outcome"], one["granted"]) for one in told["decisions"]] == [
        ("system/Patient.rs", "granted", "system/Patient.rs"),
        ("system/Observation.rs", "narrowed", "system/Observation.r"),
        ("system/Device.rs", "refused", ""),
        ("patient/Patient.rs", "refused", ""),
        ("launch", "refused", ""),
    ]
    assert told["decisions"][2]["why"] == "nothing is registered for Device"
    assert told["granted"] == server.post_form("/auth/token", token_form(make_now(), scope=asked)).json["scope"]


def test_a_refused_scope_has_the_token_endpoints_own_code(server: Server) -> None:
    server.put_client(**inline_keys(key()), scope=["system/Patient.rs"], scope_mode="strict")

    told = diagnose(server, make_now(), scope="system/Patient.cruds")["scope"]

    assert (told["granted"], told["error"], told["code"]) == ("", "invalid_scope", "scope_narrowed")


def test_many_diagnoses_ask_for_keys_as_often_as_the_first(server: Server, parts: Parts) -> None:
    """A hopeless assertion causes no fetch at all; the rest is fetched and counted like a token request."""
    server.put_client()
    assert isinstance(parts.jwks_source, StaticJwks)

    unknown, mistyped, unlisted = make_now(client_id="nobody"), make_now(header={"typ": "x"}), make_now(key("PS256"))
    for assertion in ("x", "a.b.c", unknown, mistyped, unlisted):
        server.post_form(DIAGNOSE, {"client_assertion": assertion})

    assert parts.jwks_source.asked == []
    diagnose(server, make_now())
    assert parts.jwks_source.asked == [(JWKS_URI, "key-1")]


@pytest.mark.parametrize(
    ("assertion", "first"),
    [
        ("x", "jws_malformed"),
        ("x" * 20_000, "jws_too_large"),
        ("e30.e30.", "alg_not_allowed"),
        ("e30.W10.", "jws_claims"),
    ],
)
def test_what_is_no_assertion_is_accounted_for_as_far_as_it_goes(server: Server, assertion: str, first: str) -> None:
    told = diagnose(server, assertion, operator=True)

    assert first in outcomes(told).values()
    assert told["proven"] is False


def test_without_an_assertion_there_is_nothing_to_explain(server: Server) -> None:
    answer = server.post_form(DIAGNOSE, {"scope": "system/*.rs"})

    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_a_client_is_explained_to_an_operator_alone(server: Server) -> None:
    """Registration, keys and scopes, for the doctor."""
    form = {"client_id": CLIENT_ID}

    told = server.post_form(DIAGNOSE, form, headers=basic()).json

    assert outcomes(told) == {"client": "passed", "registration": "passed", "keys": "passed"}
    assert told["client"]["scope"] == "system/*.read"
    assert server.post_form(DIAGNOSE, form).status_code == 400
    unknown = server.post_form(DIAGNOSE, {"client_id": "nobody"}, headers=basic()).json
    assert outcomes(unknown) == {"client": "client_unknown"}
    assert server.post_form(DIAGNOSE, {"client_id": "not an id"}, headers=basic()).status_code == 400


# Receipts


def receipt(server: Server, refused: TestResponse, **headers: str) -> TestResponse:
    """Return what an operator is told of the request id of a refusal."""
    return server.request("GET", f"/auth/receipt/{refused.headers['X-Request-Id']}", headers=headers or basic())


def test_a_refusal_is_resolved_by_its_request_id(server: Server) -> None:
    """Row X48: constant body outside; reason, client, time, checks and hint for the operator."""
    refused = server.ask_token(claims={"exp": clock.now() + 3_600})

    told = receipt(server, refused).json

    assert told["id"] == refused.headers["X-Request-Id"]
    assert (told["reason"], told["client_id"], told["status"]) == ("exp_too_far", CLIENT_ID, 400)
    assert abs(told["at"] - clock.now()) <= 2
    assert "limit" in told["detail"]
    assert told["hint"]
    by_name = {check["check"]: check["outcome"] for check in told["checks"]}
    assert (by_name["signature"], by_name["exp"], by_name["jti"]) == ("passed", "failed", "not reached")


def test_a_receipt_of_a_refused_scope_says_what_became_of_each(server: Server) -> None:
    """Row X51."""
    server.put_client(**inline_keys(key()), scope=["system/Patient.rs"])
    refused = server.ask_token(scope="system/Device.rs patient/Patient.rs")

    detail = receipt(server, refused).json["detail"]

    assert "system/Device.rs: refused, nothing is registered for Device" in detail
    assert "patient/Patient.rs: refused, a backend service is granted system/ scopes alone" in detail


def test_a_receipt_holds_no_assertion_and_no_secret(server: Server) -> None:
    assertion = make_now(aud="https://other.example")
    refused = server.post_form("/auth/token", token_form(assertion, client_secret="hush-hush-hush"))

    told = receipt(server, refused)

    assert told.status_code == 200
    assert "hush-hush-hush" not in told.text
    assert not any(segment in told.text for segment in assertion.split("."))


def test_only_an_operator_reads_receipts(server: Server) -> None:
    refused = server.ask_token(claims={"aud": "https://other.example"})
    path = f"/auth/receipt/{refused.headers['X-Request-Id']}"

    answers = [server.request("GET", path, headers=headers).status_code for headers in ({}, basic("root", "wrong"))]

    assert answers == [401, 401]
    assert receipt(server, refused).status_code == 200


def test_an_unknown_receipt_is_not_found(server: Server) -> None:
    assert server.request("GET", "/auth/receipt/0123456789abcdef", headers=basic()).status_code == 404


def test_a_granted_request_leaves_no_receipt(server: Server) -> None:
    granted = server.ask_token()

    assert granted.status_code == 200
    assert receipt(server, granted).status_code == 404


@pytest.mark.parametrize(
    ("form", "reason"),
    [({"grant_type": None}, "grant_type_missing"), ({"client_assertion": None}, "assertion_missing")],
)
def test_a_request_without_a_client_has_its_receipt_too(server: Server, form: Any, reason: str) -> None:
    refused = server.post_form("/auth/token", token_form(make_now(), **form))

    told = receipt(server, refused).json

    assert (told["reason"], told["client_id"], told["path"]) == (reason, None, "/auth/token")


def test_a_client_with_scopes_reads_no_receipt(server: Server) -> None:
    """An operator is bound by no scope; a proven client is not one."""
    server.put_policy()
    refused = server.ask_token(claims={"aud": "https://other.example"})

    answer = receipt(server, refused, **bearer(server.token()))

    assert (answer.status_code, answer.json["error"]) == (403, "access_denied")


def test_another_assertion_type_is_not_explained(server: Server) -> None:
    answer = server.post_form(DIAGNOSE, {"client_assertion": make_now(), "client_assertion_type": "urn:x"})

    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert "client_assertion_type" in answer.json["error_description"]
