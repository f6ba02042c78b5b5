"""Parse the parameters that shape an answer: pages, order, includes, summaries, totals. They narrow nothing.

http://hl7.org/fhir/R4/search.html, "Managing Returned Resources".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from authserver.fhir.definitions.paths import table_of
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import Include, SortKey, SortSource, Total
from authserver.fhir.search.problems import MalformedParameter, UnsupportedModifier, UnsupportedParameter

CURSOR: Final = "_cursor"
MAX_SORT_KEYS: Final = 3
MAX_INCLUDES: Final = 10
MAX_ELEMENTS: Final = 50

INCLUDES: Final = ("_include", "_revinclude")
SINGLE: Final = ("_count", "_format", "_sort", "_total", "_summary", "_elements", "_type", "_contained", CURSOR)
"""The controls that come once at most."""

Summary = Literal["true", "text", "data", "count", "false"]

_FORMATS = {"json", "application/json", "application/fhir+json", "application/fhir json"}
_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)
_COLUMNS: Mapping[str, SortSource] = {"_id": "id", "_lastUpdated": "last_updated"}


@dataclass(frozen=True, slots=True)
class Shape:
    """Which elements of each match are answered: those of a summary, or those named in `elements`."""

    summary: Summary = "false"
    elements: tuple[str, ...] = ()


class ControlParser:
    """Knows the tables and the limits of a page."""

    def __init__(self, definitions: Definitions, *, default_count: int, max_count: int) -> None:
        self._definitions = definitions
        self._default_count = default_count
        self._max_count = max_count

    def count(self, text: str | None) -> int:
        """Parse `_count`; above the limit it is lowered to it, 0 asks for the total only."""
        if text is None:
            return min(self._default_count, self._max_count)
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
            raise MalformedParameter("_count")
        return min(int(text), self._max_count)

    def sort(self, resource_types: Sequence[str], text: str | None) -> tuple[SortKey, ...]:
        """Parse `_sort`: codes that every one of the types has, each perhaps with `-`."""
        if text is None:
            return ()
        names = text.split(",")
        codes = [name.removeprefix("-") for name in names]
        if not all(codes) or len(codes) != len(set(codes)) or len(codes) > MAX_SORT_KEYS:
            raise MalformedParameter("_sort")
        return tuple(
            SortKey(code, self._source(resource_types, code), name.startswith("-"))
            for name, code in zip(names, codes, strict=True)
        )

    def _source(self, resource_types: Sequence[str], code: str) -> SortSource:
        if code in _COLUMNS:
            return _COLUMNS[code]
        sources = set()
        for resource_type in resource_types:
            parameter = self._definitions.parameter(resource_type, code)
            if parameter is None or parameter.components:
                raise UnsupportedParameter("_sort")
            sources.add(table_of(parameter.kind))
        (source,) = sources
        return cast(SortSource, source)

    def include(self, resource_types: Sequence[str], name: str, value: str) -> Include:
        """Parse one `_include` or `_revinclude`, with `:iterate` (or `:recurse`, its name in DSTU 2) or without."""
        control, _, modifier = name.partition(":")
        if modifier not in ("", "iterate", "recurse"):
            raise UnsupportedModifier(name)
        reverse, iterate = control == "_revinclude", bool(modifier)
        parts = value.split(":")
        if parts == ["*"] and not reverse and len(resource_types) == 1:
            return Include(resource_types[0], None, iterate=iterate)
        if not 2 <= len(parts) <= 3 or parts[0] not in self._definitions.resource_types:
            raise MalformedParameter(name)
        source, code = parts[0], parts[1]
        target = parts[2] if len(parts) == 3 else None
        if not reverse and not iterate and source not in resource_types:
            raise MalformedParameter(name, detail="the source is no type of the search")
        self._check_link(name, source, code=code, target=target)
        return Include(source, None if code == "*" else code, target, reverse, iterate)

    def _check_link(self, name: str, source: str, *, code: str, target: str | None) -> None:
        if target is not None and target not in self._definitions.resource_types:
            raise MalformedParameter(name)
        if code == "*":
            return
        parameter = self._definitions.parameter(source, code)
        if parameter is None or parameter.kind != "reference":
            raise MalformedParameter(name)
        if target is not None and not parameter.may_target(target):
            raise MalformedParameter(name)


def shape(controls: Mapping[str, str]) -> Shape:
    """Parse `_summary` and `_elements`, of which one may be given."""
    summary = controls.get("_summary", "false")
    if summary not in get_args(Summary):
        raise MalformedParameter("_summary")
    if "_elements" not in controls:
        return Shape(cast(Summary, summary))
    names = tuple(controls["_elements"].split(","))
    if summary not in ("false", "count") or len(names) > MAX_ELEMENTS:
        raise MalformedParameter("_elements")
    if not all(_ELEMENT.fullmatch(name) for name in names):
        raise MalformedParameter("_elements")
    return Shape(cast(Summary, summary), names)


def total(text: str | None) -> Total:
    """Parse `_total`; an estimate is as accurate as the other here."""
    if text is None:
        return "none"
    if text not in get_args(Total):
        raise MalformedParameter("_total")
    return cast(Total, text)


def check_format(controls: Mapping[str, str]) -> None:
    """Raise UnsupportedParameter for another format than JSON, or another `_contained` than `false`."""
    if controls.get("_format", "json") not in _FORMATS:
        raise UnsupportedParameter("_format")
    if controls.get("_contained", "false") != "false":
        raise UnsupportedParameter("_contained")
