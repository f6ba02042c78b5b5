"""The table of export jobs: leases, so that of several processes one works on a job, and a limit for each client.

Every change names the owner and the state that it expects; who comes too late changes nothing.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Update, and_, delete, func, insert, or_, select, update

from authserver.fhir.bulk.job import (
    UNFINISHED,
    ExportJob,
    Output,
    decode_outputs,
    decode_spec,
    encode_outputs,
)
from authserver.fhir.store.comparisons import Condition
from authserver.fhir.store.engine import reading, writing
from authserver.fhir.store.tables import export_job

# Any fixed number serves; it must differ from those of other users of the database.
_LOCK = 0x46484A42


class SqlExportJobs:
    """ExportJobs over SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, job: ExportJob, *, limit: int) -> bool:
        """See ExportJobs."""
        columns = export_job.c
        same_client = and_(columns.tenant == job.tenant, columns.client_id == job.client_id)
        unfinished = select(func.count()).where(same_client, columns.state.in_(UNFINISHED))
        with writing(self._engine) as connection:
            _one_at_a_time(connection)
            if connection.execute(unfinished).scalar_one() >= limit:
                return False
            connection.execute(insert(export_job).values(**_row(job)))
        return True

    def find(self, job_id: str, *, client_id: str, tenant: str) -> ExportJob | None:
        """See ExportJobs."""
        with reading(self._engine) as connection:
            row = connection.execute(select(export_job).where(_of(job_id, client_id, tenant))).one_or_none()
        return _job(row) if row is not None else None

    def delete(self, job_id: str, *, client_id: str, tenant: str) -> bool:
        """See ExportJobs."""
        statement = delete(export_job).where(_of(job_id, client_id, tenant)).returning(export_job.c.id)
        with writing(self._engine) as connection:
            return connection.execute(statement).one_or_none() is not None

    def claim(self, owner: str, *, now: int, until: int) -> ExportJob | None:
        """See ExportJobs."""
        columns = export_job.c
        free = or_(columns.state == "queued", _abandoned(now))
        oldest = select(columns.id).where(free).order_by(columns.created_at, columns.id).limit(1)
        with writing(self._engine) as connection:
            # SQLite's writers come one after the other; PostgreSQL's pass over a row that another one is taking.
            job_id = connection.execute(oldest.with_for_update(skip_locked=True)).scalar_one_or_none()
            if job_id is None:
                return None
            taken = update(export_job).where(columns.id == job_id)
            values = {"state": "running", "owner": owner, "leased_until": until, "progress": 0}
            statement = taken.values(attempt=columns.attempt + 1, **values).returning(export_job)
            return _job(connection.execute(statement).one())

    def renew(self, job: ExportJob, owner: str, *, until: int, progress: int) -> bool:
        """See ExportJobs."""
        return self._change(_held(job, owner).values(leased_until=until, progress=progress))

    def finish(
        self, job: ExportJob, owner: str, *, outputs: Sequence[Output], transaction_time: int, expires_at: int
    ) -> bool:
        """See ExportJobs."""
        result = {"outputs": encode_outputs(tuple(outputs)), "transaction_time": transaction_time}
        return self._change(_held(job, owner).values(state="done", expires_at=expires_at, **result))

    def fail(self, job: ExportJob, owner: str, *, expires_at: int) -> bool:
        """See ExportJobs."""
        return self._change(_held(job, owner).values(state="failed", expires_at=expires_at))

    def give_up(self, *, attempts: int, now: int, expires_at: int) -> int:
        """See ExportJobs."""
        tired = and_(_abandoned(now), export_job.c.attempt >= attempts)
        statement = update(export_job).where(tired).values(state="failed", expires_at=expires_at)
        with writing(self._engine) as connection:
            return len(connection.execute(statement.returning(export_job.c.id)).all())

    def purge(self, *, now: int) -> list[str]:
        """See ExportJobs."""
        expired = delete(export_job).where(export_job.c.expires_at <= now).returning(export_job.c.id)
        with writing(self._engine) as connection:
            return [row.id for row in connection.execute(expired)]

    def ids(self) -> frozenset[str]:
        """See ExportJobs."""
        with reading(self._engine) as connection:
            return frozenset(connection.execute(select(export_job.c.id)).scalars())

    def _change(self, statement: Update) -> bool:
        with writing(self._engine) as connection:
            return connection.execute(statement.returning(export_job.c.id)).one_or_none() is not None


def _one_at_a_time(connection: Connection) -> None:
    """Make kick-offs wait for each other, so that no two of them count the same jobs; SQLite's do anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _of(job_id: str, client_id: str, tenant: str) -> Condition:
    columns = export_job.c
    return and_(columns.id == job_id, columns.client_id == client_id, columns.tenant == tenant)


def _abandoned(now: int) -> Condition:
    return and_(export_job.c.state == "running", export_job.c.leased_until < now)


def _held(job: ExportJob, owner: str) -> Update:
    """Return an update of the job as long as the owner holds this very attempt."""
    columns = export_job.c
    same_attempt = and_(columns.owner == owner, columns.attempt == job.attempt, columns.state == "running")
    return update(export_job).where(columns.id == job.id, same_attempt)


def _row(job: ExportJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "client_id": job.client_id,
        "tenant": job.tenant,
        "request_url": job.request_url,
        "spec": job.spec.encoded(),
        "created_at": job.created_at,
        "state": job.state,
        "attempt": job.attempt,
        "progress": job.progress,
        "outputs": encode_outputs(job.outputs),
    }


def _job(row: Row[Any]) -> ExportJob:
    return ExportJob(
        id=row.id,
        client_id=row.client_id,
        tenant=row.tenant,
        request_url=row.request_url,
        spec=decode_spec(row.spec),
        created_at=row.created_at,
        state=row.state,
        attempt=row.attempt,
        progress=row.progress,
        transaction_time=row.transaction_time,
        expires_at=row.expires_at,
        outputs=decode_outputs(row.outputs),
    )
