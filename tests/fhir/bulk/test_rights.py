"""Which types a token may export, and how far."""

import pytest

from authserver.errors import InsufficientScope, NotFound
from authserver.fhir.bulk.job import ExportSpec
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import TokenCriterion, TokenValue
from authserver.protocol import scopes
from tests.fhir.bulk.builders import make_rights

LAB = TokenCriterion("category", (TokenValue("laboratory", None),))
FINAL = TokenCriterion("status", (TokenValue("final", None),))


def test_types_that_are_not_named_are_those_that_can_be_read_and_searched(definitions: Definitions) -> None:
    granted = scopes.parse_granted("system/Patient.rs system/Observation.read system/Encounter.r system/Group.s")

    assert make_rights(definitions).types(granted, "system", None) == ("Observation", "Patient")


def test_a_wildcard_opens_everything_but_what_is_administrative(definitions: Definitions) -> None:
    found = make_rights(definitions).types(scopes.parse_granted("system/*.rs"), "system", None)

    assert set(found) == definitions.resource_types - {"AuditEvent"}


def test_patients_have_the_types_of_their_compartment(definitions: Definitions) -> None:
    granted = scopes.parse_granted("system/Patient.rs system/Observation.rs system/Organization.rs system/Task.rs")

    assert make_rights(definitions).types(granted, "patient", None) == ("Observation", "Patient")


@pytest.mark.parametrize(
    ("scope", "needed"),
    [
        ("system/Patient.rs", "system/Observation.r"),
        ("system/Observation.r", "system/Observation.s"),
        ("system/Observation.s", "system/Observation.r"),
        ("system/Observation.rs?nonsense=1", "system/Observation.r"),
    ],
)
def test_a_type_that_is_named_needs_both_letters(definitions: Definitions, scope: str, needed: str) -> None:
    with pytest.raises(InsufficientScope) as refused:
        make_rights(definitions).types(scopes.parse_granted(scope), "system", ("Observation",))

    assert f'scope="{needed}"' in refused.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize("scope", ["", "system/Observation.r", "patient/*.rs"])
def test_a_token_that_opens_no_type_is_refused(definitions: Definitions, scope: str) -> None:
    with pytest.raises(InsufficientScope):
        make_rights(definitions).types(scopes.parse_granted(scope), "system", None)


@pytest.mark.parametrize(
    ("scope", "alternatives"),
    [
        ("system/Observation.rs", ((),)),
        ("system/Observation.rs?category=laboratory", ((LAB,),)),
        ("system/Observation.r?category=laboratory system/Observation.s?status=final", ((LAB, FINAL),)),
        ("system/Observation.r system/Observation.s?status=final", ((FINAL,),)),
        ("system/Observation.rs?category=laboratory system/Observation.rs?status=final", ((LAB,), (FINAL,))),
        ("system/Observation.rs?category=laboratory system/Observation.rs", ((),)),
        ("system/Observation.r?category=laboratory", ()),
    ],
)
def test_the_constraint_is_that_of_reading_and_searching_at_once(
    definitions: Definitions, scope: str, alternatives: object
) -> None:
    """Leak L13: one letter's criteria do not stand in for the other's."""
    found = make_rights(definitions).constraint(scopes.parse_granted(scope), "t", "Observation")

    assert found == Constraint("t", alternatives)  # type: ignore[arg-type] # parametrized


@pytest.mark.parametrize(
    ("then", "now", "covered"),
    [
        ("system/Observation.rs", "system/Observation.rs", True),
        ("system/Observation.rs", "system/*.read", True),
        ("system/Observation.rs?status=final", "system/Observation.rs", True),
        ("system/Observation.rs?status=final", "system/Observation.rs?status=final system/Patient.rs", True),
        ("system/Observation.rs", "system/Observation.r", False),
        ("system/Observation.rs", "system/Observation.rs?status=final", False),
        ("system/Observation.rs?status=final", "system/Observation.rs?status=amended", False),
        ("system/Observation.rs", "system/Patient.rs", False),
        ("system/Observation.rs", "", False),
    ],
)
def test_a_later_token_must_open_all_that_was_put_out(
    definitions: Definitions, then: str, now: str, covered: bool
) -> None:
    """K2: the scopes cover every exported type."""
    rights, spec = make_rights(definitions), ExportSpec("system", ("Observation",), then)

    if covered:
        rights.require_covered(scopes.parse_granted(now), spec)
        return
    with pytest.raises(NotFound):
        rights.require_covered(scopes.parse_granted(now), spec)
