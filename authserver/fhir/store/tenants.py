"""Conditions on whose a row is: of one tenant, as almost always, or of several in a hierarchy (row X24)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, case

from authserver.fhir.constraint import Constraint
from authserver.fhir.store.comparisons import Condition


def in_tenants(column: ColumnElement[Any], constraint: Constraint) -> Condition:
    """Return the condition that the column names a tenant of which the constraint may reach anything."""
    return column == constraint.tenant if constraint.view is None else column.in_(constraint.tenants)


def rank(column: ColumnElement[Any], tenants: Sequence[str]) -> ColumnElement[int]:
    """Return the place of the column's tenant in the order, from 0; -1 when it is none of them."""
    return case({name: place for place, name in enumerate(tenants)}, value=column, else_=-1)
