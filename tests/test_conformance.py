"""docs/conformance.md is whole and true: every id of the sources has its row, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/conformance.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| ([A-Z0-9.]+) \| [^|]+ \| (.+) \|$", PAGE, re.MULTILINE))

_COUNTS = {"D": 15, "R": 9, "T": 6, "A": 15, "I": 8, "P": 6, "N": 5, "S": 10, "O": 18, "J": 2, "X": 6, "V": 1}
_COUNTS |= {"M": 2, "G": 2, "B": 1, "K": 5, "BCP": 15}
_ASVS = {"9.1": 3, "9.2": 4, "10.1": 2, "10.2": 3, "10.3": 5, "10.4": 16, "10.5": 5, "10.6": 2, "10.7": 3}
DEMANDED = [f"{letter}{number}" for letter, count in _COUNTS.items() for number in range(1, count + 1)]
DEMANDED += [f"{section}.{number}" for section, count in _ASVS.items() for number in range(1, count + 1)]


@cache
def functions_in(path: Path) -> frozenset[str]:
    """Return the names of the test functions in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_requirement_has_its_row_and_no_other_is_there() -> None:
    """The requirements by their ids, RFC 8725bis' fifteen items, ASVS 5.0 chapters 9 (7) and 10 (36)."""
    assert sorted(ROWS) == sorted(DEMANDED)


@pytest.mark.parametrize("requirement", DEMANDED)
def test_a_requirement_names_a_test_that_exists_or_says_why_it_does_not_apply(requirement: str) -> None:
    shown = ROWS[requirement]
    named = re.findall(r"`(tests/[a-z_/0-9]+\.py)::(test_[a-z0-9_]+)`", shown)

    missing = [f"{path}::{name}" for path, name in named if name not in functions_in(ROOT / path)]

    assert missing == []
    assert named or re.match(r"does not apply: \S+ \S+", shown)
