"""Read every search parameter's values out of a resource: typed paths, compiled once per type, then walked.

The rows are what the store's index tables hold and what a search compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authserver.fhir import exact_json
from authserver.fhir.definitions.composites import Composite
from authserver.fhir.definitions.converters import Convert, Row, converter, reference_identifier
from authserver.fhir.definitions.paths import Walk, compile_path, table_of
from authserver.fhir.definitions.tables import Definitions

TABLES = ("token", "reference", "string", "date", "quantity", "composite")
# Kinds whose empty texts no search value equals.
_PRESENCE = ("token", "reference", "string")

# Contents of members whose rows are kept for each type, and how long one may be: some megabytes in all.
_SEEN, _SEEN_BYTES = 2_000, 1_000

Rows = dict[str, set[Row]]
MemberRows = tuple[tuple[str, list[Row]], ...]


@dataclass(frozen=True, slots=True)
class _Use:
    code: str
    table: str
    convert: Convert
    only: str
    """The one type of the references that are the parameter's (`where(resolve() is T)`); "" for all."""


@dataclass(slots=True)
class _Plan:
    """What to read from a resource of one type: member name -> walks below it, each with its uses.

    The same statuses, categories, codes and agents come again and again, so the rows of the contents seen lately are
    kept, by their JSON: `1.0` and `1.00` are two contents.
    """

    members: dict[str, list[tuple[Walk, list[_Use]]]] = field(default_factory=dict)
    present: dict[str, list[str]] = field(default_factory=dict)
    composites: list[Composite] = field(default_factory=list)
    seen: dict[tuple[str, bytes], MemberRows] = field(default_factory=dict)

    def rows(self, member: str, content: Any) -> MemberRows:
        try:
            key = (member, exact_json.dumps(content))
        except exact_json.NotJson:
            return self._rows(member, content)
        found = self.seen.get(key)
        if found is None:
            found = self._rows(member, content)
            if len(key[1]) <= _SEEN_BYTES:
                if len(self.seen) >= _SEEN:
                    self.seen.clear()
                self.seen[key] = found
        return found

    def _rows(self, member: str, content: Any) -> MemberRows:
        rows: dict[str, list[Row]] = {}
        for walk, uses in self.members[member]:
            for value in walk([content]):
                for use in uses:
                    _add(rows, use, value)
        return tuple(rows.items())


class Extractor:
    """Reads index rows; plans are compiled when a type is first seen and kept."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._plans: dict[str, _Plan] = {}

    def rows(self, resource: Mapping[str, Any]) -> Rows:
        """Return table name -> rows; each row begins with the parameter's code.

        token (code, code, system), reference (code, id, type), string (code, folded, exact),
        date (code, start, end), quantity (code, low, high, code, system, unit), composite (see composites.py).
        A Reference's identifier is a token of the reference's code. A value without anything to compare (a concept
        that is only text) gives the row of two empty texts, which no search value equals: it is not missing.
        `_id` and `_lastUpdated` are columns of the resource and not among them.
        """
        rows: Rows = {table: set() for table in TABLES}
        plan = self._plan(resource["resourceType"])
        for member, content in resource.items():
            if member in plan.members:
                for table, found in plan.rows(member, content):
                    rows[table].update(found)
        for code, members in plan.present.items():
            there = any(resource.get(member, False) is not False for member in members)
            rows["token"].add((code, "true" if there else "false", ""))
        rows["composite"].update(row for composite in plan.composites for row in composite.rows(resource))
        return rows

    def _plan(self, resource_type: str) -> _Plan:
        plan = self._plans.get(resource_type)
        if plan is None:
            plan = self._plans[resource_type] = _compile(self._definitions, resource_type)
        return plan


def _add(rows: dict[str, list[Row]], use: _Use, value: Any) -> None:
    found = [(use.code, *row) for row in use.convert(value)]
    if use.table == "reference" and isinstance(value, dict) and use.only in ("", value.get("type")):
        named = [(use.code, *row) for row in reference_identifier(value)]
        if named:
            rows.setdefault("token", []).extend(named)
    if not found and use.table in _PRESENCE and isinstance(value, dict) and value and not use.only:
        found = [(use.code, "", "")]
    if found:
        rows.setdefault(use.table, []).extend(found)


def _compile(definitions: Definitions, resource_type: str) -> _Plan:
    plan = _Plan()
    uses_of: dict[str, list[_Use]] = {}
    for parameter in definitions.parameters(resource_type):
        if parameter.code in ("_id", "_lastUpdated"):
            continue
        if parameter.components:
            plan.composites.append(Composite(parameter))
            continue
        for path in parameter.paths:
            steps, _, type_name = path.rpartition(":")
            if type_name == "present":
                plan.present.setdefault(parameter.code, []).append(steps)
                continue
            convert = converter(parameter.kind, type_name)
            use = _Use(parameter.code, table_of(parameter.kind), convert, only=type_name.partition("(")[2][:-1])
            uses_of.setdefault(steps, []).append(use)
    for steps, uses in uses_of.items():
        member, walk = compile_path(steps)
        plan.members.setdefault(member, []).append((walk, uses))
    return plan
