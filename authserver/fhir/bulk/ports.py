"""What exporting needs of a store: a table of jobs with leases, and a snapshot to read from.

A store that has none of this still serves everything but the export.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from authserver.fhir.bulk.job import ExportJob, Output
from authserver.fhir.constraint import Constraint
from authserver.fhir.store.port import FhirStore, Stored


@dataclass(frozen=True, slots=True)
class Compartments:
    """Whose compartments an export reads: the Patients that the constraint reaches, and of these only `patients`.

    `patients` None: all of them. `parameters` are the codes by which the type at hand is in a compartment.
    `referred_from` is the tenant of the Group that names the patients, None when the export itself names them.
    """

    constraint: Constraint
    patients: tuple[str, ...] | None
    parameters: tuple[str, ...]
    referred_from: str | None = None


class Snapshot(Protocol):
    """One state of the store, however long the reading takes."""

    def read(self, constraint: Constraint, resource_type: str, resource_id: str) -> Stored | None:
        """Return the version current in this state, or None when there is none that the constraint reaches."""

    def rows(
        self,
        constraint: Constraint,
        resource_type: str,
        *,
        since: int | None = None,
        compartments: Compartments | None = None,
        also: int | None = None,
    ) -> Iterator[bytes]:
        """Yield the body of each resource of the type that the constraint reaches, in the order of their creation.

        `since` (microseconds) leaves out what did not change after it, `compartments` what is in none of them,
        except the resource at the position `also`.
        """


class ExportJobs(Protocol):
    """The jobs of every process. A job is worked on by whoever holds its lease. Raises StorageUnavailable only.

    `now`, `until` and `expires_at` are epoch seconds.
    """

    def create(self, job: ExportJob, *, limit: int) -> bool:
        """Queue the job, unless the client has `limit` unfinished ones in the tenant: then False."""

    def find(self, job_id: str, *, client_id: str, tenant: str) -> ExportJob | None:
        """Return the job of this client in this tenant; anybody else's is None."""

    def delete(self, job_id: str, *, client_id: str, tenant: str) -> bool:
        """Forget the job of this client; its worker notices at the next renewal. False when there is none."""

    def claim(self, owner: str, *, now: int, until: int) -> ExportJob | None:
        """Take the oldest job that nobody holds, and count the attempt; None when there is none."""

    def renew(self, job: ExportJob, owner: str, *, until: int, progress: int) -> bool:
        """Hold the job longer; False when it is gone or somebody else's."""

    def finish(
        self, job: ExportJob, owner: str, *, outputs: Sequence[Output], transaction_time: int, expires_at: int
    ) -> bool:
        """Mark the job as done; False when it is gone or somebody else's."""

    def fail(self, job: ExportJob, owner: str, *, expires_at: int) -> bool:
        """Mark the job as failed for good; False when it is gone or somebody else's."""

    def give_up(self, *, attempts: int, now: int, expires_at: int) -> int:
        """Mark as failed what was begun this often and is held by nobody; return how many."""

    def purge(self, *, now: int) -> list[str]:
        """Forget the jobs that expired; return their ids."""

    def ids(self) -> frozenset[str]:
        """Return the id of every job."""


@runtime_checkable
class ExportStore(FhirStore, Protocol):
    """A store that can be exported from."""

    @property
    def export_jobs(self) -> ExportJobs:
        """The table of jobs."""

    @property
    def folder(self) -> Path | None:
        """The folder of the database, when it is a file."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a snapshot. Raises StorageUnavailable, also while it is read."""
