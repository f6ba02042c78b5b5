"""Gather what belongs to patients, and what resources refer to, for $everything, $document and $summary.

What a token lists it must be allowed to read and to search, type by type; what it only follows a reference to, to read.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from authserver.errors import InsufficientScope
from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.links import Key, Links
from authserver.fhir.search.ast import (
    ChainCriterion,
    Criterion,
    DateValue,
    LastUpdatedCriterion,
    ReferenceCriterion,
    ReferenceValue,
    SearchQuery,
    SortKey,
)
from authserver.fhir.store.port import FhirReads, Stored

PATIENT = "Patient"

_WHATEVER = LastUpdatedCriterion((DateValue("ge", 0, 0),))
"""What holds for every resource: a chain needs something to ask of its far side."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which resources of a type are wanted: those that refer to the patient by one of the codes.

    `patient` "" stands for every Patient that the caller may list. `after` is a position in the store.
    """

    resource_type: str
    codes: tuple[str, ...]
    patient: str
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
        if not listing.patient:
            constraint = replace(constraint, looked_through=((PATIENT, self.patients(caller).alternatives),))
        found: dict[int, Stored] = {}
        for criteria in _ways(listing):
            query = SearchQuery(listing.resource_type, criteria, listing.count, (listing.after,))
            found.update((one.position, one) for one in self._reads.search(constraint, query).matches)
        return [found[position] for position in sorted(found)[: listing.count]]

    def latest(self, caller: Caller, listing: Listing) -> tuple[list[Stored], bool]:
        """Return the resources that were changed last, and whether there are more; `listing` has one code."""
        (criteria,) = _ways(listing)
        sort = (SortKey("_lastUpdated", "last_updated", descending=True),)
        query = SearchQuery(listing.resource_type, criteria, listing.count, sort=sort)
        page = self._reads.search(self.listable(caller, listing.resource_type), query)
        return list(page.matches), page.more

    def references(self, resources: Iterable[Stored]) -> frozenset[Key]:
        """Return what the resources refer to on this server."""
        found = (self._links.local(exact_json.loads(one.body)) for one in resources)
        return frozenset[Key]().union(*found)

    def readable(self, caller: Caller, keys: Collection[Key]) -> list[Stored]:
        """Return those of the resources that are there and that the caller may read, by type and id."""
        seen = (
            self._reads.read(
                self._rules.rights(caller, resource_type).get("r", Constraint(caller.tenant, ())),
                resource_type,
                resource_id,
            )
            for resource_type, resource_id in sorted(keys)
        )
        return [one for one in seen if one is not None]

    def visible(self, caller: Caller, keys: Collection[Key]) -> list[Stored]:
        """Return those of the resources that are there and that the caller may read or search, as an include would."""
        seen = (
            self._reads.read(self._rules.visible(caller, resource_type), resource_type, resource_id)
            for resource_type, resource_id in sorted(keys)
        )
        return [one for one in seen if one is not None]


def _ways(listing: Listing) -> list[tuple[Criterion, ...]]:
    """Return the criteria of each way by which a resource can belong to the patient, or to any."""
    if not listing.codes:
        return [listing.criteria]
    return [(_of_patient(code, listing.patient), *listing.criteria) for code in listing.codes]


def _of_patient(code: str, patient: str) -> Criterion:
    if patient:
        return ReferenceCriterion(code, (ReferenceValue(patient, PATIENT),))
    return ChainCriterion(code, ((PATIENT, _WHATEVER),))
