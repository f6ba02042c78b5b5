"""Parse one search parameter, by its name's grammar and its kind, into a criterion.

name = `_has:Type:reference:name` | code[:Type]`.`name | code[:modifier]. Whatever is not fully understood is an error:
a half-parsed name must never reach a store (leak L3).
"""

import re
from collections.abc import Mapping
from typing import Final, cast

from authserver.fhir.definitions.paths import table_of
from authserver.fhir.definitions.tables import Definitions, SearchParameter
from authserver.fhir.search import values
from authserver.fhir.search.ast import (
    ChainCriterion,
    CompositeCriterion,
    Criterion,
    DateCriterion,
    HasCriterion,
    IdCriterion,
    IndexTable,
    LastUpdatedCriterion,
    MissingCriterion,
    QuantityCriterion,
    ReferenceCriterion,
    StringCriterion,
    StringMode,
    TokenCriterion,
)
from authserver.fhir.search.problems import MalformedParameter, UnsupportedModifier, UnsupportedParameter

MAX_HOPS: Final = 3
"""References that one chain, or `_has` in `_has`, may follow."""

_HAS = "_has"
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_STRING_MODES: Final[Mapping[str, StringMode]] = {"": "starts", "exact": "exact", "contains": "contains"}


class CriterionParser:
    """Knows the tables and our own base URL."""

    def __init__(self, definitions: Definitions, *, base_url: str) -> None:
        self._definitions = definitions
        self._base_url = base_url

    def criterion(self, resource_type: str, name: str, value: str) -> Criterion:
        """Parse one parameter. Raises UnsupportedParameter or MalformedParameter, with the whole name."""
        try:
            return self._parse(resource_type, name, value, full=name, hops=MAX_HOPS)
        except MalformedParameter as problem:
            raise MalformedParameter(name, detail=problem.detail) from problem

    def _parse(self, resource_type: str, name: str, value: str, *, full: str, hops: int) -> Criterion:
        """Parse what is left of the name, for the type that the hops so far lead to."""
        if name.partition(":")[0] == _HAS:
            return self._has(resource_type, name, value, full=full, hops=hops)
        link, dot, rest = name.partition(".")
        if dot:
            return self._chain(resource_type, link, rest, value=value, full=full, hops=hops)
        code, colon, modifier = name.partition(":")
        parameter = self._definitions.parameter(resource_type, code)
        if parameter is None:
            raise UnsupportedParameter(full)
        if colon and not modifier:
            raise UnsupportedModifier(full)
        if modifier == "missing":
            return _missing(parameter, full, value)
        texts = values.alternatives(full, value)
        if code in ("_id", "_lastUpdated"):
            return _column(code, full, modifier=modifier, texts=texts)
        return self._indexed(parameter, full, modifier=modifier, texts=texts)

    def _has(self, resource_type: str, name: str, value: str, *, full: str, hops: int) -> HasCriterion:
        """Parse `_has:Type:reference:name` (http://hl7.org/fhir/R4/search.html#has)."""
        parts = name.split(":", 3)
        if len(parts) != 4 or hops == 0:
            raise UnsupportedParameter(full)
        _, source, code, rest = parts
        parameter = self._definitions.parameter(source, code)
        if source not in self._definitions.resource_types or not _refers(parameter, resource_type):
            raise UnsupportedParameter(full)
        return HasCriterion(source, code, self._parse(source, rest, value, full=full, hops=hops - 1))

    def _chain(self, resource_type: str, link: str, rest: str, *, value: str, full: str, hops: int) -> ChainCriterion:
        """Parse `code.rest` or `code:Type.rest` (http://hl7.org/fhir/R4/search.html#chaining).

        Without a type, every type that the reference may have and that knows the rest is looked at.
        """
        code, colon, wanted = link.partition(":")
        parameter = self._definitions.parameter(resource_type, code)
        if parameter is None or parameter.kind != "reference" or hops == 0:
            raise UnsupportedParameter(full)
        if colon:
            if not self._is_target(parameter, wanted):
                raise UnsupportedParameter(full)
            return ChainCriterion(code, ((wanted, self._parse(wanted, rest, value, full=full, hops=hops - 1)),))
        found: list[tuple[str, Criterion]] = []
        for target in self.targets(parameter):
            try:
                found.append((target, self._parse(target, rest, value, full=full, hops=hops - 1)))
            except UnsupportedParameter:
                continue
        if not found:
            raise UnsupportedParameter(full)
        return ChainCriterion(code, tuple(found))

    def targets(self, parameter: SearchParameter) -> tuple[str, ...]:
        """Return the types that the reference may have; () for a reference to any type, which must be named."""
        return tuple(target for target in parameter.leads_to if target in self._definitions.resource_types)

    def _indexed(self, parameter: SearchParameter, name: str, *, modifier: str, texts: list[str]) -> Criterion:
        code = parameter.code
        if parameter.kind == "token":
            _require(modifier in ("", "not"), name)
            tokens = tuple(values.token(name, text) for text in texts)
            return TokenCriterion(code, tokens, negated=modifier == "not")
        if parameter.kind == "reference":
            return self._reference(parameter, name, modifier=modifier, texts=texts)
        if parameter.kind == "string":
            mode = _STRING_MODES.get(modifier)
            if mode is None:
                raise UnsupportedModifier(name)
            return StringCriterion(code, tuple(values.string(name, text, mode) for text in texts), mode)
        _require(not modifier, name)
        return _plain_kind(parameter, texts)

    def _reference(self, parameter: SearchParameter, name: str, *, modifier: str, texts: list[str]) -> Criterion:
        if modifier == "identifier":
            return TokenCriterion(parameter.code, tuple(values.token(name, text) for text in texts))
        _require(not modifier or self._is_target(parameter, modifier), name)
        found = (values.reference(parameter, text, base_url=self._base_url, modifier=modifier) for text in texts)
        return ReferenceCriterion(parameter.code, tuple(found))

    def _is_target(self, parameter: SearchParameter, resource_type: str) -> bool:
        return resource_type in self._definitions.resource_types and parameter.may_target(resource_type)


def _refers(parameter: SearchParameter | None, resource_type: str) -> bool:
    return parameter is not None and parameter.kind == "reference" and parameter.may_target(resource_type)


def _missing(parameter: SearchParameter, name: str, value: str) -> MissingCriterion:
    """Parse `:missing`; of what every resource has, or what has no index of its own, it is not supported."""
    _require(parameter.code not in ("_id", "_lastUpdated") and not parameter.components, name)
    if value not in ("true", "false"):
        raise MalformedParameter(name)
    return MissingCriterion(parameter.code, cast(IndexTable, table_of(parameter.kind)), value == "true")


def _column(code: str, name: str, *, modifier: str, texts: list[str]) -> Criterion:
    _require(not modifier, name)
    if code == "_lastUpdated":
        return LastUpdatedCriterion(tuple(values.date(name, text) for text in texts))
    if not all(_ID.fullmatch(text) for text in texts):
        raise MalformedParameter(name)
    return IdCriterion(tuple(texts))


def _plain_kind(parameter: SearchParameter, texts: list[str]) -> Criterion:
    code = parameter.code
    if parameter.kind == "uri":
        return TokenCriterion(code, tuple(values.uri(code, text) for text in texts))
    if parameter.kind == "date":
        return DateCriterion(code, tuple(values.date(code, text) for text in texts))
    if parameter.kind == "composite":
        return CompositeCriterion(code, tuple(values.composite(parameter, text) for text in texts))
    read = values.number if parameter.kind == "number" else values.quantity
    return QuantityCriterion(code, tuple(read(code, text) for text in texts))


def _require(supported: bool, name: str) -> None:
    if not supported:
        raise UnsupportedModifier(name)
