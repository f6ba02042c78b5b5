"""docs/faults.md tells of the faults that there are, by the names that the command line knows."""

import re
from pathlib import Path

import pytest

from tests.faults.__main__ import families, line, main
from tests.faults.oracle import Violation
from tests.faults.rounds import Outcome

PAGE = Path(__file__).parents[2] / "docs/faults.md"


def test_the_page_lists_every_fault_and_no_other() -> None:
    """A row for each, by its name."""
    listed = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)

    assert list(dict.fromkeys(listed)) == list(families())


def test_unknown_name_is_refused() -> None:
    """Before anything is killed."""
    with pytest.raises(SystemExit) as end:
        main(["kill", "earthquake"])

    assert end.value.code == 2


def test_result_line_says_what_was_broken_first() -> None:
    """One line for each kind of violation; one that holds and one that was skipped have none."""
    broken = [Violation("failure", "first"), Violation("failure", "second"), Violation("void", "idle")]
    outcomes = [
        Outcome("a", {"tokens": 3, "worst": None}, broken),
        Outcome("b", {"tokens": 3}),
        Outcome("c", skipped="no"),
    ]

    assert [line(outcome) for outcome in outcomes] == [
        "BROKEN   a: tokens 3\n         void, 1 times: idle\n         failure, 2 times: first",
        "held     b: tokens 3",
        "skipped  c: no",
    ]
