"""What a caller may reach: one tenant, and one of several sets of criteria. A plain value, made by access.py.

Every method of the store takes one; there is no way to ask without.
"""

from dataclasses import dataclass
from typing import Self

from authserver.fhir.search.ast import Criterion


@dataclass(frozen=True, slots=True)
class Constraint:
    """`alternatives` is a disjunction of conjunctions: none at all reaches nothing, an empty one everything."""

    tenant: str
    alternatives: tuple[tuple[Criterion, ...], ...]

    @classmethod
    def system(cls, tenant: str) -> Self:
        """Return the constraint of the server's own work in a tenant (loading, for example)."""
        return cls(tenant, ((),))

    def narrowed(self, other: Self) -> Self:
        """Return the constraint that reaches what both reach, in the same tenant."""
        both = tuple((*mine, *theirs) for mine in self.alternatives for theirs in other.alternatives)
        return type(self)(self.tenant, tuple(dict.fromkeys(both)))

    def widened(self, other: Self) -> Self:
        """Return the constraint that reaches what either reaches, in the same tenant."""
        return type(self)(self.tenant, tuple(dict.fromkeys((*self.alternatives, *other.alternatives))))

    @property
    def is_everything(self) -> bool:
        """Say whether every resource of the tenant is reached."""
        return () in self.alternatives
