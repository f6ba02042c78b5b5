"""The store over SQL: SQLite for one process, PostgreSQL for many. Knows statements; knows no HTTP."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select

from authserver.errors import Forbidden, StorageUnavailable
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.store import tables
from authserver.fhir.store.engine import WRITE_CONFLICT, make_engine, reading, writing
from authserver.fhir.store.export_jobs import SqlExportJobs
from authserver.fhir.store.export_rows import SqlSnapshot
from authserver.fhir.store.port import FhirSession, HistoryPage, HistoryQuery, Page, Stored, T, Version, WriteResult
from authserver.fhir.store.queries import read_statement, stored
from authserver.fhir.store.schema import CURSOR_SECRET, load_parameters, upgrade
from authserver.fhir.store.searching import Searches
from authserver.fhir.store.session import SqlSession
from authserver.fhir.store.versions import VersionReader
from authserver.fhir.store.writing import Writer, check

_ATTEMPTS = 8


class SqlStore:
    """A FhirStore over one SQLAlchemy engine. Made by open_store()."""

    def __init__(self, engine: Engine, definitions: Definitions) -> None:
        self._engine = engine
        self._resource_types = definitions.resource_types
        self._extractor = Extractor(definitions)
        with reading(engine) as connection:
            self._parameters = load_parameters(connection)
            secret = connection.scalar(select(tables.meta.c.value).where(tables.meta.c.name == CURSOR_SECRET))
        if secret is None:
            raise StorageUnavailable(detail="the store has no cursor secret")
        self._cursor_secret: bytes = secret

    @property
    def cursor_secret(self) -> bytes:
        """See FhirStore."""
        return self._cursor_secret

    @property
    def resource_types(self) -> frozenset[str]:
        """See FhirStore."""
        return self._resource_types

    def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
        """See FhirStore."""
        statement = read_statement(self._parameters, constraint, resource_type=resource_type, resource_id=resource_id)
        with self._reading() as connection:
            row = connection.execute(statement).one_or_none()
        return stored(row) if row is not None else None

    def search(self, constraint: Constraint, query: SearchQuery) -> Page:
        """See FhirStore."""
        return self.search_types([(constraint, query)])

    def search_types(self, searches: Sequence[tuple[Constraint, SearchQuery]]) -> Page:
        """See FhirStore."""
        with self._reading() as connection:
            return Searches(connection, self._parameters, searches).page()

    def put(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], *, now: int) -> list[WriteResult]:
        """See FhirStore."""
        writer = self._writer(constraint, resources, now)
        return self._repeated(lambda connection: writer.put(connection, resources))

    def add(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], *, now: int) -> None:
        """See FhirStore."""
        writer = self._writer(constraint, resources, now)
        self._repeated(lambda connection: writer.add(connection, resources))

    def _writer(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], now: int) -> Writer:
        if not constraint.is_everything:
            raise Forbidden(detail="writing under criteria is not supported")
        check(resources, self._resource_types)
        return Writer(self._extractor, self._parameters, constraint.tenant, now)

    def version(
        self, constraint: Constraint, resource_type: str, resource_id: str, version_id: int | None
    ) -> Version | None:
        """See FhirReads."""
        with self._reading() as connection:
            reader = VersionReader(connection, self._extractor, self._parameters)
            return reader.one(constraint, resource_type, resource_id, version_id=version_id)

    def history(self, constraints: Mapping[str, Constraint], query: HistoryQuery) -> HistoryPage:
        """See FhirReads."""
        with self._reading() as connection:
            return VersionReader(connection, self._extractor, self._parameters).history(constraints, query)

    def transact(self, work: Callable[[FhirSession], T]) -> T:
        """See FhirStore."""

        def run(connection: Connection) -> T:
            bound = _BoundStore(self, connection)
            return work(SqlSession(bound, connection, self._extractor, self._parameters))

        return self._repeated(run)

    def _reading(self) -> AbstractContextManager[Connection]:
        return reading(self._engine)

    def _repeated(self, work: Callable[[Connection], T]) -> T:
        """Run the work in a transaction, again and again as long as another writer was first."""
        for _ in range(_ATTEMPTS):
            try:
                with writing(self._engine) as connection:
                    return work(connection)
            except StorageUnavailable as error:
                # Another writer was first with the same id or version: look again at what is there.
                if error.reason != WRITE_CONFLICT:
                    raise
        raise StorageUnavailable(detail="too many writers of one resource", reason=WRITE_CONFLICT)

    @property
    def export_jobs(self) -> SqlExportJobs:
        """See ExportStore."""
        return SqlExportJobs(self._engine)

    @property
    def folder(self) -> Path | None:
        """See ExportStore."""
        url = self._engine.url
        in_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        return Path(str(url.database)).parent if in_file else None

    @contextmanager
    def snapshot(self) -> Iterator[SqlSnapshot]:
        """See ExportStore."""
        with reading(self._engine) as connection:
            yield SqlSnapshot(connection, self._parameters)

    def analyze(self) -> None:
        """Let the database count what its tables hold, as its planner wants it after much was loaded."""
        with writing(self._engine) as connection:
            connection.exec_driver_sql("ANALYZE")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class _BoundStore(SqlStore):
    """The same store, reading over the connection of a transaction."""

    def __init__(self, store: SqlStore, connection: Connection) -> None:
        self.__dict__.update(store.__dict__)
        self._connection = connection

    def _reading(self) -> AbstractContextManager[Connection]:
        return nullcontext(self._connection)


def open_store(url: str, definitions: Definitions, *, for_loading: bool = False) -> SqlStore:
    """Return the store at this SQLAlchemy URL, its schema brought up to date; `for_loading`: to write very much.

    Raises StorageUnavailable when the database does not answer or is newer than this program.
    """
    engine = make_engine(url, for_loading=for_loading)
    try:
        upgrade(engine, definitions)
        return SqlStore(engine, definitions)
    except StorageUnavailable:
        engine.dispose()
        raise
