"""What an access token says, when it is current, whose it is. Rows A17, A21, X3, X9, X50."""

from typing import Any

import pytest

from authserver.protocol import access_token
from authserver.protocol.client import ClientRules, from_resource
from tests.builders import CLIENT_ID, ISSUER, NOW, client_resource, make_client

AUDIENCE = ("https://auth.example/fhir",)


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a usual token with changes."""
    client = make_client()
    usual = access_token.claims(
        client,
        issuer=ISSUER,
        audience=AUDIENCE,
        scope="system/Patient.rs",
        jti=access_token.new_jti(client, "r"),
        now=NOW,
    )
    return {**usual, **changes}


def test_a_token_says_these_things_and_no_others() -> None:
    assert claims() == {
        "iss": ISSUER,
        "sub": CLIENT_ID,
        "aud": "https://auth.example/fhir",
        "client_id": CLIENT_ID,
        "scope": "system/Patient.rs",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "1.r",
    }


def test_a_client_with_a_tenant_and_several_audiences_has_them_in_its_token() -> None:
    client = make_client(tenant="clinic-1", auth={"client_credentials": {"access_token_expiration": 60}})

    told = access_token.claims(client, issuer=ISSUER, audience=("a", "b"), scope="s", jti="1.r", now=NOW)

    assert (told["tenant"], told["aud"], told["exp"]) == ("clinic-1", ["a", "b"], NOW + 60)


@pytest.mark.parametrize(
    ("changes", "now", "expected"),
    [
        ({}, NOW, True),
        ({}, NOW + 299, True),
        ({}, NOW + 300, False),
        ({"exp": None}, NOW, False),
        ({"exp": str(NOW + 300)}, NOW, False),
        ({"exp": NOW + 300.5}, NOW, False),
        ({"exp": True}, 0, False),
        ({"iss": f"{ISSUER}/"}, NOW, False),
        ({"iss": None}, NOW, False),
    ],
)
def test_a_token_is_current_until_its_exp_and_ours_by_its_issuer(
    changes: dict[str, Any], now: int, expected: bool
) -> None:
    """Row A21, threat F05."""
    assert access_token.is_current(claims(**changes), issuer=ISSUER, now=now) is expected


@pytest.mark.parametrize(
    ("changes", "generation", "expected"),
    [
        ({}, 1, True),
        ({}, 2, False),
        ({"jti": "12.r"}, 1, False),
        ({"jti": "12.r"}, 12, True),
        ({"jti": "1"}, 1, False),
        ({"jti": None}, 1, False),
        ({"jti": 1.5}, 1, False),
        ({"client_id": "another"}, 1, False),
        ({"client_id": CLIENT_ID.upper()}, 1, False),
    ],
)
def test_a_token_belongs_to_one_life_of_one_client(changes: dict[str, Any], generation: int, expected: bool) -> None:
    """Row X50, threat E10."""
    client = from_resource(client_resource(), client_id=CLIENT_ID, rules=ClientRules(), token_generation=generation)

    assert access_token.belongs_to(claims(**changes), client) is expected


@pytest.mark.parametrize(("aud", "expected"), [("a", {"a"}), (["a", "b"], {"a", "b"}), ([], set()), (None, set())])
def test_an_audience_is_a_set(aud: Any, expected: set[str]) -> None:
    assert access_token.audience_of({"aud": aud}) == expected


@pytest.mark.parametrize(
    ("caller", "token", "expected"),
    [
        ({}, {}, True),
        ({"introspection_audience": "a"}, {"aud": "a"}, True),
        ({"introspection_audience": ["a", "b"]}, {"aud": ["b", "c"]}, True),
        ({"introspection_audience": "a"}, {"aud": "ab"}, False),
        ({"introspection_audience": "a"}, {"aud": []}, False),
        ({"introspection_audience": "a"}, {"aud": None}, False),
        ({"tenant": "north"}, {"tenant": "north"}, True),
        ({"tenant": "north"}, {"tenant": "south"}, False),
        ({"tenant": "north"}, {}, False),
        ({"tenant": "north", "introspection_audience": "a"}, {"tenant": "north"}, False),
        ({}, {"tenant": "north"}, True),
    ],
    ids=str,
)
def test_a_caller_sees_tokens_of_its_audience_and_tenant(
    caller: dict[str, Any], token: dict[str, Any], expected: bool
) -> None:
    """Row X4, threats F02 and F05."""
    assert access_token.is_visible_to(claims(**token), make_client("asker", **caller)) is expected


def test_introspection_tells_the_known_claims_alone() -> None:
    """Row X3, threat F02."""
    answer = access_token.introspection_response(claims(tenant="clinic-1", internal="x"))

    assert answer == {"active": True, **claims(tenant="clinic-1"), "token_type": "Bearer"}
    assert access_token.INACTIVE == {"active": False}
