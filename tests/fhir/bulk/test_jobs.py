"""One suite for every database: the table of jobs, its leases, its limit and its owners."""

import threading
from dataclasses import replace

import pytest

from authserver.fhir.bulk.job import ExportJob, ExportSpec, Output
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.bulk.builders import NOW, SPEC, make_job

SPECS = [
    SPEC,
    ExportSpec("group", ("Group",), "system/*.rs", "g1", since=5, patients=("a", "b")),
    ExportSpec("patient", (), "", patients=()),
]


def _claim(store: SqlStore, owner: str = "w", *, now: int = NOW) -> ExportJob | None:
    return store.export_jobs.claim(owner, now=now, until=now + 30)


def _found(store: SqlStore, job: ExportJob) -> ExportJob | None:
    return store.export_jobs.find(job.id, client_id=job.client_id, tenant=job.tenant)


@pytest.mark.parametrize("spec", SPECS)
def test_what_was_asked_is_what_is_found(store: SqlStore, spec: ExportSpec) -> None:
    job = make_job(spec=spec)

    assert store.export_jobs.create(job, limit=1)
    assert _found(store, job) == job


@pytest.mark.parametrize("other", [{"client_id": "other"}, {"tenant": "t"}, {"id": "1" * 32}])
def test_a_job_is_its_clients_alone(store: SqlStore, other: dict[str, str]) -> None:
    """K3, threat H10: another client or tenant neither finds nor deletes it."""
    job = make_job()
    store.export_jobs.create(job, limit=1)
    stranger = replace(job, **other)  # type: ignore[arg-type] # one of three members

    assert _found(store, stranger) is None
    assert not store.export_jobs.delete(stranger.id, client_id=stranger.client_id, tenant=stranger.tenant)
    assert _found(store, job) == job
    assert store.export_jobs.delete(job.id, client_id=job.client_id, tenant=job.tenant)
    assert _found(store, job) is None


def test_the_limit_counts_the_unfinished_jobs_of_one_client(store: SqlStore) -> None:
    jobs = store.export_jobs
    accepted = [jobs.create(make_job(number), limit=2) for number in range(3)]
    others = [jobs.create(make_job(8, client_id="other"), limit=2), jobs.create(make_job(9, tenant="t"), limit=2)]
    first = _claim(store)
    assert first is not None
    while_running = jobs.create(make_job(4), limit=2)
    jobs.finish(first, "w", outputs=(), transaction_time=0, expires_at=NOW + 60)

    assert (accepted, others, while_running) == ([True, True, False], [True, True], False)
    assert jobs.create(make_job(5), limit=2)


def test_kick_offs_at_once_do_not_pass_the_limit(store: SqlStore) -> None:
    accepted: list[bool] = []

    def create(number: int) -> None:
        accepted.append(store.export_jobs.create(make_job(number), limit=3))

    _together(create)

    assert sorted(accepted) == [False] * 5 + [True] * 3


def test_the_oldest_job_is_claimed_first_and_once(store: SqlStore) -> None:
    for number in (2, 1):
        store.export_jobs.create(make_job(number), limit=9)

    claimed = [_claim(store, owner) for owner in ("a", "b", "c")]

    assert [job and (job.id, job.state, job.attempt) for job in claimed] == [
        (make_job(1).id, "running", 1),
        (make_job(2).id, "running", 1),
        None,
    ]


def test_of_several_workers_one_gets_each_job(store: SqlStore) -> None:
    for number in range(3):
        store.export_jobs.create(make_job(number), limit=9)
    claimed: list[ExportJob | None] = []

    _together(lambda number: claimed.append(_claim(store, f"w{number}")))

    assert sorted(job.id for job in claimed if job) == [make_job(number).id for number in range(3)]
    assert claimed.count(None) == 5


def test_a_lease_that_is_renewed_is_not_taken_over(store: SqlStore) -> None:
    store.export_jobs.create(make_job(), limit=1)
    job = _claim(store, "a")
    assert job is not None

    assert _claim(store, "b", now=NOW + 30) is None
    assert store.export_jobs.renew(job, "a", until=NOW + 60, progress=1)
    assert _claim(store, "b", now=NOW + 60) is None
    assert _found(store, job) == replace(job, progress=1)


def test_a_lease_that_ran_out_is_taken_over_and_the_former_owner_changes_nothing(store: SqlStore) -> None:
    jobs = store.export_jobs
    jobs.create(make_job(), limit=1)
    former = _claim(store, "a")
    assert former is not None

    taken = _claim(store, "b", now=NOW + 31)
    assert taken is not None

    assert taken == replace(former, attempt=2)
    assert not jobs.renew(former, "a", until=NOW + 99, progress=1)
    assert not jobs.finish(former, "a", outputs=(), transaction_time=1, expires_at=NOW)
    assert not jobs.fail(former, "a", expires_at=NOW)
    assert _found(store, taken) == taken
    assert jobs.finish(taken, "b", outputs=(Output("Patient", 2),), transaction_time=7, expires_at=NOW + 60)
    assert _found(store, taken) == replace(
        taken, state="done", outputs=(Output("Patient", 2),), transaction_time=7, expires_at=NOW + 60
    )


def test_an_owner_that_comes_back_to_its_own_job_twice_holds_the_later_attempt_only(store: SqlStore) -> None:
    store.export_jobs.create(make_job(), limit=1)
    first, second = _claim(store, "a"), _claim(store, "a", now=NOW + 31)
    assert first is not None
    assert second is not None

    held = [store.export_jobs.renew(job, "a", until=NOW + 60, progress=0) for job in (first, second)]

    assert held == [False, True]


def test_a_deleted_job_is_lost_to_its_worker(store: SqlStore) -> None:
    store.export_jobs.create(make_job(), limit=1)
    job = _claim(store)
    assert job is not None
    store.export_jobs.delete(job.id, client_id=job.client_id, tenant=job.tenant)

    assert not store.export_jobs.renew(job, "w", until=NOW + 60, progress=0)
    assert not store.export_jobs.finish(job, "w", outputs=(), transaction_time=0, expires_at=NOW)


def test_what_was_begun_too_often_is_given_up(store: SqlStore) -> None:
    jobs = store.export_jobs
    jobs.create(make_job(), limit=1)
    _claim(store, now=NOW)
    _claim(store, now=NOW + 40)

    early = jobs.give_up(attempts=2, now=NOW + 50, expires_at=NOW + 99)
    late = jobs.give_up(attempts=2, now=NOW + 80, expires_at=NOW + 99)
    found = _found(store, make_job())

    assert (early, late) == (0, 1)
    assert found == replace(make_job(), state="failed", attempt=2, expires_at=NOW + 99)
    assert _claim(store, now=NOW + 80) is None


def test_what_expired_is_forgotten(store: SqlStore) -> None:
    jobs = store.export_jobs
    for number in range(2):
        jobs.create(make_job(number), limit=9)
    first = _claim(store)
    assert first is not None
    jobs.finish(first, "w", outputs=(), transaction_time=0, expires_at=NOW + 10)

    assert jobs.purge(now=NOW + 9) == []
    assert jobs.purge(now=NOW + 10) == [first.id]
    assert jobs.ids() == {make_job(1).id}


def _together(work: object) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
