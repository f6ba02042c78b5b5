"""The assertion's pure rules, step by step; tests/vectors/assertions.json tries them through the whole service."""

import pytest

from authserver.errors import InvalidClient
from authserver.protocol import assertion, jwks
from authserver.protocol.assertion import Assertion, Case, Expected, VerifiedAssertion
from authserver.protocol.jose import DEFAULT_ALGORITHMS
from authserver.protocol.key_policy import KeyRules
from tests.builders import CLIENT_ID, ISSUER, JWKS_URI, NOW, TOKEN_URL, make_assertion, make_client
from tests.keys import key

EXPECTED = Expected(ISSUER, frozenset({ISSUER, TOKEN_URL, "https://alias.example/token"}))


def verified(token: str, *, now: int = NOW) -> VerifiedAssertion:
    """Verify an assertion of the usual client by the usual key."""
    unverified = assertion.peek(token, algorithms=DEFAULT_ALGORITHMS)
    parsed = jwks.parse_key(key().jwk, rules=KeyRules())
    return assertion.verify(Case(unverified, make_client(), EXPECTED, now), parsed)


def test_peeking_tells_the_claimed_client_and_trusts_nothing() -> None:
    unverified = assertion.peek(make_assertion(client_id="anybody"), algorithms=DEFAULT_ALGORITHMS)

    assert (unverified.client_id, unverified.claims["iss"]) == ("anybody", "anybody")


def test_the_header_names_the_key() -> None:
    """Row A14, SMART signature step 1: an equal jku is allowed."""
    token = make_assertion(header={"jku": JWKS_URI})

    unverified = assertion.peek(token, algorithms=DEFAULT_ALGORITHMS)
    kid = assertion.check_header(Case(unverified, make_client(), EXPECTED, NOW))

    assert kid == "key-1"


@pytest.mark.parametrize(("exp", "until"), [(NOW + 300, NOW + 340), (NOW + 299.1, NOW + 340)])
def test_the_jti_is_remembered_longer_than_any_server_accepts_it(exp: float, until: int) -> None:
    """Threat B09: at `until` no clock, 30 s slow or less, would accept the assertion."""
    proven = verified(make_assertion(jti="one", exp=exp))

    assert proven == Assertion(CLIENT_ID, "one", until)
    with pytest.raises(InvalidClient):
        verified(make_assertion(jti="one", exp=exp), now=until - 30)


@pytest.mark.parametrize("now", [NOW - 30, NOW, NOW + 309])
def test_an_assertion_is_good_from_a_little_before_to_a_little_after(now: int) -> None:
    """Threat B06: both edges from inside."""
    assert verified(make_assertion(jti="one"), now=now).jti == "one"


@pytest.mark.parametrize(("now", "reason"), [(NOW - 31, "exp_too_far"), (NOW + 310, "exp_past")])
def test_an_assertion_is_not_good_a_second_further(now: int, reason: str) -> None:
    """Threat B06: both edges from outside."""
    with pytest.raises(InvalidClient) as refused:
        verified(make_assertion(), now=now)

    assert refused.value.reason == reason


def test_a_configured_alias_is_an_audience() -> None:
    assert verified(make_assertion(aud="https://alias.example/token", jti="one")).jti == "one"


def test_a_refused_audience_says_to_the_operator_which_were_expected() -> None:
    with pytest.raises(InvalidClient) as refused:
        verified(make_assertion(aud="https://auth.example/token"))

    wanted = "https://alias.example/token or https://auth.example or https://auth.example/auth/token"
    assert (refused.value.reason, refused.value.detail) == ("aud_mismatch", f"aud is not {wanted}")
