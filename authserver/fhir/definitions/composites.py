"""Read the values of a composite search parameter: tuples whose parts stand on one element of the resource.

The first part is a token in R4's every composite, the second of any kind, the third (of four parameters) a number.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from authserver.fhir.definitions.converters import Convert, Row, converter
from authserver.fhir.definitions.paths import Walk, compile_path, table_of
from authserver.fhir.definitions.tables import Component, SearchParameter

# Parts behind the first: (code, system, unit, low, high, start, end), then the third's (low, high).
_NOTHING: Row = (None, None)


class Composite:
    """Reads one composite parameter.

    Its rows are (code, first's code, number, first's system, code2, system2, unit2, low2, high2, start2, end2, low3,
    high3); `number` counts a resource's rows, and what a part's kind does not have is None.
    """

    def __init__(self, parameter: SearchParameter) -> None:
        self._code = parameter.code
        paths = [path.rpartition(":")[0] for path in parameter.paths]
        self._bases = [compile_path(path) if path else None for path in paths]
        self._parts = [_Part(component) for component in parameter.components]

    def rows(self, resource: Mapping[str, Any]) -> Iterator[Row]:
        """Yield the rows of the resource."""
        numbers = itertools.count()
        for element in self._elements(resource):
            first = self._parts[0].rows(element, resource)
            if not first:
                continue
            second, *others = (part.rows(element, resource) for part in self._parts[1:])
            kind = self._parts[1].kind
            for (code, system), two, three in itertools.product(first, second, others[0] if others else (_NOTHING,)):
                yield (self._code, code, next(numbers), system, *_second(kind, two), *three[:2])

    def _elements(self, resource: Mapping[str, Any]) -> Iterator[Any]:
        for base in self._bases:
            if base is None:
                yield resource
            elif base[0] in resource:
                yield from base[1]([resource[base[0]]])


class _Part:
    def __init__(self, component: Component) -> None:
        self.kind = component.kind
        self._reads: list[tuple[bool, str, Walk, Convert]] = []
        for path in component.paths:
            steps, _, type_name = path.rpartition(":")
            name, walk = compile_path(steps.lstrip("^"))
            self._reads.append((path.startswith("^"), name, walk, converter(component.kind, type_name)))

    def rows(self, element: Any, resource: Mapping[str, Any]) -> list[Row]:
        found: list[Row] = []
        for from_resource, name, walk, convert in self._reads:
            start = resource if from_resource else element
            if isinstance(start, Mapping) and name in start:
                found.extend(row for value in walk([start[name]]) for row in convert(value))
        return list(dict.fromkeys(found))


def _second(kind: str, row: Row) -> Iterable[Any]:
    """Return the columns code, system, unit, low, high, start, end."""
    match table_of(kind):
        case "quantity":
            low, high, code, system, unit = row
            return (code, system, unit, low, high, None, None)
        case "date":
            return (None, None, None, None, None, *row)
        case _:
            return (*row, None, None, None, None, None)
