"""Gather what belongs to patients, and what resources refer to, for $everything, $document and $summary.

What a token lists it must be allowed to read and to search, type by type; what it only follows a reference to, to read.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from authserver.errors import InsufficientScope
from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.links import Links
from authserver.fhir.search.ast import (
    ChainCriterion,
    Criterion,
    DateValue,
    LastUpdatedCriterion,
    PositionCriterion,
    ReferenceCriterion,
    ReferenceValue,
    SearchQuery,
    SortKey,
)
from authserver.fhir.store.port import FhirReads, Stored

PATIENT = "Patient"

Reference = tuple[str, str, str]
"""The type and id that a resource refers to, and the tenant of the resource that refers."""

_WHATEVER = LastUpdatedCriterion((DateValue("ge", 0, 0),))
"""What holds for every resource: a chain needs something to ask of its far side."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which resources of a type are wanted: those that refer to the patient by one of the codes.

    `patient` None stands for every Patient that the caller may list. `after` is a position in the store.
    """

    resource_type: str
    codes: tuple[str, ...]
    patient: Stored | None
    criteria: tuple[Criterion, ...]
    count: int
    after: int = 0


class Gathering:
    """Reads one store under the rules of access."""

    def __init__(self, reads: FhirReads, rules: AccessRules, links: Links) -> None:
        self._reads, self._rules, self._links = reads, rules, links

    def listable(self, caller: Caller, resource_type: str) -> Constraint:
        """Return what the caller may list of the type, the letters r and s together; it may reach nothing."""
        rights = self._rules.rights(caller, resource_type)
        if not {"r", "s"} <= rights.keys():
            return Constraint(caller.tenant, ())
        return rights["r"].narrowed(rights["s"])

    def patients(self, caller: Caller) -> Constraint:
        """Return what the caller may list of the Patients. Raises InsufficientScope where it may list none."""
        constraint = self.listable(caller, PATIENT)
        if not constraint.alternatives:
            raise InsufficientScope(f"system/{PATIENT}.s")
        return constraint

    def listed(self, caller: Caller, listing: Listing) -> list[Stored]:
        """Return at most `count` resources behind the position, in order, each once."""
        constraint = self.listable(caller, listing.resource_type)
        if not constraint.alternatives:
            return []
        constraint = self._looking_at_patients(caller, constraint, listing)
        found: dict[int, Stored] = {}
        for criteria in _ways(listing, several_tenants=constraint.view is not None):
            query = SearchQuery(listing.resource_type, criteria, listing.count, (listing.after,))
            found.update((one.position, one) for one in self._reads.search(constraint, query).matches)
        return [found[position] for position in sorted(found)[: listing.count]]

    def latest(self, caller: Caller, listing: Listing) -> tuple[list[Stored], bool]:
        """Return the resources that were changed last, and whether there are more; `listing` has one code."""
        constraint = self._looking_at_patients(caller, self.listable(caller, listing.resource_type), listing)
        (criteria,) = _ways(listing, several_tenants=constraint.view is not None)
        sort = (SortKey("_lastUpdated", "last_updated", descending=True),)
        query = SearchQuery(listing.resource_type, criteria, listing.count, sort=sort)
        page = self._reads.search(constraint, query)
        return list(page.matches), page.more

    def references(self, resources: Iterable[Stored]) -> frozenset[Reference]:
        """Return what the resources refer to on this server."""
        return frozenset(
            (resource_type, resource_id, one.tenant)
            for one in resources
            for resource_type, resource_id in self._links.local(exact_json.loads(one.body))
        )

    def readable(self, caller: Caller, references: Collection[Reference]) -> list[Stored]:
        """Return those of the resources that are there and that the caller may read, by type and id."""

        def to_read(resource_type: str) -> Constraint:
            return self._rules.rights(caller, resource_type).get("r", Constraint(caller.tenant, ()))

        return self._led_to(references, to_read)

    def visible(self, caller: Caller, references: Collection[Reference]) -> list[Stored]:
        """Return those of the resources that are there and that the caller may read or search, as an include would."""
        return self._led_to(references, lambda resource_type: self._rules.visible(caller, resource_type))

    def _led_to(self, references: Collection[Reference], reach: Callable[[str], Constraint]) -> list[Stored]:
        """Return what the references lead to, each once, as far as it is within the reach of its type."""
        seen = (
            self._reads.read(reach(resource_type).referred_to(tenant), resource_type, resource_id)
            for resource_type, resource_id, tenant in sorted(references)
        )
        return list({one.position: one for one in seen if one is not None}.values())

    def _looking_at_patients(self, caller: Caller, constraint: Constraint, listing: Listing) -> Constraint:
        """Return the constraint with the Patients that a chain of the listing may lead to."""
        patients = self._rules.visible(caller, PATIENT) if listing.patient else self.patients(caller)
        return replace(constraint, looked_through=((PATIENT, patients.alternatives),))


def _ways(listing: Listing, *, several_tenants: bool) -> list[tuple[Criterion, ...]]:
    """Return the criteria of each way by which a resource can belong to the patient, or to any."""
    if not listing.codes:
        return [listing.criteria]
    return [
        (_of_patient(code, listing.patient, several_tenants=several_tenants), *listing.criteria)
        for code in listing.codes
    ]


def _of_patient(code: str, patient: Stored | None, *, several_tenants: bool) -> Criterion:
    """Return the criterion that the parameter refers to the patient, and in a hierarchy to no namesake elsewhere."""
    if patient is None:
        return ChainCriterion(code, ((PATIENT, _WHATEVER),))
    if several_tenants:
        return ChainCriterion(code, ((PATIENT, PositionCriterion(patient.position)),))
    return ReferenceCriterion(code, (ReferenceValue(patient.id, PATIENT),))
