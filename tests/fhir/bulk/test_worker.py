"""Working jobs off, on every database: what is put out, by whom, how often, and for how long."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from authserver.errors import StorageUnavailable
from authserver.fhir.bulk.files import ExportFiles
from authserver.fhir.bulk.job import ExportJob, ExportSpec, Output
from authserver.fhir.bulk.ports import Compartments, ExportJobs, Snapshot
from authserver.fhir.bulk.worker import LEASE_SECONDS, MAX_ATTEMPTS, ExportWorker
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore, open_store
from tests.fhir.builders import ListLog, make_observation, make_patient
from tests.fhir.bulk.builders import NOW, SPEC, make_job, make_rights
from tests.postgres import PostgresCluster

MICRO = 1_000_000


@dataclass
class Clock:
    """A clock that the test moves."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Bench:
    """A store, a folder and a clock; workers are made over them."""

    store: SqlStore
    folder: Path
    definitions: Definitions
    clock: Clock
    log: ListLog

    def worker(self, store: Any = None) -> ExportWorker:
        return ExportWorker(
            store or self.store,
            ExportFiles(self.folder),
            definitions=self.definitions,
            rights=make_rights(self.definitions),
            log=self.log,
            lifetime=60,
            now=self.clock,
        )

    def put(self, *resources: dict[str, Any], tenant: str = "", at: int = NOW) -> None:
        self.store.put(Constraint.system(tenant), resources, now=at * MICRO)

    def queue(self, number: int = 0, **members: Any) -> ExportJob:
        job = make_job(number, **members)
        assert self.store.export_jobs.create(job, limit=99)
        return job

    def found(self, job: ExportJob) -> ExportJob:
        found = self.store.export_jobs.find(job.id, client_id=job.client_id, tenant=job.tenant)
        assert found is not None
        return found

    def exported(self, spec: ExportSpec, tenant: str = "") -> dict[str, list[str]]:
        """Queue a job, work it off and return the ids in each file."""
        job = self.queue(len(self.store.export_jobs.ids()), spec=spec, tenant=tenant)
        self.worker().work()
        done = self.found(job)
        assert done.state == "done", self.log.events
        return {output.resource_type: self.ids(done, output) for output in done.outputs}

    def ids(self, job: ExportJob, output: Output) -> list[str]:
        path = ExportFiles(self.folder).path(job, output.file_name)
        assert path is not None
        resources = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert {resource["resourceType"] for resource in resources} == {output.resource_type}
        assert len(resources) == output.count
        return [resource["id"] for resource in resources]


@pytest.fixture
def bench(store: SqlStore, tmp_path: Path, definitions: Definitions) -> Bench:
    """The bench on each kind of database."""
    return Bench(store, tmp_path / "exports", definitions, Clock(), ListLog())


@pytest.fixture
def local(sqlite_store: SqlStore, tmp_path: Path, definitions: Definitions) -> Bench:
    """The bench on SQLite, for what is not the database's."""
    return Bench(sqlite_store, tmp_path / "exports", definitions, Clock(), ListLog())


def _group(*ids: str, **members: Any) -> dict[str, Any]:
    listed = [{"entity": {"reference": f"Patient/{one}"}} for one in ids]
    return {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": listed, **members}


def _observation(resource_id: str, patient: str, **members: Any) -> dict[str, Any]:
    return make_observation(resource_id, subject={"reference": f"Patient/{patient}"}, **members)


def _spec(level: Any, *types: str, scope: str = "system/*.rs", **members: Any) -> ExportSpec:
    return ExportSpec(level, tuple(sorted(types)), scope, **members)


def test_every_resource_goes_out_exactly_as_it_is_read(bench: Bench) -> None:
    bench.put(make_patient("a"), make_patient("b"), make_observation())
    job = bench.queue()

    assert bench.worker().work()

    done = bench.found(job)
    assert (done.state, done.outputs) == ("done", (Output("Observation", 1), Output("Patient", 2)))
    assert (done.expires_at, done.attempt) == (NOW + 60, 1)
    path = ExportFiles(bench.folder).path(done, "Patient.ndjson")
    assert path is not None
    read = [bench.store.read(Constraint.system(""), "Patient", name) for name in ("a", "b")]
    assert path.read_bytes() == b"".join(stored.body + b"\n" for stored in read if stored)


def test_a_type_without_resources_has_no_output(bench: Bench) -> None:
    bench.put(make_patient())

    assert bench.exported(_spec("system", "Patient", "Observation")) == {"Patient": ["p1"]}
    assert bench.exported(_spec("system", "Encounter")) == {}


def test_an_export_stays_in_its_tenant(bench: Bench) -> None:
    """Threat H01."""
    bench.put(make_patient("ours"), _group("ours"), tenant="a")
    bench.put(make_patient("theirs"), make_patient("ours"), _observation("o", "ours"), tenant="b")

    found = [bench.exported(_spec(level, "Patient", "Observation", "Group"), "a") for level in ("system", "patient")]
    group = bench.exported(_spec("group", "Patient", "Observation", group_id="g"), "a")

    assert found == [{"Group": ["g"], "Patient": ["ours"]}] * 2
    assert group == {"Patient": ["ours"]}


def test_since_leaves_out_what_did_not_change_after_it(bench: Bench) -> None:
    bench.put(make_patient("old"), make_patient("changed"), at=NOW)
    bench.put(make_patient("new"), make_patient("changed", gender="female"), at=NOW + 1)

    found = bench.exported(_spec("system", "Patient", since=NOW * MICRO))

    assert found == {"Patient": ["changed", "new"]}


def test_the_transaction_time_is_before_the_snapshot(local: Bench) -> None:
    before = time.time_ns() // 1000
    job = local.queue()
    local.worker().work()

    transaction_time = local.found(job).transaction_time

    assert transaction_time is not None
    assert before <= transaction_time <= time.time_ns() // 1000


def test_a_scope_with_criteria_exports_the_subset_that_it_opens(bench: Bench) -> None:
    """Row X12, leak L13: for r and for s."""
    bench.put(
        make_observation("both", status="final"),
        make_observation("lab", status="amended"),
        make_observation("final", category="vital-signs"),
    )
    scope = "system/Observation.r?category=laboratory system/Observation.s?status=final"

    assert bench.exported(_spec("system", "Observation", scope=scope)) == {"Observation": ["both"]}
    assert bench.exported(_spec("system", "Observation")) == {"Observation": ["both", "lab", "final"]}


def test_patients_have_their_compartments_and_nothing_else(bench: Bench) -> None:
    elsewhere = make_observation("no-patient", subject={"reference": "Device/d"})
    performer = make_observation("performed", subject={"reference": "Device/d"}, performer=[{"reference": "Patient/a"}])
    focus = make_observation("focus", subject={"reference": "Device/d"}, focus=[{"reference": "Patient/a"}])
    bench.put(
        make_patient("a"), _observation("mine", "a"), _observation("dangling", "gone"), elsewhere, performer, focus,
        {"resourceType": "Organization", "id": "org"},
        {"resourceType": "Task", "id": "t", "status": "draft", "intent": "order", "for": {"reference": "Patient/a"}},
    )  # fmt: skip

    found = bench.exported(_spec("patient", "Patient", "Observation", "Organization", "Task"))

    # Leak L6: focus is no membership; neither is Task.for in R4.
    assert found == {"Patient": ["a"], "Observation": ["mine", "performed"]}


def test_patients_can_be_named(bench: Bench) -> None:
    bench.put(*(make_patient(name) for name in "abc"), *(_observation(f"o{name}", name) for name in "abc"))

    found = bench.exported(_spec("patient", "Patient", "Observation", patients=("a", "c", "nobody")))

    assert found == {"Patient": ["a", "c"], "Observation": ["oa", "oc"]}


def test_a_group_has_its_members_their_compartments_and_itself(bench: Bench) -> None:
    bench.put(*(make_patient(name) for name in "abc"), *(_observation(f"o{name}", name) for name in "abc"))
    bench.put(_group("a", "b"), {**_group("c"), "id": "other"}, {**_group("b", "c"), "id": "shared"})

    found = bench.exported(_spec("group", "Patient", "Observation", "Group", group_id="g"))

    # By the CompartmentDefinition a Group is in the compartment of each of its members.
    assert found == {"Patient": ["a", "b"], "Observation": ["oa", "ob"], "Group": ["g", "shared"]}


def test_a_group_without_patients_is_itself_alone(bench: Bench) -> None:
    bench.put(make_patient("a"), _observation("o", "a"), _group())

    assert bench.exported(_spec("group", "Patient", "Observation", "Group", group_id="g")) == {"Group": ["g"]}


def test_linked_patients_are_in_the_compartment(bench: Bench) -> None:
    link = [{"other": {"reference": "Patient/a"}, "type": "seealso"}]
    bench.put(make_patient("a"), make_patient("twin", link=link), make_patient("b"), _group("a"))

    assert bench.exported(_spec("group", "Patient", group_id="g")) == {"Patient": ["a", "twin"]}


def test_former_members_and_members_of_other_kinds_do_not_count(bench: Bench) -> None:
    members = [
        {"entity": {"reference": "Patient/a"}},
        {"entity": {"reference": "Patient/b"}, "inactive": True},
        {"entity": {"reference": "Practitioner/c"}},
        {"entity": {"display": "somebody"}},
        {},
        "nonsense",
    ]
    bench.put(*(make_patient(name) for name in "abc"), _group(member=members))

    assert bench.exported(_spec("group", "Patient", group_id="g")) == {"Patient": ["a"]}


def test_a_group_export_can_be_limited_to_some_of_its_patients(bench: Bench) -> None:
    bench.put(*(make_patient(name) for name in "abc"), _group("a", "b"))

    assert bench.exported(_spec("group", "Patient", group_id="g", patients=("b", "c"))) == {"Patient": ["b"]}


@pytest.mark.parametrize(
    "criteria", ["gender=female", "general-practitioner=Practitioner/x", "name=Fay", "_id=f", "birthdate=1950"]
)
def test_a_patient_that_is_hidden_has_no_compartment(bench: Bench, criteria: str) -> None:
    """Whatever table the criteria are looked up in, the references' own included."""
    female = {"gender": "female", "birthDate": "1950", "name": [{"family": "Fay"}]}
    doctor = {"generalPractitioner": [{"reference": "Practitioner/x"}]}
    bench.put(
        make_patient("f", **female, **doctor), make_patient("m", gender="male"),
        _observation("of", "f"), _observation("om", "m"), _group("f", "m"),
    )  # fmt: skip
    scope = f"system/Patient.rs?{criteria} system/Observation.rs system/Group.rs"

    found = [
        bench.exported(_spec(level, "Patient", "Observation", scope=scope, **members))
        for level, members in (("patient", {}), ("group", {"group_id": "g"}), ("patient", {"patients": ("f", "m")}))
    ]

    assert found == [{"Patient": ["f"], "Observation": ["of"]}] * 3


def test_a_group_that_vanished_since_the_kick_off_has_no_members(bench: Bench) -> None:
    bench.put(make_patient("a"))

    assert bench.exported(_spec("group", "Patient", group_id="g")) == {}


def test_a_large_type_goes_out_whole(bench: Bench) -> None:
    """More than is fetched at once, and more members than a statement has room for one by one."""
    bench.put(*(make_patient(f"p{number}") for number in range(503)))
    everything = Constraint.system("")
    members = Compartments(everything, tuple(f"p{number}" for number in range(70_000)), ("link",))

    bench.put(_observation("in", "p502"), _observation("out", "nobody"))
    of_observations = replace(members, parameters=("subject",))

    with bench.store.snapshot() as snapshot:
        found = [json.loads(body)["id"] for body in snapshot.rows(everything, "Patient", compartments=members)]
        observations = list(snapshot.rows(everything, "Observation", compartments=of_observations))

    assert found == [f"p{number}" for number in range(503)]
    assert [json.loads(body)["id"] for body in observations] == ["in"]


def test_two_workers_do_every_job_once(bench: Bench) -> None:
    bench.put(make_patient())
    jobs = [bench.queue(number) for number in range(6)]
    workers = [threading.Thread(target=bench.worker().work) for _ in range(2)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    done = [bench.found(job) for job in jobs]
    finished = [event["job"] for event in bench.log.events if event["event"] == "export_finished"]
    assert [(job.state, job.attempt) for job in done] == [("done", 1)] * 6
    assert sorted(map(str, finished)) == [job.id for job in jobs]


def test_what_a_dead_worker_left_is_done_by_another_one(bench: Bench) -> None:
    """A restart: the lease of the process that died runs out."""
    bench.put(make_patient())
    job = bench.queue()
    dead = bench.store.export_jobs.claim("dead", now=NOW, until=NOW + LEASE_SECONDS)
    assert dead is not None
    ExportFiles(bench.folder).write(dead, "Patient", [b"half"])

    bench.worker().work()
    waiting = bench.found(job).state
    bench.clock.now += LEASE_SECONDS + 1
    bench.worker().work()

    done = bench.found(job)
    assert (waiting, done.state, done.attempt) == ("running", "done", 2)
    assert done.outputs == (Output("Patient", 1),)
    assert [path.name for path in bench.folder.iterdir()] == [f"{job.id}-2"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_jobs_and_files_outlive_the_process(
    request: pytest.FixtureRequest, tmp_path: Path, definitions: Definitions, database: str
) -> None:
    cluster: PostgresCluster | None = request.getfixturevalue("postgres") if database == "postgresql" else None
    url = cluster.create_database() if cluster else f"sqlite:///{tmp_path}/fhir.db"
    first = Bench(open_store(url, definitions), tmp_path / "e", definitions, Clock(), ListLog())
    first.put(make_patient())
    done, queued = first.queue(0), first.queue(1)
    job = first.store.export_jobs.claim("w", now=NOW, until=NOW)
    assert job is not None
    first.store.export_jobs.finish(job, "w", outputs=(), transaction_time=1, expires_at=NOW + 60)
    first.store.close()

    again = Bench(open_store(url, definitions), tmp_path / "e", definitions, Clock(), ListLog())
    again.worker().work()

    assert (again.found(done).transaction_time, again.found(queued).outputs) == (1, (Output("Patient", 1),))
    again.store.close()


def test_expired_exports_lose_their_files(bench: Bench) -> None:
    bench.put(make_patient())
    job = bench.queue()
    bench.worker().work()
    bench.clock.now += 59
    bench.worker().work()
    kept = bench.found(job).state, len(list(bench.folder.iterdir()))

    bench.clock.now += 1
    left = bench.worker().work()

    assert kept == ("done", 1)
    assert (left, bench.store.export_jobs.ids(), list(bench.folder.iterdir())) == (False, frozenset(), [])


def test_directories_of_no_job_are_removed(local: Bench) -> None:
    ExportFiles(local.folder).write(make_job(7), "Patient", [b"{}"])
    kept = local.queue()
    ExportFiles(local.folder).write(kept, "Patient", [b"{}"])
    local.store.export_jobs.claim("other", now=NOW, until=NOW + 30)

    local.worker().work()

    assert ExportFiles(local.folder).job_ids() == {kept.id}


class _Interfering:
    """The store, where something happens while rows are read."""

    def __init__(self, store: SqlStore, happen: Any) -> None:
        self._store, self._happen = store, happen

    @property
    def export_jobs(self) -> ExportJobs:
        return self._store.export_jobs

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._store.snapshot() as snapshot:
            yield _InterferingSnapshot(snapshot, self._happen)  # type: ignore[misc] # what the worker uses of it


class _InterferingSnapshot:
    def __init__(self, snapshot: Snapshot, happen: Any) -> None:
        self._snapshot, self._happen = snapshot, happen

    def rows(self, *arguments: Any, **members: Any) -> Iterator[bytes]:
        yield from self._snapshot.rows(*arguments, **members)
        self._happen()


def test_a_long_export_renews_its_lease_and_tells_how_far_it_is(local: Bench) -> None:
    local.put(make_patient())
    seen: list[tuple[int, bool]] = []

    def happen() -> None:
        local.clock.now += LEASE_SECONDS - 1
        taken = local.store.export_jobs.claim("other", now=local.clock.now, until=local.clock.now)
        seen.append((local.found(job).progress, taken is None))

    job = local.queue(spec=_spec("system", "Encounter", "Observation", "Patient"))
    local.worker(_Interfering(local.store, happen)).work()

    assert seen == [(0, True), (1, True), (2, True)]
    assert local.found(job).state == "done"


def test_an_export_that_is_deleted_meanwhile_leaves_nothing(local: Bench) -> None:
    local.put(make_patient())
    job = local.queue(spec=_spec("system", "Patient"))

    def happen() -> None:
        assert local.store.export_jobs.delete(job.id, client_id=job.client_id, tenant="")

    left = local.worker(_Interfering(local.store, happen)).work()

    assert (left, list(local.folder.iterdir())) == (False, [])
    assert local.log.events == []


def test_an_export_that_fails_is_tried_again_and_then_given_up(local: Bench) -> None:
    def happen() -> None:
        raise StorageUnavailable(detail="broken")

    job = local.queue(spec=_spec("system", "Patient"))
    states = []
    for _ in range(MAX_ATTEMPTS):
        local.worker(_Interfering(local.store, happen)).work()
        states.append(local.found(job).state)
        local.clock.now += LEASE_SECONDS + 1

    assert states == ["running", "running", "failed"]
    assert local.found(job) == replace(
        make_job(spec=job.spec), state="failed", attempt=3, expires_at=local.clock.now - LEASE_SECONDS - 1 + 60
    )
    assert local.log.events[0] == {
        "event": "export_failed", "job": job.id, "attempt": 1, "error": "StorageUnavailable", "detail": "broken",
    }  # fmt: skip


def test_one_job_that_fails_does_not_stop_the_next(local: Bench) -> None:
    local.put(make_patient())
    broken = local.queue(0, spec=_spec("system", "Nonsense", scope="system/Nonsense.rs"))
    good = local.queue(1, spec=SPEC)
    happened: list[None] = []

    def happen() -> None:
        happened.append(None)
        if len(happened) == 1:
            raise StorageUnavailable

    local.worker(_Interfering(local.store, happen)).work()

    assert (local.found(broken).state, local.found(good).state) == ("running", "done")


def test_the_thread_wakes_works_and_ends_when_nothing_is_left(local: Bench) -> None:
    local.put(make_patient())
    worker = local.worker()
    job = local.queue()

    worker.resume()
    _wait(lambda: local.found(job).state == "done")
    local.store.export_jobs.delete(job.id, client_id=job.client_id, tenant="")
    worker.wake()
    _wait(lambda: not _threads())
    second = local.queue(1)
    worker.wake()
    _wait(lambda: local.found(second).state == "done")
    worker.stop()

    assert not _threads()


def test_without_jobs_no_thread_is_started(local: Bench) -> None:
    worker = local.worker()

    worker.resume()

    assert not _threads()


def test_a_worker_that_stops_gives_its_job_back(local: Bench) -> None:
    local.put(make_patient())
    began, may_go_on = threading.Event(), threading.Event()

    def happen() -> None:
        began.set()
        may_go_on.wait(5)

    job = local.queue()
    worker = local.worker(_Interfering(local.store, happen))
    worker.wake()
    assert began.wait(5)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    _wait(worker._stopping.is_set)
    may_go_on.set()
    stopping.join()

    assert local.found(job).state == "running"
    assert local.store.export_jobs.claim("next", now=NOW, until=NOW) == replace(local.found(job), attempt=2)
    assert list(local.folder.iterdir()) == []


def test_a_thread_outlives_a_database_that_does_not_answer(local: Bench) -> None:
    class Down:
        def ids(self) -> frozenset[str]:
            raise StorageUnavailable

        def purge(self, *, now: int) -> list[str]:
            raise StorageUnavailable

    class Store:
        export_jobs = Down()

    worker = local.worker(Store())
    worker.wake()
    _wait(lambda: bool(local.log.events))
    alive = len(_threads())
    worker.stop()

    assert (alive, local.log.events[0]) == (1, {"event": "export_round_failed", "error": "StorageUnavailable"})


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bulk-export"]


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
