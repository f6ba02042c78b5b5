"""Parse query parameters into a SearchQuery, and a scope's parameters into criteria, with one set of rules.

Whatever is not fully understood is an error, never a criterion left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import Criterion, SearchQuery
from authserver.fhir.search.controls import (
    CURSOR,
    INCLUDES,
    MAX_INCLUDES,
    SINGLE,
    ControlParser,
    Shape,
    check_format,
    shape,
    total,
)
from authserver.fhir.search.criterion_parser import CriterionParser
from authserver.fhir.search.problems import MalformedParameter, UnsupportedModifier, UnsupportedParameter

MAX_CRITERIA: Final = 30

# They would narrow, or change what is looked at: left out, they would answer more than was asked for.
_NEVER_IGNORED = frozenset(
    ("_has", "_filter", "_list", "_query", "_content", "_text", "_containedType", *INCLUDES, *SINGLE)
)

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ParsedSearch:
    """A parsed query: one search per type, the cursor's text, the shape of the matches, and the pairs that were used.

    Of a system search each type has its own search; `query` is the one of a search of one type. `used` is without the
    cursor, and without what a lenient client's unknown parameters were.
    """

    queries: tuple[SearchQuery, ...]
    cursor: str | None
    used: tuple[Pair, ...]
    shape: Shape = field(default_factory=Shape)

    @property
    def query(self) -> SearchQuery:
        """The first search."""
        return self.queries[0]


@dataclass(slots=True)
class _Sorted:
    """The pairs of a query by their role."""

    controls: dict[str, str] = field(default_factory=dict)
    includes: list[Pair] = field(default_factory=list)
    criteria: list[Pair] = field(default_factory=list)


class SearchParser:
    """Knows the tables, our own base URL and the limits of a page."""

    def __init__(
        self, definitions: Definitions, *, base_url: str, default_count: int = 20, max_count: int = 1_000
    ) -> None:
        self._definitions = definitions
        self._criteria = CriterionParser(definitions, base_url=base_url)
        self._controls = ControlParser(definitions, default_count=default_count, max_count=max_count)

    def query(self, resource_type: str, pairs: Sequence[Pair], *, lenient: bool = False) -> ParsedSearch:
        """Parse the query of a search of one type.

        Raises UnsupportedParameter (a `lenient` client has parameters left out that the type does not have, never a
        modifier, a chain or a filter that is not understood) and MalformedParameter.
        """
        if any(name == "_type" for name, _ in pairs):
            raise UnsupportedParameter("_type")
        return self._query((resource_type,), pairs, lenient=lenient)

    def system_query(self, pairs: Sequence[Pair], *, types: Sequence[str], lenient: bool = False) -> ParsedSearch:
        """Parse the query of a search of several types (see types_of()); criteria must be known to each of them."""
        return self._query(tuple(types), pairs, lenient=lenient)

    def types_of(self, pairs: Sequence[Pair]) -> tuple[str, ...] | None:
        """Return the types that `_type` names, None without it. Raises MalformedParameter for a type not known."""
        texts = [value for name, value in pairs if name == "_type"]
        if not texts:
            return None
        types = tuple(dict.fromkeys(texts[0].split(",")))
        if len(texts) > 1 or not all(name in self._definitions.resource_types for name in types):
            raise MalformedParameter("_type")
        return types

    def scope_criteria(self, resource_type: str, parameters: Iterable[Pair]) -> tuple[Criterion, ...] | None:
        """Parse a scope's parameters; None when one is unknown or malformed: such a scope grants nothing.

        Modifiers, chains and composites are refused here as SMART 2.2 leaves them open.
        """
        criteria = []
        for name, value in sorted(parameters):
            parameter = self._definitions.parameter(resource_type, name)
            if parameter is None or parameter.components:
                return None
            try:
                criteria.append(self.criterion(resource_type, name, value))
            except (UnsupportedParameter, MalformedParameter):
                return None
        return tuple(criteria)

    def criterion(self, resource_type: str, name: str, value: str) -> Criterion:
        """Parse one parameter. Raises UnsupportedParameter or MalformedParameter."""
        return self._criteria.criterion(resource_type, name, value)

    def _query(self, types: tuple[str, ...], pairs: Sequence[Pair], *, lenient: bool) -> ParsedSearch:
        found = _sorted(pairs)
        check_format(found.controls)
        known = [pair for pair in found.criteria if self._is_known(types, pair, lenient=lenient)]
        if len(known) > MAX_CRITERIA or len(found.includes) > MAX_INCLUDES:
            raise MalformedParameter(pairs[-1][0], detail="too many parameters")
        how = shape(found.controls)
        sort = self._controls.sort(types, found.controls.get("_sort"))
        includes = tuple(self._controls.include(types, name, value) for name, value in found.includes)
        count = 0 if how.summary == "count" else self._controls.count(found.controls.get("_count"))
        wanted = total(found.controls.get("_total"))
        queries = tuple(
            SearchQuery(
                resource_type,
                tuple(self.criterion(resource_type, name, value) for name, value in known),
                count,
                sort=sort,
                includes=includes,
                total="accurate" if count == 0 else wanted,
            )
            for resource_type in types
        )
        controls = [(name, value) for name, value in found.controls.items() if name != CURSOR]
        return ParsedSearch(queries, found.controls.get(CURSOR), (*known, *found.includes, *controls), how)

    def _is_known(self, types: tuple[str, ...], pair: Pair, *, lenient: bool) -> bool:
        """Say whether every type understands the parameter; if not, raise unless a lenient client may miss it."""
        name, value = pair
        try:
            for resource_type in types:
                self.criterion(resource_type, name, value)
        except UnsupportedModifier:
            raise
        except UnsupportedParameter:
            if not lenient or ":" in name or "." in name or name in _NEVER_IGNORED:
                raise
            return False
        return True


def _sorted(pairs: Sequence[Pair]) -> _Sorted:
    found = _Sorted()
    for name, value in pairs:
        if name.partition(":")[0] in INCLUDES:
            found.includes.append((name, value))
        elif name not in SINGLE:
            found.criteria.append((name, value))
        elif name in found.controls:
            raise MalformedParameter(name)
        else:
            found.controls[name] = value
    return found
