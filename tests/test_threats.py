"""The hostile cases, counted: every threat of the list has its cases, each by its id, and there are enough of them."""

import ast
import json
import re
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LISTED = [
    *(f"A{number:02}" for number in range(1, 24)),
    *(f"B{number:02}" for number in range(1, 13)),
    "E01",
    "E02",
    "E03",
    "E04",
    "E05",
    "E08",
    "E09",
]
"""The threats that a stranger's request can carry; the others are told in stories and proven by their tests."""


def hostile_cases() -> Counter[str]:
    """Return how many cases of the vectors must be refused, by threat id, no name counted twice."""
    found: set[tuple[str, str, str]] = set()
    for path in sorted((TESTS / "vectors").glob("*.json")):
        cases = json.loads(path.read_text("utf-8"))
        found |= {(path.stem, case["id"], case["name"]) for case in cases if is_refused(case)}
    return Counter(threat for _, threat, _ in found if re.fullmatch("[A-G][0-9]{2}", threat))


def is_refused(case: dict[str, object]) -> bool:
    """Say whether the case tells of a refusal, by what the tests of its file expect."""
    return bool(case.get("reason") or case.get("error") or case.get("paths") or case.get("refused"))


def named_in_docstrings() -> Counter[str]:
    """Return how many tests name each threat in their docstring or in their module's."""
    found: Counter[str] = Counter()
    for path in TESTS.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.update(set(re.findall(r"\b[A-G][0-9]{2}\b", ast.get_docstring(node) or "")))
    return found


def test_there_are_at_least_250_distinct_hostile_cases() -> None:
    assert sum(hostile_cases().values()) >= 250


@pytest.mark.parametrize("threat", LISTED)
def test_every_threat_of_the_list_has_a_case(threat: str) -> None:
    assert hostile_cases()[threat] + named_in_docstrings()[threat] > 0
