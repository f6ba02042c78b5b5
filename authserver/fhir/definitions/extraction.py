"""Read every search parameter's values out of a resource: typed paths, compiled once per type, then walked.

The rows are what the store's index tables hold and what a search compares.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authserver.fhir.definitions.converters import Convert, Row, converter
from authserver.fhir.definitions.tables import Definitions

TABLES = ("token", "reference", "string", "date", "quantity")
_TABLE_OF = {"uri": "token", "number": "quantity"}
_STEP = re.compile(r"(\w+)(?:\[(\w+)=([^\]]*)\]|\[(\d+)\])?")

Walk = Callable[[list[Any]], list[Any]]
Rows = dict[str, set[Row]]


def table_of(kind: str) -> str:
    """Return the index table that holds parameters of this kind."""
    return _TABLE_OF.get(kind, kind)


@dataclass(frozen=True, slots=True)
class _Use:
    code: str
    table: str
    convert: Convert


@dataclass(slots=True)
class _Plan:
    """What to read from a resource of one type: member name -> walks below it, each with its uses."""

    members: dict[str, list[tuple[Walk, list[_Use]]]] = field(default_factory=dict)
    present: dict[str, list[str]] = field(default_factory=dict)


class Extractor:
    """Reads index rows; plans are compiled when a type is first seen and kept."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._plans: dict[str, _Plan] = {}

    def rows(self, resource: Mapping[str, Any]) -> Rows:
        """Return table name -> rows; each row begins with the parameter's code.

        token (code, code, system), reference (code, id, type), string (code, folded, exact),
        date (code, start, end), quantity (code, low, high, code, system, unit). `_id` and `_lastUpdated`
        are columns of the resource and not among them.
        """
        rows: Rows = {table: set() for table in TABLES}
        plan = self._plan(resource["resourceType"])
        for member in resource:
            for walk, uses in plan.members.get(member, ()):
                for value in walk([resource[member]]):
                    for use in uses:
                        rows[use.table].update((use.code, *row) for row in use.convert(value))
        for code, members in plan.present.items():
            there = any(resource.get(member, False) is not False for member in members)
            rows["token"].add((code, "true" if there else "false", ""))
        return rows

    def _plan(self, resource_type: str) -> _Plan:
        plan = self._plans.get(resource_type)
        if plan is None:
            plan = self._plans[resource_type] = _compile(self._definitions, resource_type)
        return plan


def _compile(definitions: Definitions, resource_type: str) -> _Plan:
    plan = _Plan()
    uses_of: dict[str, list[_Use]] = {}
    for parameter in definitions.parameters(resource_type):
        if parameter.code in ("_id", "_lastUpdated"):
            continue
        for path in parameter.paths:
            steps, _, type_name = path.rpartition(":")
            if type_name == "present":
                plan.present.setdefault(parameter.code, []).append(steps)
                continue
            use = _Use(parameter.code, table_of(parameter.kind), converter(parameter.kind, type_name))
            uses_of.setdefault(steps, []).append(use)
    for steps, uses in uses_of.items():
        member, walk = compile_path(steps)
        plan.members.setdefault(member, []).append((walk, uses))
    return plan


def compile_path(path: str) -> tuple[str, Walk]:
    """Return the path's first member name, and the function from that member's values to the path's values."""
    matches = list(_STEP.finditer(path))
    filters = [_filter(match) for match in matches]
    names = [match[1] for match in matches]

    def walk(values: list[Any]) -> list[Any]:
        values = filters[0](values)
        for name, keep in zip(names[1:], filters[1:], strict=True):
            values = keep([value[name] for value in values if isinstance(value, dict) and name in value])
        return values

    return names[0], walk


def _filter(match: re.Match[str]) -> Walk:
    name, literal, position = match[2], match[3], match[4]
    if position is not None:
        return lambda values: _flat(values)[int(position) : int(position) + 1]
    if name is None:
        return _flat
    return lambda values: [v for v in _flat(values) if isinstance(v, dict) and v.get(name) == literal]


def _flat(values: list[Any]) -> list[Any]:
    if not any(isinstance(value, list) for value in values):
        return values
    return [item for value in values for item in (value if isinstance(value, list) else [value])]
