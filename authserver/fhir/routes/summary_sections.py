"""The sections of an International Patient Summary: which resources each has, and how it reads. PURE.

Source: http://hl7.org/fhir/uv/ips/STU1.1/StructureDefinition-Composition-uv-ips.html. The server knows what is stored
and nothing more: an empty section says that nothing is available, never that the patient has nothing of the kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Filter = tuple[str, str]

_LOINC = "http://loinc.org"
_EMPTY_REASON = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
_XHTML = "http://www.w3.org/1999/xhtml"
_PAST = "inactive,resolved,remission"
_OVER = "entered-in-error,completed,stopped,cancelled,not-taken"
_ERROR = ("status:not", "entered-in-error")
_NO_CLINICAL_ERROR = ("verification-status:not", "entered-in-error,refuted")
# What of a resource names it, in the order of preference.
_NAMES = ("code", "medicationCodeableConcept", "medicationReference", "vaccineCode")


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its title, its LOINC code, and for each type the searches that say what belongs into it.

    A required one is there although it is empty (IPS: problems, allergies, medications).
    """

    title: str
    loinc: str
    display: str
    sources: tuple[tuple[str, tuple[Filter, ...]], ...]
    required: bool = False


SECTIONS = (
    Section(
        "Active Problems",
        "11450-4",
        "Problem list - Reported",
        (("Condition", (_NO_CLINICAL_ERROR, ("clinical-status:not", _PAST))),),
        required=True,
    ),
    Section(
        "Allergies and Intolerances",
        "48765-2",
        "Allergies and adverse reactions Document",
        (("AllergyIntolerance", (_NO_CLINICAL_ERROR,)),),
        required=True,
    ),
    Section(
        "Medication Summary",
        "10160-0",
        "History of Medication use Narrative",
        (("MedicationStatement", (("status:not", _OVER),)), ("MedicationRequest", (("status:not", _OVER),))),
        required=True,
    ),
    Section("Immunizations", "11369-6", "History of Immunization Narrative", (("Immunization", (_ERROR,)),)),
    Section(
        "Results",
        "30954-2",
        "Relevant diagnostic tests/laboratory data Narrative",
        (
            ("Observation", (("status:not", "entered-in-error,cancelled"), ("category", "laboratory,imaging"))),
            ("DiagnosticReport", (("status:not", "entered-in-error,cancelled"),)),
        ),
    ),
    Section("History of Procedures", "47519-4", "History of Procedures Document", (("Procedure", (_ERROR,)),)),
    Section(
        "Past History of Illnesses",
        "11348-0",
        "History of Past illness note",
        (("Condition", (_NO_CLINICAL_ERROR, ("clinical-status", _PAST))),),
    ),
)


def filled(section: Section, resources: Sequence[Mapping[str, Any]], *, base_url: str, cut_off: bool) -> dict[str, Any]:
    """Return a section with entries, each by its fullUrl; `cut_off` says that the store has more."""
    lines = [f"<li>{escape(_name(one))}</li>" for one in resources]
    more = "<p>Only those that were changed last are listed.</p>" if cut_off else ""
    return {
        **_head(section, f"<ul>{''.join(lines)}</ul>{more}"),
        "entry": [{"reference": f"{base_url}/{one['resourceType']}/{one['id']}"} for one in resources],
    }


def empty(section: Section, *, withheld: bool) -> dict[str, Any]:
    """Return a section without entries: `withheld` when the token opens none of its types, whatever is stored."""
    code, text = ("withheld", "Information Withheld") if withheld else ("unavailable", "Unavailable")
    sentence = "The access token does not open this." if withheld else "No information is available."
    reason = {"coding": [{"system": _EMPTY_REASON, "code": code, "display": text}]}
    return {**_head(section, f"<p>{sentence}</p>"), "emptyReason": reason}


def _head(section: Section, text: str) -> dict[str, Any]:
    return {
        "title": section.title,
        "code": {"coding": [{"system": _LOINC, "code": section.loinc, "display": section.display}]},
        "text": {"status": "generated", "div": f'<div xmlns="{_XHTML}"><h5>{escape(section.title)}</h5>{text}</div>'},
    }


def _name(resource: Mapping[str, Any]) -> str:
    """Return what a reader calls the resource: the text of its concept, a display or a code, else its type."""
    concept: Mapping[str, Any] = next((resource[name] for name in _NAMES if name in resource), {})
    codings = concept.get("coding", [])
    named = [
        concept.get("text"),
        concept.get("display"),
        *(one.get("display") for one in codings),
        *(one.get("code") for one in codings),
    ]
    texts = [one for one in named if isinstance(one, str)]
    return texts[0] if texts else str(resource["resourceType"])
