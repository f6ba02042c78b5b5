"""Which types a token may export, and how far: a resource goes out when it could be both read and searched. PURE.

The constraint of a type is the meeting of those of the letters r and s, so that a scope with criteria exports the
subset that it opens, and no more.
"""

from collections.abc import Sequence

from authserver.errors import InsufficientScope, NotFound
from authserver.fhir.access import EXPORT_LETTERS, AccessRules
from authserver.fhir.bulk.job import ExportSpec, Level
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import Criterion
from authserver.protocol import scopes

Alternatives = tuple[tuple[Criterion, ...], ...]


class ExportRights:
    """The scopes' side of an export; knows the types and the compartment."""

    def __init__(self, definitions: Definitions, rules: AccessRules) -> None:
        self._resource_types = sorted(definitions.resource_types)
        self._compartment = frozenset(definitions.patient_compartment) | {"Patient"}
        self._rules = rules

    def types(self, granted: Sequence[scopes.Scope], level: Level, asked: Sequence[str] | None) -> tuple[str, ...]:
        """Return the types to put out: those asked for, else those that the scopes open and the level can have.

        Raises InsufficientScope when one that is asked for is not open, or none is.
        """
        for resource_type in asked or ():
            for letter in EXPORT_LETTERS:
                if not self._rules.alternatives(granted, resource_type, letter):
                    raise InsufficientScope(f"system/{resource_type}.{letter}")
        if asked is not None:
            return tuple(asked)
        open_types = tuple(
            name
            for name in self._resource_types
            if (level == "system" or name in self._compartment)
            and all(self._rules.alternatives(granted, name, letter) for letter in EXPORT_LETTERS)
        )
        if not open_types:
            raise InsufficientScope("system/*.rs")
        return open_types

    def constraint(self, granted: Sequence[scopes.Scope], tenant: str, resource_type: str) -> Constraint:
        """Return how far the scopes open the type in the tenant, for reading and searching at once."""
        readable, found = (self._rules.alternatives(granted, resource_type, letter) for letter in EXPORT_LETTERS)
        return self._rules.constraint(tenant, _meeting(readable, found), letter="r")

    def require_covered(self, granted: Sequence[scopes.Scope], spec: ExportSpec) -> None:
        """Raise NotFound unless these scopes open all that the export's own opened.

        Bulk Data Access 2.0, "Security Considerations": the token's scopes cover every exported type.
        """
        then = scopes.parse_granted(spec.scopes)
        for resource_type in spec.types:
            for letter in EXPORT_LETTERS:
                now_open = scopes.permitted(granted, resource_type, letter)
                then_open = scopes.permitted(then, resource_type, letter)
                if not all(any(now <= before for now in now_open) for before in then_open):
                    raise NotFound(detail=f"the token no longer covers {resource_type}.{letter}")


def _meeting(one: Alternatives, other: Alternatives) -> Alternatives:
    """Return the disjunction that says both, without alternatives that another one contains."""
    both = {frozenset(left + right): tuple(dict.fromkeys(left + right)) for left in one for right in other}
    return tuple(criteria for key, criteria in both.items() if not any(wider < key for wider in both))
