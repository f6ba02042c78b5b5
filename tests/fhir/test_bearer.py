"""From the Authorization header to a Caller."""

from typing import Any

import pytest

from authserver.errors import BadRequest, IntrospectionUnavailable, InvalidToken, TokenRequired
from authserver.fhir.access import Caller
from authserver.fhir.bearer import BearerAuthentication, credentials
from authserver.fhir.introspection import DirectIntrospection
from authserver.protocol import api_key, scopes
from tests.fhir.builders import BASE, ISSUER, FakeIntrospection, make_answer

NOW = 1_000_000
REQUEST = {"method": "GET"}


def _caller(*authorization: str, **members: Any) -> Caller:
    answer = make_answer(**{"exp": NOW + 300, **members})
    introspection = FakeIntrospection({"good": {k: v for k, v in answer.items() if v is not None}})
    authentication = BearerAuthentication(introspection, issuer=ISSUER, audience=BASE)
    return authentication.caller(authorization or ("Bearer good",), REQUEST, now=NOW)


def test_an_active_token_gives_a_caller() -> None:
    caller = _caller(tenant="t", scope="system/Patient.rs")

    assert caller == Caller(
        client_id="bulk-client",
        scopes=(scopes.Scope("system", "Patient", "rs"),),
        tenant="t",
        token_id="token-1",
        expires_at=NOW + 300,
        policy_allows=True,
    )


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(scheme: str) -> None:
    """Threat F09."""
    assert _caller(f"{scheme} good").client_id == "bulk-client"


@pytest.mark.parametrize("authorization", [(), ("Basic YTpi",), ("DPoP good",), ("",), ("Bearer",)])
def test_no_bearer_credentials_are_told_without_an_error_code(authorization: tuple[str, ...]) -> None:
    """RFC 6750 section 3.1."""
    authentication = BearerAuthentication(FakeIntrospection(), issuer=ISSUER, audience=BASE)

    with pytest.raises((TokenRequired, BadRequest)) as refused:
        authentication.caller(authorization, REQUEST, now=NOW)

    assert "error=" not in refused.value.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize(
    "authorization",
    [
        ("Bearer good", "Bearer good"),
        ("Bearer good", "Basic YTpi"),
        ("Bearer good, Bearer other",),
        ("Bearer good,Basic YTpi",),
        ("Bearer good other",),
        ("Bearer  good",),
        ("Bearer gööd",),
        ("Bearer " + "a" * 8_193,),
    ],
)
def test_ambiguous_or_malformed_credentials_are_bad_requests(authorization: tuple[str, ...]) -> None:
    """Threat F09."""
    with pytest.raises(BadRequest):
        _caller(*authorization)


@pytest.mark.parametrize(
    "members",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "https://other.example"},
        {"aud": []},
        {"aud": None},
        {"aud": {"x": BASE}},
        {"aud": f"{BASE}/"},
        {"token_type": "DPoP"},
        {"token_type": None},
        {"exp": NOW},
        {"exp": None},
        {"exp": str(NOW + 300)},
        {"exp": float(NOW + 300)},
        {"exp": True},
        {"client_id": None},
        {"client_id": ""},
        {"client_id": 7},
        {"jti": None},
        {"scope": ["system/*.read"]},
        {"tenant": 7},
    ],
)
def test_a_token_that_does_not_fit_is_not_active_here(members: dict[str, Any]) -> None:
    """One answer for every reason (RFC 6750 section 3.1)."""
    with pytest.raises(InvalidToken) as refused:
        _caller(**members)

    assert refused.value.public == "The access token is not active."
    assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize("aud", [BASE, [BASE], ["https://other.example", BASE]])
def test_our_base_may_be_one_of_several_audiences(aud: object) -> None:
    assert _caller(aud=aud).client_id == "bulk-client"


@pytest.mark.parametrize("decision", [None, {}, {"allowed": False}, {"allowed": "true"}, {"allowed": 1}, True, [True]])
def test_only_a_clear_yes_of_the_policies_is_one(decision: object) -> None:
    """Row A8."""
    assert _caller(policy_decision=decision).policy_allows is False


def test_a_token_without_scope_may_do_nothing() -> None:
    assert _caller(scope=None).scopes == ()


def test_an_unknown_token_is_not_active() -> None:
    with pytest.raises(InvalidToken):
        _caller("Bearer unknown")


def test_the_request_is_described_to_introspection() -> None:
    introspection = FakeIntrospection({"good": make_answer(exp=NOW + 1)})

    BearerAuthentication(introspection, issuer=ISSUER, audience=BASE).caller(["Bearer good"], REQUEST, now=NOW)

    assert introspection.asked == [("good", REQUEST)]


def test_an_introspection_that_fails_lets_nobody_in() -> None:
    def fail(token: str, request: object) -> object:
        raise ConnectionError

    authentication = BearerAuthentication(DirectIntrospection(fail), issuer=ISSUER, audience=BASE)

    with pytest.raises(IntrospectionUnavailable):
        authentication.caller(["Bearer good"], REQUEST, now=NOW)


KEY = api_key.compose("live", "0" * 12, "1" * 32)


def test_an_api_key_goes_the_same_way_as_a_token() -> None:
    """C2: `x-api-key` yields the same Caller."""
    found = [credentials([], [KEY]), credentials(["Bearer good"], []), credentials([], [])]

    assert found == [[f"Bearer {KEY}"], ["Bearer good"], []]


@pytest.mark.parametrize(
    ("authorization", "keys"), [(["Bearer good"], [KEY]), ([], [KEY, KEY]), ([], [f"{KEY},{KEY}"])]
)
def test_an_api_key_beside_other_credentials_is_refused(authorization: list[str], keys: list[str]) -> None:
    """Threat F09."""
    with pytest.raises(BadRequest) as refused:
        credentials(authorization, keys)

    assert refused.value.reason == "several_credentials"


@pytest.mark.parametrize("text", ["", "good", KEY[:-1], f"{KEY} "])
def test_an_api_key_of_the_wrong_shape_is_known_without_asking(text: str) -> None:
    """C2: INVALID_KEY_FORMAT."""
    with pytest.raises(InvalidToken) as refused:
        credentials([], [text])

    assert (refused.value.reason, refused.value.public) == ("api_key_format", "The API key has the wrong shape.")
