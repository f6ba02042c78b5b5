"""Invented patients for trying the FHIR layer: the same ones every time, none of them real.

Each patient is one transaction Bundle of PUT entries, so that loading it twice changes nothing.
"""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

PATIENTS = 24
GROUP_ID = "demo-patients"

_SEED = "authserver demo data 1"
_LAST_DAY = date(2024, 6, 28)
_LOINC, _SNOMED, _UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_FAMILIES = "Almond Birch Cedar Dogwood Elder Fir Ginkgo Hazel Juniper Larch Maple Nutmeg Olive Poplar".split()
_WOMEN = "Ada Beatriz Chiara Dilara Élodie Freya Grace Hana Ines Jana".split()
_MEN = "Adam Bruno Chidi Diego Emil Farid Georg Hugo Ivan João".split()
_CITIES = (("Lindau", "11111"), ("Marlow", "22222"), ("Norden", "33333"))
_CONDITIONS = (
    ("44054006", "Diabetes mellitus type 2"),
    ("38341003", "Hypertensive disorder"),
    ("195967001", "Asthma"),
    ("396275006", "Osteoarthritis"),
)

Json = dict[str, Any]


class _Draws:
    """Numbers that look random and never change: each is the hash of what it is for."""

    def __init__(self, name: str) -> None:
        self._name = f"{_SEED} {name}"

    def below(self, limit: int, purpose: str) -> int:
        """Return a number from 0 to limit - 1."""
        digest = hashlib.sha256(f"{self._name} {purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % limit

    def around(self, mean: float, spread: float, purpose: str) -> float:
        """Return a number near the mean, more often near than far; one decimal."""
        steps = sum(self.below(1_001, f"{purpose} {part}") for part in range(4))
        return round(mean + (steps / 2_000 - 1) * spread, 1)

    def choice(self, options: Sequence[Any], purpose: str) -> Any:
        """Return one of the options."""
        return options[self.below(len(options), purpose)]

    def id(self, purpose: str) -> str:
        """Return a UUID."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._name} {purpose}"))


@dataclass(frozen=True, slots=True)
class _Person:
    """A patient before it becomes resources."""

    id: str
    draws: _Draws
    born: date
    is_woman: bool
    is_diabetic: bool

    @property
    def reference(self) -> Json:
        return {"reference": f"Patient/{self.id}"}


def bundles() -> Iterator[Json]:
    """Yield the transaction Bundles: the clinic, one per patient, and the Group of all patients."""
    people = [_person(number) for number in range(PATIENTS)]
    yield _transaction([_organization(), *_practitioners()])
    for number, person in enumerate(people):
        yield _transaction(list(_record(person, number)))
    yield _transaction([_group(people)])


def _person(number: int) -> _Person:
    draws = _Draws(f"patient {number}")
    return _Person(
        id=draws.id("patient"),
        draws=draws,
        born=date(1940, 1, 1) + timedelta(days=draws.below(23_000, "birth")),
        is_woman=number % 2 == 0,
        is_diabetic=number % 3 == 0,
    )


def _record(person: _Person, number: int) -> Iterator[Json]:
    yield _patient(person, number)
    yield from _conditions(person)
    for visit in range(2 + person.draws.below(3, "visits")):
        day = _LAST_DAY - timedelta(days=visit * 170 + person.draws.below(60, f"day {visit}"))
        encounter = _encounter(person, visit, day)
        yield encounter
        yield from _vital_signs(person, visit, day)
        if person.is_diabetic or (number + visit) % 2 == 0:
            yield _a1c(person, visit, day)


def _patient(person: _Person, number: int) -> Json:
    draws = person.draws
    city, postal_code = draws.choice(_CITIES, "city")
    given = draws.choice(_WOMEN if person.is_woman else _MEN, "given")
    family = draws.choice(_FAMILIES, "family")
    return {
        "resourceType": "Patient",
        "id": person.id,
        "identifier": [
            {
                "type": {"coding": [_coding(f"{_TERMINOLOGY}/v2-0203", "MR", "Medical record number")]},
                "system": "https://clinic.example/mrn",
                "value": f"MRN-{number + 1:05d}",
            }
        ],
        "active": True,
        "name": [{"use": "official", "family": family, "given": [given]}],
        "telecom": [{"system": "phone", "value": f"+1-555-01{number:02d}", "use": "home"}],
        "gender": "female" if person.is_woman else "male",
        "birthDate": person.born.isoformat(),
        "address": [{"line": [f"{number + 1} Garden Lane"], "city": city, "postalCode": postal_code, "country": "US"}],
        "generalPractitioner": [_practitioner_reference(number % 2)],
        "managingOrganization": {"reference": "Organization/demo-clinic"},
    }


def _conditions(person: _Person) -> Iterator[Json]:
    others = 1 + person.draws.below(len(_CONDITIONS) - 1, "condition")
    chosen = ([0] if person.is_diabetic else []) + [others]
    for position in chosen:
        code, display = _CONDITIONS[position]
        onset = _LAST_DAY - timedelta(days=900 + person.draws.below(3_000, f"onset {code}"))
        yield {
            "resourceType": "Condition",
            "id": person.draws.id(f"condition {code}"),
            "clinicalStatus": _concept(f"{_TERMINOLOGY}/condition-clinical", "active", "Active"),
            "verificationStatus": _concept(f"{_TERMINOLOGY}/condition-ver-status", "confirmed", "Confirmed"),
            "category": [_concept(f"{_TERMINOLOGY}/condition-category", "problem-list-item", "Problem List Item")],
            "code": _concept(_SNOMED, code, display),
            "subject": person.reference,
            "onsetDateTime": onset.isoformat(),
            "recordedDate": onset.isoformat(),
        }


def _encounter(person: _Person, visit: int, day: date) -> Json:
    return {
        "resourceType": "Encounter",
        "id": person.draws.id(f"encounter {visit}"),
        "status": "finished",
        "class": _coding(f"{_TERMINOLOGY}/v3-ActCode", "AMB", "ambulatory"),
        "type": [_concept(_SNOMED, "185349003", "Encounter for check up")],
        "subject": person.reference,
        "participant": [{"individual": _practitioner_reference(visit % 2)}],
        "period": {"start": f"{day}T09:00:00+01:00", "end": f"{day}T09:30:00+01:00"},
        "serviceProvider": {"reference": "Organization/demo-clinic"},
    }


def _a1c(person: _Person, visit: int, day: date) -> Json:
    value = person.draws.around(7.6 if person.is_diabetic else 5.4, 1.2, f"a1c {visit}")
    code = ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood")
    observation = _observation(person, visit, day, code=code, category="laboratory")
    return {**observation, "valueQuantity": _quantity(value, "%", "%")}


def _vital_signs(person: _Person, visit: int, day: date) -> Iterator[Json]:
    draws = person.draws
    height = draws.around(164 if person.is_woman else 177, 18, "height")
    weight = draws.around(height - 92, 30, f"weight {visit}")
    for code, value, unit, ucum in (
        (("8867-4", "Heart rate"), round(draws.around(74, 24, f"pulse {visit}")), "beats/minute", "/min"),
        (("29463-7", "Body weight"), weight, "kg", "kg"),
        (("8302-2", "Body height"), height, "cm", "cm"),
    ):
        observation = _observation(person, visit, day, code=code, category="vital-signs")
        yield {**observation, "valueQuantity": _quantity(value, unit, ucum)}
    yield _blood_pressure(person, visit, day)


def _blood_pressure(person: _Person, visit: int, day: date) -> Json:
    code = ("85354-9", "Blood pressure panel with all children optional")
    observation = _observation(person, visit, day, code=code, category="vital-signs")
    parts = (("8480-6", "Systolic blood pressure", 128, 34), ("8462-4", "Diastolic blood pressure", 80, 20))
    components = [
        {
            "code": _concept(_LOINC, loinc, display),
            "valueQuantity": _quantity(round(person.draws.around(mean, spread, f"{loinc} {visit}")), "mmHg", "mm[Hg]"),
        }
        for loinc, display, mean, spread in parts
    ]
    return {**observation, "component": components}


def _observation(person: _Person, visit: int, day: date, *, code: tuple[str, str], category: str) -> Json:
    loinc, display = code
    display_of_category = category.replace("-", " ").title()
    return {
        "resourceType": "Observation",
        "id": person.draws.id(f"observation {loinc} {visit}"),
        "status": "final",
        "category": [_concept(f"{_TERMINOLOGY}/observation-category", category, display_of_category)],
        "code": {**_concept(_LOINC, loinc, display), "text": display},
        "subject": person.reference,
        "encounter": {"reference": f"Encounter/{person.draws.id(f'encounter {visit}')}"},
        "effectiveDateTime": f"{day}T09:15:00+01:00",
        "issued": f"{day}T09:20:00.000+01:00",
    }


def _organization() -> Json:
    return {
        "resourceType": "Organization",
        "id": "demo-clinic",
        "active": True,
        "type": [_concept(f"{_TERMINOLOGY}/organization-type", "prov", "Healthcare Provider")],
        "name": "Garden Lane Clinic",
    }


def _practitioners() -> Iterator[Json]:
    for number, (given, family) in enumerate((("Nora", "Quince"), ("Omar", "Rowan"))):
        yield {
            "resourceType": "Practitioner",
            "id": f"demo-practitioner-{number}",
            "active": True,
            "name": [{"family": family, "given": [given], "prefix": ["Dr."]}],
        }


def _group(people: Sequence[_Person]) -> Json:
    return {
        "resourceType": "Group",
        "id": GROUP_ID,
        "active": True,
        "type": "person",
        "actual": True,
        "name": "Demo patients",
        "quantity": len(people),
        "member": [{"entity": person.reference} for person in people],
    }


def _transaction(resources: Sequence[Json]) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": resource, "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}}
            for resource in resources
        ],
    }


def _practitioner_reference(number: int) -> Json:
    return {"reference": f"Practitioner/demo-practitioner-{number}"}


def _coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, "display": display}


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [_coding(system, code, display)]}


def _quantity(value: float, unit: str, code: str) -> Json:
    return {"value": value, "unit": unit, "system": _UCUM, "code": code}
