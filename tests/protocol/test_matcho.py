"""The pattern language. Row X16 (the vectors), X21 (what a mismatch tells); threats G08, G09.

The cases are in tests/vectors/matcho.json; what does not compile is in tests/vectors/policies.json.
"""

from typing import Any

import pytest

from authserver.protocol import matcho
from authserver.protocol.matcho import Node
from authserver.protocol.matcho_reader import compile_any_pattern, compile_pattern
from authserver.protocol.matcho_values import Mismatch
from tests.builders import vectors


def compiled(pattern: object) -> Node:
    """Return a pattern for any document."""
    node, issues = compile_any_pattern(pattern, path="matcho")
    assert issues == ()
    return node


def for_requests(pattern: object) -> Node:
    """Return a pattern for requests: names of methods have no case."""
    node, issues = compile_pattern(pattern, path="matcho")
    assert issues == ()
    return node


@pytest.mark.parametrize("case", vectors("matcho"))
def test_a_document_fits_a_pattern_or_not_at_these_places(case: dict[str, Any]) -> None:
    """Row X16. The short answer of a decision is the same as the long one of an explanation."""
    node = for_requests(case["pattern"]) if "of" in case else compiled(case["pattern"])

    found = [list(mismatch.path) for mismatch in matcho.match(node, case["document"])]

    assert (found, matcho.matches(node, case["document"])) == (case["mismatches"], not case["mismatches"])


@pytest.mark.parametrize(
    ("pattern", "expected", "but"),
    [
        ("x", "x", "y"),
        ("#^x", "#^x", "y"),
        (".b", ".b", "y"),
        ("nil?", "nil?", "y"),
        ({"k": 1}, {"k": 1}, "y"),
        ([1], [1], "y"),
        ({"$not": "y"}, {"$not": "y"}, "y"),
        ({"$enum": ["x"]}, {"$enum": ["x"]}, "y"),
        ({"$one-of": ["x", "z"]}, {"$one-of": ["x", "z"]}, "y"),
        ({"$one-of": ".b"}, {"$one-of": ".b"}, "y"),
        ({"$contains": "x"}, {"$contains": "x"}, "y"),
        ({"$present-all": ["x"]}, {"$present-all": ["x"]}, "y"),
        ({"$every": "x"}, {"$every": "x"}, "y"),
        ({"$length": 1}, {"$length": 1}, "y"),
        ({"$reference": {"id": "x"}}, {"$reference": {"id": "x"}}, "y"),
        ({"$eq": "#"}, {"$eq": "#"}, "y"),
    ],
)
def test_a_mismatch_tells_the_pattern_as_it_is_written(pattern: object, expected: object, but: object) -> None:
    """Row X21: `{expected, but, path}`."""
    found = matcho.match(compiled({"a": pattern}), {"a": but})

    assert found == (Mismatch(expected, but, ("a",)),)
    assert [one.as_json() for one in found] == [{"expected": expected, "but": but, "path": ["a"]}]


def test_every_mismatch_of_a_pattern_is_told_and_the_first_decides() -> None:
    node = compiled({"a": 1, "b": {"c": "present?"}, "d": {"$every": "x"}})

    found = matcho.match(node, {"a": 2, "b": {}, "d": ["x", "y"]})

    assert found == (Mismatch(1, 2, ("a",)), Mismatch("present?", None, ("b", "c")), Mismatch("x", "y", ("d", 1)))


def test_a_hostile_expression_takes_time_in_proportion_to_the_text() -> None:
    """Threat G09: `(a+)+$` over 100,000 letters; a backtracking engine does not come back from thirty of them."""
    node = compiled({"uri": "#^(a+)+$", "query-string": "#((a*)*)*b"})

    found = matcho.match(node, {"uri": "a" * 100_000 + "!", "query-string": "a" * 100_000})

    assert [mismatch.path for mismatch in found] == [("uri",), ("query-string",)]
    assert matcho.matches(compiled("#^(a+)+$"), "a" * 100_000)


def test_a_pattern_for_requests_names_their_members_and_one_for_any_document_does_not() -> None:
    """Rows X16, X21: `$matcho` takes any document."""
    pattern = {"resourceType": "Patient"}

    _, issues = compile_pattern(pattern, path="m")

    assert [issue.expression for issue in issues] == ["m.resourceType"]
    assert matcho.match(compiled(pattern), {"resourceType": "Patient"}) == ()


def test_a_pattern_that_cannot_be_read_fits_nothing() -> None:
    """Threat G07: were the issues overlooked, it would still deny."""
    node, issues = compile_any_pattern("#(", path="m")

    assert [issue.expression for issue in issues] == ["m"]
    assert [matcho.matches(node, document) for document in ("(", "", None)] == [False, False, False]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("request_method", "did you mean request-method?"), ("Params", "did you mean params?")],
)
def test_a_misspelled_member_is_told_with_the_right_one(name: str, hint: str) -> None:
    _, issues = compile_pattern({name: "x"}, path="m")

    assert issues[0].diagnostics == f"this server's requests have no such member; {hint}"
