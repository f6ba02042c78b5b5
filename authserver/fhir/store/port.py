"""The store as the rest of the FHIR layer sees it. Every method takes the caller's Constraint first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import Position, SearchQuery


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource; `body` is its JSON, `last_updated` microseconds since the epoch, UTC.

    `position` grows with every new resource of the store and orders search results that are not sorted otherwise.
    """

    position: int
    resource_type: str
    id: str
    version_id: int
    last_updated: int
    body: bytes


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
    """How a write went: the version that is now current, and whether the write made it."""

    resource_type: str
    id: str
    version_id: int
    changed: bool


class FhirStore(Protocol):
    """Versioned resources with their search indexes. Raises StorageUnavailable, and nothing else of its own."""

    @property
    def cursor_secret(self) -> bytes:
        """32 random bytes, the same for every process on this store, for signing paging cursors."""

    @property
    def resource_types(self) -> frozenset[str]:
        """The resource types that can be stored."""

    def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
        """Return the current version, or None when there is none that the constraint reaches."""

    def search(self, constraint: Constraint, query: SearchQuery) -> Page:
        """Return the resources that match the query and that the constraint reaches.

        Other types that the query looks at or includes are reached as far as the constraint says of them.
        """

    def search_types(self, searches: Sequence[tuple[Constraint, SearchQuery]]) -> Page:
        """Return one page of several searches, one for each type; only type, criteria and alternatives may differ."""

    def put(self, constraint: Constraint, resources: Sequence[Mapping[str, Any]], *, now: int) -> list[WriteResult]:
        """Create or update all the resources in one transaction; `now` is in microseconds.

        Content equal to the current version's makes no new version. Raises InvalidResource for an unknown
        type, a missing or repeated id and content that JSON cannot hold, and Forbidden for a constraint
        narrower than its tenant: writing under criteria is not supported yet.
        """
