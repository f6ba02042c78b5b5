"""The account and authentication know the same rules, and every code has its check. Row X47."""

import pytest

from authserver.protocol import account
from authserver.protocol.assertion import CLAIM_RULES, HEADER_RULES, Expected
from authserver.protocol.hints import HINTS
from authserver.protocol.jose import DEFAULT_ALGORITHMS
from tests.builders import ISSUER, NOW, TOKEN_URL, make_assertion

EXPECTED = Expected(ISSUER, frozenset({ISSUER, TOKEN_URL}))


def of_token(token: str) -> dict[str, str]:
    """Return the outcome of each check that anybody may see."""
    made = account.of_token(token, algorithms=DEFAULT_ALGORITHMS, expected=EXPECTED, now=NOW)
    return {check.name: check.code or check.outcome for check in made.complete(account.names(private=False))}


def test_every_rule_of_authentication_is_a_check_of_the_account_in_the_same_order() -> None:
    names = account.names(private=True)

    assert [name for name in names if name in HEADER_RULES] == list(HEADER_RULES)
    assert [name for name in names if name in CLAIM_RULES] == list(CLAIM_RULES)


def test_a_code_belongs_to_one_check_and_every_hint_to_a_code() -> None:
    codes = [code for codes in account.CODES.values() for code in codes]

    assert len(codes) == len(set(codes))
    assert [code for code in HINTS if not account.of_refusal(code)] == []


def test_the_account_of_a_good_assertion_is_all_passed() -> None:
    assert set(of_token(make_assertion()).values()) == {"passed"}


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"aud": "https://evil.example"}, {"aud": "aud_mismatch"}),
        ({"exp": "soon", "nbf": NOW + 900}, {"exp": "exp_malformed", "nbf": "nbf_future", "lifetime": "exp_malformed"}),
        ({"iss": "x", "jti": None}, {"iss": "iss_not_sub", "jti": "jti_missing"}),
    ],
)
def test_the_account_goes_on_after_a_failure(changes: dict[str, object], failed: dict[str, str]) -> None:
    found = of_token(make_assertion(**changes))

    assert {name: code for name, code in found.items() if code != "passed"} == failed


def test_a_refusal_passed_what_came_before_and_did_not_reach_what_comes_after() -> None:
    """What a receipt says of the checks follows from the order of authentication."""
    told = {check.name: check.outcome for check in account.of_refusal("jwks_tls")}

    assert (told["kid"], told["keys"], told["key"], told["signature"]) == (
        "passed",
        "failed",
        "not reached",
        "not reached",
    )
    assert account.of_refusal("storage_unavailable") == []


@pytest.mark.parametrize(
    ("iat", "skew"),
    [(NOW, 0), (NOW - 90, -90), (NOW + 12.4, 12), (None, None), ("x", None), (True, None), (10**12, None)],
)
def test_the_skew_is_told_where_the_assertion_tells_it(iat: object, skew: int | None) -> None:
    assert account.skew({} if iat is None else {"iat": iat}, NOW) == skew


def test_long_values_are_cut() -> None:
    assert len(account.shown("x" * 10_000)) == account.MAX_SHOWN + 1
