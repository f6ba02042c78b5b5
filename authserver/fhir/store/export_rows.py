"""Read a whole type in one statement, row by row, from one state of the database.

What an export may reach is decided inside the statement: the constraint, the compartments, and whose they are.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    any_,
    cast,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
)

from authserver.fhir.bulk.ports import Compartments
from authserver.fhir.constraint import Constraint
from authserver.fhir.store import tables
from authserver.fhir.store.comparisons import Condition
from authserver.fhir.store.criteria import Compiler, Parameters
from authserver.fhir.store.port import Stored
from authserver.fhir.store.queries import CURRENT, read_statement, stored
from authserver.fhir.store.tenants import in_tenants

# Rows fetched at once: the most that is in memory of a type, however many it has.
_PORTION = 500
# Of this many patients the references lead; of more, the resources of the type do.
_FEW = 1_000


class SqlSnapshot:
    """A Snapshot over one connection, whose statements see one state of the database."""

    def __init__(self, connection: Connection, parameters: Parameters) -> None:
        self._connection = connection
        self._parameters = parameters

    def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
        """See Snapshot."""
        statement = read_statement(self._parameters, constraint, resource_type=resource_type, resource_id=resource_id)
        row = self._connection.execute(statement).one_or_none()
        return stored(row) if row is not None else None

    def rows(
        self,
        constraint: Constraint,
        resource_type: str,
        *,
        since: int | None = None,
        compartments: Compartments | None = None,
        also: int | None = None,
    ) -> Iterator[bytes]:
        """See Snapshot."""
        resource = tables.resource.c
        statement = self._type(constraint, resource_type).order_by(resource.rid)
        if since is not None:
            statement = statement.where(resource.last_updated > since)
        if compartments is not None:
            within = self._within(compartments, resource_type, constraint)
            statement = statement.where(or_(within, resource.rid == also) if also is not None else within)
        for row in self._connection.execute(statement, execution_options={"yield_per": _PORTION}):
            yield bytes(row.body)

    def _type(self, constraint: Constraint, resource_type: str) -> Select[Any]:
        compiler = Compiler(self._parameters, resource_type, constraint)
        return (
            select(tables.version.c.body)
            .join_from(tables.resource, tables.version, CURRENT)
            .where(
                compiler.allowed(),
                tables.resource.c.resource_type == resource_type,
                tables.resource.c.deleted == false(),
            )
        )

    def _within(self, compartments: Compartments, resource_type: str, constraint: Constraint) -> Condition:
        """Return the condition that the resource is in one of the compartments (CompartmentDefinition Patient)."""
        rid, target = tables.resource.c.rid, tables.reference.c.target
        # Each probe is a look-up of whole keys. OFFSET 0 keeps PostgreSQL from making a join of it, whose cost
        # without fresh statistics is the product of both sides.
        visible = exists(self._patient(compartments).correlate(tables.reference).offset(0))
        # An expression in place of the column: the look-up is by rid, not by each of the patients in turn.
        probe = self._references(compartments, resource_type, constraint, target=target + "")
        probe = probe.where(tables.reference.c.rid == rid, visible)
        refers: Condition = exists(probe.correlate(tables.resource).offset(0))
        if compartments.patients is not None and len(compartments.patients) <= _FEW:
            refers = and_(rid.in_(self._references(compartments, resource_type, constraint, target=target)), refers)
        if resource_type != "Patient":
            return refers
        compiler = Compiler(self._parameters, "Patient", compartments.constraint)
        named = self._named(tables.resource.c.id, compartments)
        own = and_(compiler.allowed(), named, *_member(compiler, compartments))
        return or_(own, refers)

    def _references(
        self, compartments: Compartments, resource_type: str, constraint: Constraint, *, target: ColumnElement[str]
    ) -> Select[Any]:
        """Return the select of the rid of each reference by which a resource of the type is in a compartment."""
        reference = tables.reference.c
        return select(reference.rid).where(
            in_tenants(reference.tenant, constraint),
            reference.param.in_([self._parameters[resource_type, code] for code in compartments.parameters]),
            reference.target_type == "Patient",
            self._named(target, compartments),
        )

    def _patient(self, compartments: Compartments) -> Select[Any]:
        """Return the select of the Patient that a reference points at, when the compartments' constraint reaches it."""
        columns = tables.resource.c
        compiler = Compiler(self._parameters, "Patient", compartments.constraint)
        meant = (*compiler.leads(tables.reference.c.tenant, tables.reference), *_member(compiler, compartments))
        return select(columns.rid).where(
            compiler.allowed(),
            columns.resource_type == "Patient",
            columns.id == tables.reference.c.target,
            columns.deleted == false(),
            *meant,
        )

    def _named(self, column: ColumnElement[str], compartments: Compartments) -> Condition:
        """Return the condition that the id is one of the patients, sent as one parameter however many they are."""
        if compartments.patients is None:
            return true()
        values = list(compartments.patients)
        if self._connection.dialect.name == "postgresql":
            return column == any_(cast(values, ARRAY(Text)))
        return column.in_(select(func.json_each(literal(values, JSON)).table_valued("value").c.value))


def _member(compiler: Compiler, compartments: Compartments) -> list[Condition]:
    """Return the conditions that a Patient is the one that the Group of an export means, and no namesake elsewhere."""
    if compartments.referred_from is None:
        return []
    return compiler.leads(literal(compartments.referred_from))
