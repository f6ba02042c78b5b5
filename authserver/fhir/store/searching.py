"""Answer searches of one type or of several at once: one page in order, what it includes, and how many there are.

Every statement carries the constraint before any LIMIT or count: what is hidden takes no place on a page.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, FromClause, Select, func, select, union_all

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import Position, SearchQuery, SortKey
from authserver.fhir.store import tables
from authserver.fhir.store.criteria import Parameters
from authserver.fhir.store.including import Inclusion
from authserver.fhir.store.links import Links
from authserver.fhir.store.port import Page
from authserver.fhir.store.queries import COLUMNS, CURRENT, Matches, stored
from authserver.fhir.store.sorting import Window, behind, key_name, key_value, order

Search = tuple[Constraint, SearchQuery]

_MANY_TYPES: Final = 8
"""Types of one search above which the store first asks of which there is anything."""


class Searches:
    """Runs the searches of one request over one connection; they differ in type, criteria and constraint alone."""

    def __init__(self, connection: Connection, parameters: Parameters, searches: Sequence[Search]) -> None:
        self._connection = connection
        self._parameters = parameters
        self._searches = searches
        self._constraint, self._query = searches[0]
        self._parts = [self._matches(*search) for search in self._with_resources(searches)]

    def page(self) -> Page:
        """Return the page that the query asks for."""
        total = self._total() if self._query.total != "none" else None
        if not self._query.count or not self._parts:
            return Page((), more=False, total=total)
        rows = self._found()
        here = rows[: self._query.count]
        matches = tuple(stored(row) for row in here)
        included, complete = Inclusion(self._connection, self._parameters, self._searches).of(matches)
        return Page(
            matches,
            more=len(rows) > len(here),
            included=included,
            all_included=complete,
            total=total,
            last=_position(here[-1], self._query.sort) if here else (),
        )

    def _with_resources(self, searches: Sequence[Search]) -> Sequence[Search]:
        if len(searches) <= _MANY_TYPES:
            return searches
        types = {name for tenant in self._constraint.tenants for name in _types(self._connection, tenant)}
        return [(constraint, query) for constraint, query in searches if query.resource_type in types]

    def _matches(self, constraint: Constraint, query: SearchQuery) -> tuple[str, Matches]:
        links = Links(self._connection, self._parameters, constraint)
        criteria = links.resolved(query.resource_type, query.criteria)
        matches = Matches(
            self._connection, self._parameters, constraint, resource_type=query.resource_type, criteria=criteria
        )
        return query.resource_type, matches

    def _total(self) -> int:
        return sum(self._connection.scalar(matches.count()) or 0 for _, matches in self._parts)

    def _found(self) -> Sequence[Any]:
        """Return the rows of the page and one more when there are more."""
        window = self._window()
        if window is not None:
            rows = self._connection.execute(self._statement(window)).all()
            if len(rows) > self._query.count:
                return rows
        return self._connection.execute(self._statement()).all()

    def _window(self) -> Select[Any] | None:
        if len(self._parts) != 1 or not self._query.sort or not self._parts[0][1].walks:
            return None
        if self._constraint.view is not None:
            # The index by date has one order in each tenant, and none over several.
            return None
        window = Window(self._connection, self._parameters, self._constraint.tenant)
        return window.of(self._parts[0][0], self._query.sort, self._query.after)

    def _statement(self, among: Select[Any] | None = None) -> Select[Any]:
        """Return the statement of the page; it yields one row more than the page holds when there are more."""
        rows = self._rows(among)
        keys = [rows.c[key_name(number)] for number in range(len(self._query.sort))]
        return (
            select(*COLUMNS, *keys)
            .join_from(rows, tables.resource, tables.resource.c.rid == rows.c.rid)
            .join(tables.version, CURRENT)
            .order_by(*order(rows, self._query.sort))
        )

    def _rows(self, among: Select[Any] | None) -> FromClause:
        """Return rid and sort keys of the page's rows, of all types together."""
        parts = [self._part(resource_type, matches, among).subquery() for resource_type, matches in self._parts]
        if len(parts) == 1:
            return parts[0]
        together = union_all(*(select(part) for part in parts)).subquery()
        return select(together).order_by(*order(together, self._query.sort)).limit(self._query.count + 1).subquery()

    def _part(self, resource_type: str, matches: Matches, among: Select[Any] | None) -> Select[Any]:
        query = self._query
        if not query.sort:
            after = query.after[-1] if query.after else 0
            return matches.in_order(after=int(after or 0)).limit(query.count + 1)
        found = matches.rids(among=among).subquery()
        values = (
            key_value(self._parameters, resource_type, key, found.c.rid).label(key_name(number))
            for number, key in enumerate(query.sort)
        )
        keyed = select(found.c.rid, *values).subquery()
        statement = select(keyed).order_by(*order(keyed, query.sort)).limit(query.count + 1)
        return statement.where(behind(keyed, query.sort, query.after)) if query.after else statement


def _position(row: Any, sort: Sequence[SortKey]) -> Position:
    return (*(getattr(row, key_name(number)) for number in range(len(sort))), row.rid)


def _types(connection: Connection, tenant: str) -> set[str]:
    """Return the types of which the tenant has any, with one look-up for each of them."""
    columns = tables.resource.c
    found: set[str] = set()
    last = ""
    while True:
        following = select(func.min(columns.resource_type)).where(columns.tenant == tenant)
        last = connection.scalar(following.where(columns.resource_type > last)) or ""
        if not last:
            return found
        found.add(last)
