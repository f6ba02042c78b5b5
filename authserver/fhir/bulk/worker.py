"""Work export jobs off beside the requests, one at a time in each process, and remove what has expired.

The thread lives as long as there are jobs. A job whose worker died is taken up again when its lease has run out.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator

from authserver import clock
from authserver.errors import AuthServerError
from authserver.fhir.bulk.files import ExportFiles
from authserver.fhir.bulk.job import ExportJob, Output
from authserver.fhir.bulk.ports import ExportStore
from authserver.fhir.bulk.rights import ExportRights
from authserver.fhir.bulk.source import ExportSource
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request_log import RequestLog

LEASE_SECONDS = 30
RENEWAL_SECONDS = 5
MAX_ATTEMPTS = 3
POLL_SECONDS = 2.0

_LINES_BETWEEN_LOOKS = 200


class LeaseLost(Exception):
    """The job was deleted, or somebody else works on it now."""


class ExportWorker:
    """Works on the jobs of one store; `lifetime` (seconds) is how long files are kept. start() and stop() it."""

    def __init__(
        self,
        store: ExportStore,
        files: ExportFiles,
        *,
        definitions: Definitions,
        rights: ExportRights,
        log: RequestLog,
        lifetime: int,
        now: Callable[[], int] = clock.now,
    ) -> None:
        self._store, self._jobs, self._files = store, store.export_jobs, files
        self._compartment, self._rights = definitions.patient_compartment, rights
        self._log, self._lifetime, self._now = log, lifetime, now
        self._owner = secrets.token_hex(8)
        self._lock, self._wakened, self._stopping = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def resume(self) -> None:
        """Begin when there are jobs from before. Raises StorageUnavailable."""
        if self._jobs.ids():
            self.wake()

    def wake(self) -> None:
        """Look for work now; starts the thread when none runs."""
        with self._lock:
            self._wakened.set()
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="bulk-export", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End for good, after the lines being written; the job under way is given back."""
        self._stopping.set()
        self._wakened.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def work(self) -> bool:
        """Do all that can be done now, in this thread; say whether jobs are left to look after."""
        now = self._now()
        for job_id in self._jobs.purge(now=now):
            self._files.remove(job_id)
        self._jobs.give_up(attempts=MAX_ATTEMPTS, now=now, expires_at=now + self._lifetime)
        while not self._stopping.is_set() and (job := self._claim()):
            self._attempt(job)
        # Listed before the jobs are: a directory made meanwhile is not among them.
        written = self._files.job_ids()
        left = self._jobs.ids()
        for job_id in written - left:
            self._files.remove(job_id)
        return bool(left)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wakened.clear()
            left = self._round()
            with self._lock:
                if not left and not self._wakened.is_set():
                    self._thread = None
                    return
            self._wakened.wait(POLL_SECONDS)

    def _round(self) -> bool:
        try:
            return self.work()
        except Exception as error:  # noqa: BLE001 -- a thread that dies here would leave every job where it is
            self._log.record("export_round_failed", error=type(error).__name__)
            return True

    def _claim(self) -> ExportJob | None:
        now = self._now()
        return self._jobs.claim(self._owner, now=now, until=now + LEASE_SECONDS)

    def _attempt(self, job: ExportJob) -> None:
        """Work on the job; when it fails, leave it to its lease, or for good after the last attempt."""
        try:
            self._export(job)
        except LeaseLost:
            self._files.clear(job)
        except Exception as error:  # noqa: BLE001 -- one job that cannot be done must not stop the others
            self._files.clear(job)
            detail = error.detail if isinstance(error, AuthServerError) else ""
            self._log.record(
                "export_failed", job=job.id, attempt=job.attempt, error=type(error).__name__, detail=detail
            )
            if job.attempt >= MAX_ATTEMPTS:
                self._jobs.fail(job, self._owner, expires_at=self._now() + self._lifetime)

    def _export(self, job: ExportJob) -> None:
        # Read before the snapshot is opened: what changes between the two comes again with the next `_since`.
        transaction_time = clock.now_microseconds()
        outputs: list[Output] = []
        lease = _Lease(lambda progress: self._hold(job, progress), is_due=self._is_due, now=self._now)
        with self._store.snapshot() as snapshot:
            source = ExportSource(snapshot, job, rights=self._rights)
            for done, resource_type in enumerate(job.spec.types):
                rows = source.rows(resource_type, self._compartment.get(resource_type, ()))
                output = self._files.write(job, resource_type, lease.watching(rows, done))
                if output is not None:
                    outputs.append(output)
        expires_at = self._now() + self._lifetime
        if not self._jobs.finish(
            job, self._owner, outputs=outputs, transaction_time=transaction_time, expires_at=expires_at
        ):
            raise LeaseLost
        self._files.remove(job.id, keep_attempt=job.attempt)
        self._log.record("export_finished", job=job.id, resources=sum(output.count for output in outputs))

    def _is_due(self, seconds: int) -> bool:
        return seconds >= RENEWAL_SECONDS or self._stopping.is_set()

    def _hold(self, job: ExportJob, progress: int) -> None:
        """Renew the lease, or give it back at once when this worker is to stop."""
        stopping = self._stopping.is_set()
        until = 0 if stopping else self._now() + LEASE_SECONDS
        if not self._jobs.renew(job, self._owner, until=until, progress=progress) or stopping:
            raise LeaseLost


class _Lease:
    """Holds one job while its lines are written; `hold` renews and raises LeaseLost."""

    def __init__(self, hold: Callable[[int], None], *, is_due: Callable[[int], bool], now: Callable[[], int]) -> None:
        self._hold, self._is_due, self._now = hold, is_due, now
        self._last = now()

    def watching(self, rows: Iterable[bytes], progress: int) -> Iterator[bytes]:
        """Yield the rows; `progress` types are done. Raises LeaseLost when the job is no longer this worker's."""
        self._look(progress)
        for number, row in enumerate(rows, 1):
            yield row
            if number % _LINES_BETWEEN_LOOKS == 0:
                self._look(progress)

    def _look(self, progress: int) -> None:
        now = self._now()
        if self._is_due(now - self._last):
            self._hold(progress)
            self._last = now
