"""What the npm package changed in R4's structures, and how hl7.fhir.r4.core 4.0.1 has it, so that it can be undone.

Read by `generate.py` alone.
"""

from collections.abc import Mapping
from typing import Any

ADDED_PATHS = frozenset(
    """
    DeviceDefinition.classification
    EvidenceVariable.characteristic.definitionByCombination
    EvidenceVariable.characteristic.definitionByTypeAndValue
    EvidenceVariable.characteristic.timeFromEvent
    ResearchStudy.associatedParty
    ResearchStudy.comparisonGroup
    ResearchStudy.label
    ResearchStudy.outcomeMeasure
    ResearchStudy.progressStatus
    ResearchStudy.recruitment
    MetadataResource
    """.split()
)

OFFICIAL: Mapping[str, Mapping[str, str | None]] = {
    "AuditEvent.source": {
        "observer": "1..1 Reference(Device|Organization|Patient|Practitioner|PractitionerRole|RelatedPerson)"
    },
    "Binary": {"url": None},
    "Bundle.entry.response": {"outcome": "0..1 Resource"},
    "DetectedIssue": {"status": "1..1 code!observation-status"},
    "DeviceDefinition": {"bodySite": None, "classification": None},
    "EvidenceVariable": {"characteristic": "1..* @EvidenceVariable.characteristic"},
    "EvidenceVariable.characteristic": {
        "definitionByCombination": None,
        "definitionByTypeAndValue": None,
        "definitionCanonical": None,
        "definitionCodeableConcept": None,
        "definitionExpression": None,
        "definitionId": None,
        "definitionReference": None,
        "definition[x]": "1..1 Reference(Group) canonical CodeableConcept Expression DataRequirement TriggerDefinition",
        "description": "0..1 string",
        "duration[x]": None,
        "groupMeasure": "0..1 code!group-measure",
        "instances[x]": None,
        "linkId": None,
        "note": None,
        "participantEffective[x]": "0..1 dateTime Period Duration Timing",
        "timeFromEvent": None,
        "timeFromStart": "0..1 Duration",
        "usageContext": "0..* UsageContext",
    },
    "MeasureReport": {
        "subject": "0..1 Reference(Device|Group|Location|Patient|Practitioner|PractitionerRole|RelatedPerson)"
    },
    "Meta": {
        "account": None,
        "accounts": None,
        "author": None,
        "compartment": None,
        "onBehalfOf": None,
        "project": None,
    },
    "ObservationDefinition": {"publisher": None},
    "ResearchStudy": {
        "associatedParty": None,
        "classifier": None,
        "comparisonGroup": None,
        "descriptionSummary": None,
        "label": None,
        "name": None,
        "outcomeMeasure": None,
        "progressStatus": None,
        "recruitment": None,
        "region": None,
        "result": None,
        "site": "0..* Reference(Location)",
        "studyDesign": None,
        "whyStopped": None,
    },
    "ResearchStudy.objective": {"description": None},
}


def restored(table: dict[str, Any]) -> dict[str, Any]:
    """Return the table of `structure_table.py` as the official definitions give it."""
    types = {name: row for name, row in table["types"].items() if name not in ADDED_PATHS}
    for name, lines in OFFICIAL.items():
        if name in types:
            base, own = types[name]
            types[name] = [base, {n: line for n, line in {**own, **lines}.items() if line is not None}]
    used = {part.partition("!")[2] for _, own in types.values() for line in own.values() for part in line.split()}
    return {"types": types, "codes": {name: codes for name, codes in table["codes"].items() if name in used}}
