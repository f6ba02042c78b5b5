"""Tenants in a hierarchy (row X24): whose resources a token reaches beside those of its own tenant. PURE.

A tenant reaches all that is of the tenants below it, and of those above what they share: resources with the reserved
tag of the code `shared`. What a tenant without relatives reaches is its own, and nothing here is asked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from authserver.fhir import exact_json
from authserver.fhir.search.ast import TokenCriterion, TokenValue

SHARED = "shared"
"""The code of the reserved tag's system that lends a resource to the tenants below."""

_NAME = re.compile(r"[A-Za-z0-9\-.]{1,64}(~test)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TenantHierarchy:
    """Who stands above whom: `parents` is child -> parent, without circles (see `parent_names`).

    `shared` is the criterion that a resource of a tenant above fulfils when it is shared.
    """

    parents: Mapping[str, str]
    shared: TokenCriterion
    _above: Mapping[str, tuple[str, ...]] = field(repr=False, compare=False)
    _below: Mapping[str, tuple[str, ...]] = field(repr=False, compare=False)

    @classmethod
    def of(cls, parents: Mapping[str, str], *, tag_system: str) -> Self:
        """Return the hierarchy; everybody's relatives are listed once."""
        above = {name: _line(name, parents) for name in {*parents, *parents.values()}}
        # By distance, then by name: an order that depends on nothing that is stored.
        below = {
            name: tuple(sorted((one for one in above if name in above[one]), key=lambda one: (len(above[one]), one)))
            for name in above
        }
        shared = TokenCriterion("_tag", (TokenValue(SHARED, tag_system),))
        return cls(dict(parents), shared, above, below)

    def above(self, tenant: str) -> tuple[str, ...]:
        """Return the tenants above, nearest first."""
        return self._above.get(tenant, ())

    def below(self, tenant: str) -> tuple[str, ...]:
        """Return the tenants below at any distance, nearest first, those of one distance by name."""
        return self._below.get(tenant, ())

    def view(self, tenant: str, *, letter: str) -> "TenantView | None":
        """Return what a letter of SMART's scopes reaches beside the tenant's own; None: nothing.

        Reading (r, s) and writing (u, d) reach what is below, reading also what is shared above; c makes what is the
        tenant's own.
        """
        below = () if letter == "c" else self.below(tenant)
        lent = self.above(tenant) if letter in ("r", "s") else ()
        return TenantView(self, (tenant, *below), lent) if below or lent else None


@dataclass(frozen=True, slots=True)
class TenantView:
    """The tenants of which all is reached, in the order in which a name is looked for, and those that lend.

    Of several resources with one name (type and id) the name means the one of the first tenant of this order.
    """

    hierarchy: TenantHierarchy = field(repr=False)
    whole: tuple[str, ...]
    lent: tuple[str, ...] = ()

    @property
    def tenants(self) -> tuple[str, ...]:
        """Every tenant of which anything may be reached, in the order of names."""
        return self.whole + self.lent

    @property
    def root(self) -> str:
        """The tenant at the top, the same for everybody in one tree."""
        first = self.tenants[0]
        return self.hierarchy.above(first)[-1] if self.hierarchy.above(first) else first

    @property
    def lenders(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each tenant here that stands above others here, and those; the uppermost come first."""
        here = frozenset(self.tenants)
        below = ((one, tuple(name for name in self.hierarchy.below(one) if name in here)) for one in self.tenants)
        found = [(one, names) for one, names in below if names]
        return tuple(sorted(found, key=lambda pair: (len(self.hierarchy.above(pair[0])), pair[0])))

    def __contains__(self, tenant: object) -> bool:
        """Say whether anything of the tenant may be reached."""
        return tenant in self.whole or tenant in self.lent

    def both(self, other: "TenantView | None", *, tenant: str) -> "TenantView | None":
        """Return what this view and the other reach; None stands for the tenant itself."""
        whole, lent = (other.whole, other.lent) if other is not None else ((tenant,), ())
        shared = tuple(one for one in self.tenants if one in (*whole, *lent))
        kept = tuple(one for one in shared if one in self.whole and one in whole)
        rest = tuple(one for one in shared if one not in kept)
        return TenantView(self.hierarchy, kept, rest) if rest or kept != (tenant,) else None

    def referred_to(self, tenant: str) -> "TenantView":
        """Return where the references of a tenant's resources may lead, as far as it is in this view.

        They lead to what is the tenant's own and to what a tenant above it shares, never below (leak L11).
        """
        above = tuple(one for one in self.hierarchy.above(tenant) if one in self)
        if tenant in self.whole:
            return TenantView(self.hierarchy, (tenant,), above)
        return TenantView(self.hierarchy, (), (tenant, *above) if tenant in self.lent else ())


def parent_names(text: object) -> dict[str, str]:
    """Return child -> parent from JSON text or a mapping. Raises ValueError that says what is wrong.

    Names have the shape of a client's `tenant`, or with `~test` that of its test keys; nobody is above itself, and no
    live tenant is a relative of a test tenant.
    """
    value = _json(text) if isinstance(text, str | bytes) else text
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for pair in value.items() for one in pair):
        raise ValueError("must be a JSON object of tenants' names, each child with its parent")
    parents = dict(value)
    for name in sorted({*parents, *parents.values()}):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no tenant's name: 1 to 64 letters, digits, '-' and '.', and perhaps ~test")
        if name == SHARED:
            raise ValueError(f"{SHARED!r} is the code of the tag for shared resources and cannot name a tenant")
    for name in sorted(parents):
        if ("~" in name) != ("~" in parents[name]):
            raise ValueError(f"{name!r} and {parents[name]!r}: a test tenant is no relative of a live one")
        if name in (line := _line(name, parents)):
            raise ValueError(f"the hierarchy goes in a circle: {' -> '.join((name, *line[: line.index(name) + 1]))}")
    return parents


def _json(text: str | bytes) -> object:
    try:
        value: object = exact_json.loads(text, unique=True)
    except exact_json.NotJson as error:
        raise ValueError("must be JSON without a child named twice") from error
    return value


def _line(name: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tenants above, nearest first; a circle ends where it closes."""
    line: list[str] = []
    while (parent := parents.get(name)) is not None and parent not in line:
        line.append(parent)
        name = parent
    return tuple(line)
