"""Regular expressions that nobody can make slow. Threat G09."""

import pytest

from authserver.protocol.linear_regex import MAX_LENGTH, InvalidRegex, compile_regex


@pytest.mark.parametrize("source", ["(a+)+$", "^(a|aa)+$", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a{0,9}){0,9}$b"])
def test_an_expression_that_backtracking_cannot_answer_is_answered(source: str) -> None:
    """Threat G09: 100,000 letters, where a backtracking engine gives up its life at thirty."""
    regex = compile_regex(source)

    assert [regex.is_found_in(text) for text in ("a" * 100_000 + "!", "")] == [False, False]


def test_an_expression_is_searched_for_anywhere() -> None:
    regex = compile_regex("a.c")

    assert [regex.is_found_in(text) for text in ("xabcx", "ac", "ABC")] == [True, False, False]
    assert compile_regex("a.c", ignore_case=True).is_found_in("ABC")


@pytest.mark.parametrize(
    "source", ["", "(", "(?=a)", r"(a)\1", "a{1001}", "((a{100}){100}){100}", r"\pL{300}", "\ud800", r"\8"]
)
def test_what_the_engine_does_not_take_is_refused(source: str) -> None:
    with pytest.raises(InvalidRegex):
        compile_regex(source)


def test_the_length_of_an_expression_is_bounded() -> None:
    assert compile_regex("a" * MAX_LENGTH).is_found_in("a" * MAX_LENGTH)
    with pytest.raises(InvalidRegex):
        compile_regex("a" * (MAX_LENGTH + 1))


def test_text_that_is_none_is_no_verdict() -> None:
    """Threat G07: half of a surrogate pair is an error, which decide() makes a refusal."""
    with pytest.raises(UnicodeEncodeError):
        compile_regex("a").is_found_in("\ud800")
