"""The FHIRPath subset of R4's SearchParameters."""

import pytest

from authserver.fhir.definitions.expressions import (
    Cast,
    ExpressionError,
    Field,
    Index,
    Present,
    Resolves,
    Where,
    parse,
)


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("Observation.code", (Field("Observation"), Field("code"))),
        ("(Observation.value as Quantity)", (Field("Observation"), Field("value"), Cast("Quantity"))),
        ("Condition.onset.as(Age)", (Field("Condition"), Field("onset"), Cast("Age"))),
        ("Condition.onset.ofType(Age)", (Field("Condition"), Field("onset"), Cast("Age"))),
        (
            "Patient.telecom.where(system='phone')",
            (Field("Patient"), Field("telecom"), Where("system", "phone")),
        ),
        (
            "Encounter.subject.where(resolve() is Patient)",
            (Field("Encounter"), Field("subject"), Resolves("Patient")),
        ),
        ("Bundle.entry[0].resource", (Field("Bundle"), Field("entry"), Index(0), Field("resource"))),
        (
            "Patient.deceased.exists() and Patient.deceased != false",
            (Field("Patient"), Field("deceased"), Present()),
        ),
    ],
)
def test_each_construct_becomes_its_steps(expression: str, path: tuple[object, ...]) -> None:
    assert parse(expression) == (path,)


def test_union_gives_one_path_for_each_branch() -> None:
    assert parse("A.b | (C.d as E).text") == (
        (Field("A"), Field("b")),
        (Field("C"), Field("d"), Cast("E"), Field("text")),
    )


@pytest.mark.parametrize(
    "expression",
    ["", "A.", "A.b c", "A.first()", "A.b[", "A.where(b)", "A.b.exists() and A.c != false", "A ; b", "(A.b"],
)
def test_what_is_outside_the_subset_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionError):
        parse(expression)
