"""The store as the rest of the FHIR layer sees it. Every method takes the caller's Constraint first."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import Position, SearchQuery

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource; `body` is its JSON, `last_updated` microseconds since the epoch, UTC.

    `position` grows with every new resource of the store and orders search results that are not sorted otherwise;
    `tenant` is whose the resource is.
    """

    position: int
    resource_type: str
    id: str
    version_id: int
    last_updated: int
    body: bytes
    tenant: str

    def version_tag(self, tenant: str) -> str:
        """Return how entity tags name this version to a caller of the tenant: by its number, another's by both.

        A namesake's version of the same number is another one then: nobody writes over what was not read.
        """
        return str(self.version_id) if self.tenant == tenant else f"{self.version_id}.{self.tenant}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of matches in the order asked for; `more` says whether another page follows, behind `last`.

    `included` are the resources that go with these matches, each once; `all_included` is false when a limit cut some
    off. `total` counts the matches of all pages, if that was asked for.
    """

    matches: tuple[Stored, ...]
    more: bool
    included: tuple[Stored, ...] = ()
    all_included: bool = True
    total: int | None = None
    last: Position = ()


@dataclass(frozen=True, slots=True)
class WriteResult:
    """How a write went: the version that is now current, and whether the write made it; `made` is that version then."""

    resource_type: str
    id: str
    version_id: int
    changed: bool
    made: Stored | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left: the current version, whether the id was free before, whether there is a new version."""

    stored: Stored
    created: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class Version:
    """One version and the method that made it; a deletion has no body."""

    stored: Stored
    method: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A history: of these types, of one id or all, from `since` until `until` (microseconds, end excluded).

    `after` is where the page before ended, None for the first page.
    """

    resource_types: tuple[str, ...]
    resource_id: str | None = None
    since: int | None = None
    until: int | None = None
    count: int = 20
    after: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of versions, newest first; `next_after` is None on the last; `total` is known of one resource alone."""

    versions: tuple[Version, ...]
    next_after: int | None
    total: int | None


class FhirReads(Protocol):
    """Versioned resources with their search indexes, for reading."""

    @property
    def cursor_secret(self) -> bytes:
        """32 random bytes, the same for every process on this store, for signing paging cursors."""

    @property
    def resource_types(self) -> frozenset[str]:
        """The resource types that can be stored."""

    def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
        """Return the current version, or None when there is none that the constraint reaches.

        Of several tenants' resources with this name it is that of the first of the constraint's tenants.
        """

    def search(self, constraint: Constraint, query: SearchQuery) -> Page:
        """Return the resources that match the query and that the constraint reaches.

        Other types that the query looks at or includes are reached as far as the constraint says of them.
        """

    def search_types(self, searches: Sequence[tuple[Constraint, SearchQuery]]) -> Page:
        """Return one page of several searches, one for each type; only type, criteria and alternatives may differ."""

    def version(
        self, constraint: Constraint, resource_type: str, resource_id: str, version_id: int | None
    ) -> Version | None:
        """Return the version, None meaning the current one, deletions included; None when the constraint hides it."""

    def history(self, constraints: Mapping[str, Constraint], query: HistoryQuery) -> HistoryPage:
        """Return a page of the versions that their type's constraint reaches, each by its own content.

        `constraints` has the types of the query and no other, all in one tenant.
        """


class FhirSession(Protocol):
    """One transaction: what it writes is committed together, or not at all when an error passes through."""

    @property
    def reads(self) -> FhirReads:
        """Everything that can be read, as this transaction sees it."""

    def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
        """Return the current version as FhirReads does, held for this transaction against other writers."""

    def search(self, constraint: Constraint, query: SearchQuery) -> Page:
        """Search as FhirReads does; until the end nobody else's session searches the type."""

    def reached(self, constraint: Constraint, resource_type: str, ids: Collection[str]) -> frozenset[str]:
        """Return which of the ids are resources that the constraint reaches."""

    def put(self, constraint: Constraint, resource: Mapping[str, Any], *, method: str, now: int) -> Written:
        """Create or update one resource; `method` (POST, PUT, PATCH) is for the history, `now` in microseconds.

        Equal content makes no new version. Raises NotFound when the constraint hides the stored state, and for a
        free id unless it reaches everything or the method is POST; Forbidden when it would hide the new state;
        InvalidResource for what cannot be stored.
        """

    def delete(self, constraint: Constraint, resource_type: str, resource_id: str, *, now: int) -> Stored | None:
        """Delete the resource; return the version that says so, or None when the constraint reaches no resource."""


class FhirStore(FhirReads, Protocol):
    """Resources for reading and writing. Raises StorageUnavailable, and nothing else of its own."""

    def transact(self, work: Callable[[FhirSession], T]) -> T:
        """Run the work in one transaction and return its result; it runs again when another writer was first."""

    def put(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], *, now: int) -> list[WriteResult]:
        """Create or update all the resources in one transaction; `now` is in microseconds.

        Content equal to the current version's makes no new version. Raises InvalidResource for an unknown
        type, a missing or repeated id and content that JSON cannot hold, and Forbidden for a constraint
        narrower than its tenant: writing under criteria is not supported yet.
        """

    def add(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], *, now: int) -> None:
        """Create all the resources in one transaction, each under an id made for it, which nobody has.

        Saves looking for what is there. Raises StorageUnavailable for an id that is taken, and what put() raises.
        """
