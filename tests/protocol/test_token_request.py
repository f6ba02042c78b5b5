"""The form of a token request; the cases are in tests/vectors/token_forms.json. Rows A9 to A13; threats E02, E04."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.errors import InvalidRequest, OAuthError
from authserver.protocol import token_request
from authserver.protocol.token_request import JWT_BEARER, ClientAssertion, TokenRequest
from tests.builders import token_form, vectors


def pairs_of(case: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the decoded form of a case."""
    return [(name, value) for name, value in case["pairs"]]


@pytest.mark.parametrize("case", vectors("token_forms", lambda case: "value" in case))
def test_a_form_is_read_by_its_meaning(case: dict[str, Any]) -> None:
    read = token_request.parse(pairs_of(case))

    value = case["value"]
    client = ClientAssertion(value["assertion"], value["client_id"])
    assert read == TokenRequest(client, value["scope"], tuple(value["resources"]))


@pytest.mark.parametrize("case", vectors("token_forms", lambda case: "error" in case))
def test_a_wrong_form_is_refused_by_its_own_code(case: dict[str, Any]) -> None:
    with pytest.raises(OAuthError) as refused:
        token_request.parse(pairs_of(case))

    told = (refused.value.status, refused.value.oauth_code, refused.value.reason)
    assert told == (400, case["error"], case["reason"])


def test_the_repeated_parameter_is_named_and_nothing_of_its_value() -> None:
    with pytest.raises(InvalidRequest) as refused:
        token_request.single_values([("scope", "secret"), ("scope", "other")])

    assert refused.value.public == "The parameter scope was sent more than once."


def test_only_known_parameters_are_kept() -> None:
    values = token_request.single_values([("token", "t"), ("x", "1"), ("x", "2")], known=frozenset({"token"}))

    assert values == {"token": "t"}


_names = st.sampled_from([*sorted(token_request.OAUTH_PARAMETERS), "x"]) | st.text(max_size=5)
_values = st.sampled_from(["client_credentials", JWT_BEARER, "a.b.c", ""]) | st.text(max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_names, _values), max_size=6), st.booleans())
def test_any_form_is_a_request_or_an_oauth_error(pairs: list[tuple[str, str]], with_the_usual: bool) -> None:
    usual = list(token_form("a.b.c").items()) if with_the_usual else []
    try:
        read = token_request.parse(usual + pairs)
    except OAuthError:
        return

    assert ("client_assertion", read.client.assertion) in usual + pairs
