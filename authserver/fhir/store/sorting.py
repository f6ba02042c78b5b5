"""Order by search parameters, and go on behind a position in that order: keysets, never offsets.

A resource sorts by the lowest of its values, descending by the highest; resources without a value come last either
way, and equal ones in the order of their rids (http://hl7.org/fhir/R4/search.html#sort leaves both to the server).
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, ScalarSelect, and_, false, func, or_, select

from authserver.fhir.search.ast import Position, SortKey
from authserver.fhir.store import tables
from authserver.fhir.store.comparisons import Column, Condition
from authserver.fhir.store.criteria import Parameters

# Index table -> the column that orders; a date by its beginning, a quantity by its lower bound.
_ORDERING: Final = {
    "token": "code",
    "reference": "target",
    "string": "folded",
    "date": "start",
    "quantity": "low",
}
_COLUMNS: Final = {"id": tables.resource.c.id, "last_updated": tables.resource.c.last_updated}


def key_name(number: int) -> str:
    """Return the name of the column that holds the value of the sort key at this place."""
    return f"key{number}"


def key_value(parameters: Parameters, resource_type: str, key: SortKey, rid: ColumnElement[int]) -> ScalarSelect[Any]:
    """Return the value by which the resource sorts; NULL when it has none."""
    if key.source in _COLUMNS:
        return select(_COLUMNS[key.source]).where(tables.resource.c.rid == rid).scalar_subquery()
    table = tables.INDEX_TABLES[key.source].alias()
    column = table.c[_ORDERING[key.source]]
    value = func.max(column) if key.descending else func.min(column)
    statement = select(value).where(table.c.rid == rid, table.c.param == parameters[resource_type, key.code])
    if key.source in ("token", "reference", "string"):
        # The row that only says that there is something (see Extractor.rows).
        statement = statement.where(column != "")
    return statement.scalar_subquery()


def order(rows: FromClause, keys: Sequence[SortKey]) -> list[Column]:
    """Return the ORDER BY of rows with the columns of the keys and rid."""
    clauses: list[Column] = []
    for number, key in enumerate(keys):
        value = rows.c[key_name(number)]
        if key.source not in _COLUMNS:
            clauses.append(value.is_(None))
        clauses.append(value.desc() if key.descending else value.asc())
    return [*clauses, rows.c.rid]


def behind(rows: FromClause, keys: Sequence[SortKey], position: Position) -> Condition:
    """Return the condition that a row comes behind the position in that order."""
    alternatives: list[Condition] = []
    same: list[Condition] = []
    for number, (key, last) in enumerate(zip(keys, position, strict=False)):
        value = rows.c[key_name(number)]
        if last is None:
            same.append(value.is_(None))
            continue
        later = value < last if key.descending else value > last
        alternatives.append(and_(*same, or_(later, value.is_(None))))
        same.append(value == last)
    return or_(false(), *alternatives, and_(*same, rows.c.rid > position[-1]))
