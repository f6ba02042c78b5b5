"""What a caller may reach: one tenant, and one of several sets of criteria. A plain value, made by access.py.

Every method of the store takes one; there is no way to ask without.
"""

from dataclasses import dataclass, replace
from typing import Self

from authserver.fhir.search.ast import Criterion
from authserver.fhir.tenancy import TenantView

Alternatives = tuple[tuple[Criterion, ...], ...]
"""A disjunction of conjunctions: none at all reaches nothing, an empty one everything."""
Reach = tuple[tuple[str, Alternatives], ...]
"""Resource type -> what of it is reached; a type that is not there is not reached."""

_EVERY_TYPE = "*"
_EVERYTHING: Reach = ((_EVERY_TYPE, ((),)),)


@dataclass(frozen=True, slots=True)
class Constraint:
    """What is reached of the type that a request is about, and of the other types that a search touches.

    `looked_through` is for chains, `_has` and `_revinclude` (letter s), `included` for what `_include` adds (letter
    r or s). Both reach nothing by default: whoever looks at another type has to have asked for it. `view` is what is
    reached beside the tenant in a hierarchy; None, as for almost everybody: the tenant alone.
    """

    tenant: str
    alternatives: Alternatives
    looked_through: Reach = ()
    included: Reach = ()
    view: TenantView | None = None

    @classmethod
    def system(cls, tenant: str) -> Self:
        """Return the constraint of the server's own work in a tenant (loading, for example)."""
        return cls(tenant, ((),), _EVERYTHING, _EVERYTHING)

    def narrowed(self, other: Self) -> Self:
        """Return the constraint that reaches what both reach; of other types what this one does."""
        both = tuple((*mine, *theirs) for mine in self.alternatives for theirs in other.alternatives)
        view = self.view.both(other.view, tenant=self.tenant) if self.view is not None else None
        return replace(self, alternatives=tuple(dict.fromkeys(both)), view=view)

    def widened(self, other: Self) -> Self:
        """Return the constraint that reaches what either reaches; of other types what this one does."""
        return replace(self, alternatives=tuple(dict.fromkeys((*self.alternatives, *other.alternatives))))

    @property
    def is_everything(self) -> bool:
        """Say whether every resource of the tenant is reached."""
        return () in self.alternatives

    @property
    def tenants(self) -> tuple[str, ...]:
        """Every tenant of which anything may be reached, in the order in which a name is looked for."""
        return self.view.tenants if self.view is not None else (self.tenant,)

    def reaches_all_of(self, tenant: str) -> bool:
        """Say whether the constraint is not limited to what the tenant shares, or to other tenants."""
        return tenant in (self.view.whole if self.view is not None else (self.tenant,))

    def only(self, tenant: str) -> Self:
        """Return the constraint on what it reaches of one tenant, one of `tenants`."""
        if self.view is None:
            return self
        if tenant in self.view.whole:
            return replace(self, tenant=tenant, view=None)
        return replace(self, tenant=tenant, view=replace(self.view, whole=(), lent=(tenant,)))

    def referred_to(self, tenant: str) -> Self:
        """Return the constraint on what references of a tenant's resources lead to, one of `tenants`."""
        return self if self.view is None else replace(self, view=self.view.referred_to(tenant))

    def through(self, resource_type: str) -> Self:
        """Return the constraint on a resource of another type that a criterion looks at."""
        return replace(self, alternatives=_of(self.looked_through, resource_type))

    def including(self, resource_type: str) -> Self:
        """Return the constraint on a resource of another type that is to be included."""
        return replace(self, alternatives=_of(self.included, resource_type))


def _of(reach: Reach, resource_type: str) -> Alternatives:
    found = dict(reach)
    return found.get(resource_type, found.get(_EVERY_TYPE, ()))
