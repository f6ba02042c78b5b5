"""What the caller is told of a bad parameter."""

import pytest

from authserver.errors import Issue
from authserver.fhir.search.problems import MalformedParameter, UnsupportedParameter


def test_an_unsupported_parameter_is_named() -> None:
    assert UnsupportedParameter("_has:Observation:patient:code").issues() == (
        Issue("http._has:Observation:patient:code", "This search parameter is not supported.", "not-supported"),
    )


def test_a_malformed_value_is_not_repeated() -> None:
    assert MalformedParameter("birthdate").issues() == (
        Issue("http.birthdate", "The value of this search parameter is malformed.", "invalid"),
    )


@pytest.mark.parametrize("name", ["<script>", "a b", "", "x" * 65, "a\n"])
def test_a_name_that_is_no_name_is_not_repeated(name: str) -> None:
    assert UnsupportedParameter(name).issues()[0].expression == ""
