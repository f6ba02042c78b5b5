"""Parse query parameters into a SearchQuery, and a scope's parameters into criteria, with one set of rules.

Whatever is not fully understood is an error, never a criterion left out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from authserver.fhir.definitions.tables import Definitions, SearchParameter
from authserver.fhir.search import values
from authserver.fhir.search.ast import (
    Criterion,
    DateCriterion,
    IdCriterion,
    LastUpdatedCriterion,
    QuantityCriterion,
    ReferenceCriterion,
    SearchQuery,
    StringCriterion,
    StringMode,
    TokenCriterion,
)
from authserver.fhir.search.problems import MalformedParameter, UnsupportedParameter

CURSOR = "_cursor"
MAX_CRITERIA = 30

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_FORMATS = {"json", "application/json", "application/fhir+json", "application/fhir json"}
_STRING_MODES: Final[Mapping[str, StringMode]] = {"": "starts", "exact": "exact", "contains": "contains"}

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ParsedSearch:
    """A parsed query: the search without its position, the cursor's text, and the pairs that were used.

    `used` is without the cursor, and without what a lenient client's unsupported parameters were.
    """

    query: SearchQuery
    cursor: str | None
    used: tuple[Pair, ...]


class SearchParser:
    """Knows the tables, our own base URL and the limits of a page."""

    def __init__(
        self, definitions: Definitions, *, base_url: str, default_count: int = 20, max_count: int = 1_000
    ) -> None:
        self._definitions = definitions
        self._base_url = base_url
        self._default_count = default_count
        self._max_count = max_count

    def query(self, resource_type: str, pairs: Sequence[Pair], *, lenient: bool = False) -> ParsedSearch:
        """Parse the query of a search; `_count` above the limit is lowered to it.

        Raises UnsupportedParameter (unless `lenient`, which leaves it out) and MalformedParameter.
        """
        criteria: list[Criterion] = []
        used: list[Pair] = []
        controls: dict[str, str] = {}
        for name, value in pairs:
            if name in ("_count", "_format", CURSOR):
                if name in controls:
                    raise MalformedParameter(name)
                controls[name] = value
                continue
            try:
                criteria.append(self.criterion(resource_type, name, value))
            except UnsupportedParameter:
                if not lenient:
                    raise
                continue
            used.append((name, value))
        if len(criteria) > MAX_CRITERIA:
            raise MalformedParameter(pairs[-1][0], detail="too many criteria")
        _check_format(controls.get("_format", "json"))
        used.extend((name, value) for name, value in controls.items() if name != CURSOR)
        query = SearchQuery(resource_type, tuple(criteria), self._count(controls.get("_count")))
        return ParsedSearch(query, controls.get(CURSOR), tuple(used))

    def scope_criteria(self, resource_type: str, parameters: Iterable[Pair]) -> tuple[Criterion, ...] | None:
        """Parse a scope's parameters; None when one is unknown or malformed: such a scope grants nothing.

        Modifiers are refused here as SMART 2.2 leaves them open.
        """
        criteria = []
        for name, value in sorted(parameters):
            if ":" in name:
                return None
            try:
                criteria.append(self.criterion(resource_type, name, value))
            except (UnsupportedParameter, MalformedParameter):
                return None
        return tuple(criteria)

    def criterion(self, resource_type: str, name: str, value: str) -> Criterion:
        """Parse one parameter. Raises UnsupportedParameter or MalformedParameter."""
        code, colon, modifier = name.partition(":")
        parameter = self._definitions.parameter(resource_type, code)
        if parameter is None or (colon and not modifier):
            raise UnsupportedParameter(name)
        texts = values.alternatives(name, value)
        if code == "_id":
            return _ids(name, modifier, texts)
        if code == "_lastUpdated":
            _refuse_modifier(name, modifier)
            return LastUpdatedCriterion(tuple(values.date(name, text) for text in texts))
        return self._indexed(parameter, name, modifier=modifier, texts=texts)

    def _indexed(self, parameter: SearchParameter, name: str, *, modifier: str, texts: list[str]) -> Criterion:
        code = parameter.code
        if parameter.kind == "token":
            if modifier not in ("", "not"):
                raise UnsupportedParameter(name)
            tokens = tuple(values.token(name, text) for text in texts)
            return TokenCriterion(code, tokens, negated=modifier == "not")
        if parameter.kind == "reference":
            if modifier and not self._is_target(parameter, modifier):
                raise UnsupportedParameter(name)
            found = (values.reference(parameter, text, base_url=self._base_url, modifier=modifier) for text in texts)
            return ReferenceCriterion(code, tuple(found))
        if parameter.kind == "string":
            mode = _STRING_MODES.get(modifier)
            if mode is None:
                raise UnsupportedParameter(name)
            return StringCriterion(code, tuple(values.string(name, text, mode) for text in texts), mode)
        _refuse_modifier(name, modifier)
        return _plain_kind(parameter, texts)

    def _is_target(self, parameter: SearchParameter, resource_type: str) -> bool:
        return resource_type in self._definitions.resource_types and parameter.may_target(resource_type)

    def _count(self, text: str | None) -> int:
        if text is None:
            return min(self._default_count, self._max_count)
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) == 0:
            raise MalformedParameter("_count")
        return min(int(text), self._max_count)


def _plain_kind(parameter: SearchParameter, texts: list[str]) -> Criterion:
    code = parameter.code
    if parameter.kind == "uri":
        return TokenCriterion(code, tuple(values.uri(code, text) for text in texts))
    if parameter.kind == "date":
        return DateCriterion(code, tuple(values.date(code, text) for text in texts))
    read = values.number if parameter.kind == "number" else values.quantity
    return QuantityCriterion(code, tuple(read(code, text) for text in texts))


def _ids(name: str, modifier: str, texts: list[str]) -> IdCriterion:
    _refuse_modifier(name, modifier)
    if not all(_ID.fullmatch(text) for text in texts):
        raise MalformedParameter(name)
    return IdCriterion(tuple(texts))


def _refuse_modifier(name: str, modifier: str) -> None:
    if modifier:
        raise UnsupportedParameter(name)


def _check_format(text: str) -> None:
    if text not in _FORMATS:
        raise UnsupportedParameter("_format")
