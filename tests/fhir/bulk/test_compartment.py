"""The Patient compartment that the product ships."""

from authserver.fhir.definitions.tables import Definitions


def test_the_compartment_has_the_types_and_parameters_of_r4(definitions: Definitions) -> None:
    """http://hl7.org/fhir/R4/compartmentdefinition-patient.html: 66 types, 100 parameters."""
    compartment = definitions.patient_compartment

    assert (len(compartment), sum(map(len, compartment.values()))) == (66, 100)
    assert compartment["Observation"] == ("performer", "subject")
    assert compartment["Encounter"] == ("patient",)
    assert compartment["Patient"] == ("link",)
    assert "Task" not in compartment


def test_every_parameter_of_the_compartment_is_a_reference_that_may_be_to_a_patient(definitions: Definitions) -> None:
    for resource_type, codes in definitions.patient_compartment.items():
        for code in codes:
            parameter = definitions.parameter(resource_type, code)
            assert parameter is not None, (resource_type, code)
            assert parameter.kind == "reference", (resource_type, code)
            assert parameter.may_target("Patient"), (resource_type, code)
