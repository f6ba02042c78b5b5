"""How far a search may look beyond its own type: chains, `_has`, includes, and the types of a system search. PURE.

A predicate over a type needs the letter s on it, what is included the letter r or s, and each type's own criteria go
into the constraint (threats H03 and H04; leaks L1, L2, L5, L17).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from authserver.errors import InsufficientScope
from authserver.fhir.access import AccessRules
from authserver.fhir.constraint import Alternatives, Constraint
from authserver.fhir.definitions.tables import ANY_TYPE, Definitions
from authserver.fhir.search.ast import ChainCriterion, Criterion, HasCriterion, Include, SearchQuery
from authserver.protocol import scopes


class SearchRights:
    """The scopes' side of a search; knows the types and what a reference may point at."""

    def __init__(self, definitions: Definitions, rules: AccessRules) -> None:
        self._definitions = definitions
        self._rules = rules

    def types(self, granted: Sequence[scopes.Scope], asked: Sequence[str] | None) -> tuple[str, ...]:
        """Return the types of a system search: those asked for, else those that may be searched.

        Raises InsufficientScope when one that is asked for may not be, or none may.
        """
        for resource_type in asked or ():
            self._searchable(granted, resource_type)
        if asked is not None:
            return tuple(asked)
        every = sorted(self._definitions.resource_types)
        found = tuple(name for name in every if self._rules.alternatives(granted, name, "s"))
        if not found:
            raise InsufficientScope("system/*.s")
        return found

    def of(
        self, granted: Sequence[scopes.Scope], queries: Sequence[SearchQuery], *, tenant: str
    ) -> tuple[list[tuple[Constraint, SearchQuery]], bool]:
        """Return the search of each type with its constraint, and whether an include leaves types out.

        The searches have the same includes (see SearchParser.system_query). Raises InsufficientScope that names the
        type for one that is named, or looked at, and not open.
        """
        looked_at = dict.fromkeys(name for query in queries for name in _looked_at(query.criteria))
        looked_at |= dict.fromkeys(include.resource_type for include in queries[0].includes if include.reverse)
        included, leaves_out = self._included(granted, queries[0].includes)
        looked_through = tuple((name, self._searchable(granted, name)) for name in looked_at)
        searches = []
        for query in queries:
            alternatives = self._searchable(granted, query.resource_type)
            constraint = self._rules.constraint(tenant, alternatives, letter="s")
            searches.append((replace(constraint, looked_through=looked_through, included=included), query))
        return searches, leaves_out

    def of_condition(self, granted: Sequence[scopes.Scope], query: SearchQuery, *, tenant: str) -> Constraint:
        """Return the constraint of the search that a conditional write or reference does. Raises InsufficientScope."""
        (((constraint, _),), _) = self.of(granted, (query,), tenant=tenant)
        return constraint

    def _searchable(self, granted: Sequence[scopes.Scope], resource_type: str) -> Alternatives:
        found = self._rules.alternatives(granted, resource_type, "s")
        if not found:
            raise InsufficientScope(f"system/{resource_type}.s")
        return found

    def _included(
        self, granted: Sequence[scopes.Scope], includes: Iterable[Include]
    ) -> tuple[tuple[tuple[str, Alternatives], ...], bool]:
        """Return the reach of the types that may be included, and whether any was left out.

        One that is named must be open, and of an include that names none at least one of the possible; what else is
        not open is left out. None of that depends on what is stored.
        """
        reach: dict[str, Alternatives] = {}
        leaves_out = False
        for include in includes:
            if include.reverse:
                continue
            targets = self._targets(include)
            opened = {name: self._readable(granted, name) for name in targets}
            if not any(opened.values()):
                raise InsufficientScope(f"system/{targets[0]}.r")
            leaves_out = leaves_out or not all(opened.values())
            reach |= {name: alternatives for name, alternatives in opened.items() if alternatives}
        return tuple(sorted(reach.items())), leaves_out

    def _readable(self, granted: Sequence[scopes.Scope], resource_type: str) -> Alternatives:
        both = [criteria for letter in "rs" for criteria in self._rules.alternatives(granted, resource_type, letter)]
        return tuple(dict.fromkeys(both))

    def _targets(self, include: Include) -> Sequence[str]:
        """Return the types that the include may add, in order."""
        if include.target is not None:
            return (include.target,)
        parameters = [
            one
            for one in self._definitions.parameters(include.resource_type)
            if one.kind == "reference" and include.code in (None, one.code)
        ]
        targets = {target for one in parameters for target in one.leads_to}
        known = self._definitions.resource_types
        return sorted(known if ANY_TYPE in targets else targets & known)


def _looked_at(criteria: Iterable[Criterion]) -> Iterator[str]:
    """Yield the type of each hop of each chain and `_has`."""
    for criterion in criteria:
        if isinstance(criterion, ChainCriterion):
            for resource_type, inner in criterion.targets:
                yield resource_type
                yield from _looked_at((inner,))
        elif isinstance(criterion, HasCriterion):
            yield criterion.resource_type
            yield from _looked_at((criterion.criterion,))
