"""The tables that the product ships."""

import time

from authserver.fhir.definitions.tables import Definitions, SearchParameter, load_definitions


def test_the_table_has_the_146_resource_types_of_r4(definitions: Definitions) -> None:
    assert (definitions.fhir_version, len(definitions.resource_types)) == ("4.0.1", 146)


def test_a_parameter_has_its_typed_paths(definitions: Definitions) -> None:
    assert definitions.parameter("Encounter", "patient") == SearchParameter(
        "patient", "reference", ("subject:Reference(Patient)",), ("Group", "Patient"), "clinical-patient"
    )


def test_parameters_of_every_type_are_found_on_each(definitions: Definitions) -> None:
    found = {p.code for p in definitions.parameters("Observation")}

    assert {"_id", "_lastUpdated", "_tag", "_security", "_profile", "_source", "code"} <= found


def test_unknown_parameters_and_types_are_none(definitions: Definitions) -> None:
    assert definitions.parameter("Observation", "nonsense") is None
    assert definitions.parameter("Nonsense", "code") is None


def test_a_parameter_that_accepts_any_type_says_so(definitions: Definitions) -> None:
    focus = definitions.parameter("Observation", "focus")

    assert focus is not None
    assert focus.may_target("Slot")


def test_loading_takes_less_than_50_milliseconds() -> None:
    best = min(_seconds_to_load() for _ in range(3))

    assert best < 0.05


def _seconds_to_load() -> float:
    start = time.perf_counter()
    load_definitions()
    return time.perf_counter() - start
