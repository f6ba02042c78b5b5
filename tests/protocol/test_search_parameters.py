"""The names that scopes may filter by are the ones that the FHIR layer enforces. Row X12, threat E08."""

from pathlib import Path

import pytest

from authserver.fhir.definitions import scope_table
from authserver.fhir.definitions.tables import load_definitions
from authserver.protocol import search_parameters

MODULE = Path(search_parameters.__file__)


def test_the_table_is_the_one_that_the_fhir_layer_enforces_with() -> None:
    """The generator writes what is there: nobody has edited either side alone."""
    assert scope_table.module(load_definitions()) == MODULE.read_text("utf-8")


@pytest.mark.parametrize(
    ("resource_type", "name", "expected"),
    [
        ("Observation", "category", True),
        ("Condition", "category", True),
        ("Patient", "category", False),
        ("Patient", "birthdate", True),
        ("Binary", "_id", True),
        ("Binary", "category", False),
        ("*", "_tag", True),
        ("*", "identifier", False),
        ("Observation", "code-value-quantity", False),
        ("Client", "_id", True),
        ("Nothing", "name", False),
    ],
)
def test_a_parameter_is_defined_for_its_type(resource_type: str, name: str, expected: bool) -> None:
    assert search_parameters.defined(resource_type, name) is expected
