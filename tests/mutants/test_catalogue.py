"""The catalogue of mutants stays applicable: `make mutants` runs it, this page keeps it in step with the code."""

from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, applied
from tests.mutants.catalogue import MUTANTS, Mutant


def test_there_are_at_least_60_mutants_each_with_its_own_name() -> None:
    names = Counter((mutant.module, mutant.name) for mutant in MUTANTS)

    assert (len(MUTANTS) >= 60, max(names.values())) == (True, 1)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_applies_to_one_place_and_leaves_valid_code(mutant: Mutant) -> None:
    text = (ROOT / mutant.module).read_text("utf-8")

    assert text.count(mutant.old) == 1
    compile(text.replace(mutant.old, mutant.new), mutant.module, "exec")
    assert [path for path in mutant.tests.split() if not (ROOT / path).exists()] == []


def test_a_mutant_is_taken_back(tmp_path: Path) -> None:
    mutant = Mutant("a check less", "A01", "module.py", "if bad:", "if False:", "tests")
    (tmp_path / "module.py").write_text("if bad:\n    raise ValueError\n")

    with applied(mutant, tmp_path):
        inside = (tmp_path / "module.py").read_text()

    assert inside == "if False:\n    raise ValueError\n"
    assert (tmp_path / "module.py").read_text() == "if bad:\n    raise ValueError\n"


def test_a_mutant_whose_text_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("pass\n")

    with (
        pytest.raises(ValueError, match="occurs 0 times"),
        applied(Mutant("a check less", "A01", "module.py", "if bad:", "if False:", "tests"), tmp_path),
    ):
        pass
