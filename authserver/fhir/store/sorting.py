"""Order by search parameters, and go on behind a position in that order: keysets, never offsets.

A resource sorts by the lowest of its values, descending by the highest; resources without a value come last either
way, and equal ones in the order of their rids (http://hl7.org/fhir/R4/search.html#sort leaves both to the server).
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, ScalarSelect, Select, and_, false, func, or_, select

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
_WINDOW: Final = 2_000
"""Values of a date that a page is looked for in first."""
_COLUMNS: Final = {"id": tables.resource.c.id, "last_updated": tables.resource.c.last_updated}


class Window:
    """The rids that come first in the order of a date, behind a position: enough of them for most pages.

    A search that no criterion leads would sort a whole type for one page. The index by the date's beginning lies in
    that order; who has a value within the window comes before all others, so a page that it fills is the right one.
    """

    def __init__(self, connection: Connection, parameters: Parameters, tenant: str) -> None:
        self._connection = connection
        self._parameters = parameters
        self._tenant = tenant

    def of(self, resource_type: str, keys: Sequence[SortKey], after: Position) -> Select[Any] | None:
        """Return the select of the rids, None when the first key is no date or few resources are left behind it."""
        first = keys[0]
        last = after[0] if after else None
        if first.source != "date" or (after and last is None):
            return None
        columns, descending = tables.date.c, first.descending
        param = self._parameters[resource_type, first.code]
        rows = select(columns.rid).where(columns.tenant == self._tenant, columns.param == param)
        if last is not None:
            rows = rows.where(columns.start <= last if descending else columns.start >= last)
        ordered = rows.with_only_columns(columns.start).order_by(columns.start.desc() if descending else columns.start)
        edge = self._connection.scalar(ordered.offset(_WINDOW).limit(1))
        if edge is None:
            return None
        return rows.where(columns.start >= edge if descending else columns.start <= edge)


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
