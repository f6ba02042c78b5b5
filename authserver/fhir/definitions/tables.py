"""The resource types, search parameters and Patient compartment of R4, loaded from the table that the product ships.

One `Definitions` is made per app object by `load_definitions()`; it never changes afterwards.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import orjson

COMMON = "Resource"
ANY_TYPE = "*"


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite parameter: its kind, and its typed paths below the composite's own.

    A path that begins with "^" starts at the resource.
    """

    kind: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One search parameter of one resource type.

    `kind` is the SearchParameter's type (token, reference, string, date, uri, quantity, number, composite), `paths`
    are typed JSON paths (see `structures.py`), `targets` the resource types a reference may point at (`("*",)`
    for any), `definition` the id of the official SearchParameter, `components` the parts of a composite.
    """

    code: str
    kind: str
    paths: tuple[str, ...]
    targets: tuple[str, ...]
    definition: str
    components: tuple[Component, ...] = ()

    @property
    def leads_to(self) -> tuple[str, ...]:
        """The types that its references can really have: R4 lists Group for `patient`, whose path takes Patients."""
        types = [path.rpartition(":")[2] for path in self.paths]
        named = tuple(dict.fromkeys(name[len("Reference(") : -1] for name in types if name.startswith("Reference(")))
        return named if len(named) and all("(" in name for name in types) else self.targets

    def may_target(self, resource_type: str) -> bool:
        """Say whether a reference of this parameter may point at the resource type."""
        return self.targets == (ANY_TYPE,) or resource_type in self.targets


class Definitions:
    """The tables of one FHIR version."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.fhir_version: str = table["fhirVersion"]
        self._types: dict[str, dict[str, list[Any]]] = dict(table["types"])
        self._common = self._types.pop(COMMON)
        self.resource_types = frozenset(self._types)
        self._elements: dict[str, list[list[str]]] = table.get("elements", {})
        self._compartment: dict[str, list[str]] = table.get("patientCompartment", {})

    def parameter(self, resource_type: str, code: str) -> SearchParameter | None:
        """Return the parameter, or None when the type has none of this code."""
        row = self._types.get(resource_type, {}).get(code) or self._common.get(code)
        if row is None:
            return None
        components = tuple(Component(kind, tuple(paths)) for kind, paths in row[4]) if len(row) > 4 else ()
        return SearchParameter(code, row[0], tuple(row[1]), tuple(row[2]), row[3], components)

    def parameters(self, resource_type: str) -> Iterator[SearchParameter]:
        """Yield every parameter of the type, those of all types included, ordered by code."""
        for code in sorted({*self._types[resource_type], *self._common}):
            parameter = self.parameter(resource_type, code)
            if parameter is not None:
                yield parameter

    def summary(self, resource_type: str) -> tuple[str, ...]:
        """Return the paths of the elements in the type's summary (http://hl7.org/fhir/R4/search.html#summary)."""
        return tuple(self._elements[resource_type][0])

    def mandatory(self, resource_type: str) -> tuple[str, ...]:
        """Return the names of the elements that every resource of the type has."""
        return tuple(self._elements[resource_type][1])

    @property
    def patient_compartment(self) -> Mapping[str, tuple[str, ...]]:
        """Resource type -> the parameters by which it is in a patient's compartment, for the types that can be.

        Source: http://hl7.org/fhir/R4/compartmentdefinition-patient.html, 4.0.1.
        """
        return {resource_type: tuple(codes) for resource_type, codes in self._compartment.items()}


def load_definitions() -> Definitions:
    """Read the shipped table of R4 4.0.1 (some milliseconds; do it once per app object)."""
    return Definitions(orjson.loads(resources.files(__package__).joinpath("r4.json").read_bytes()))
