"""The files of exports: private, one for each type, none that is empty."""

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from authserver.errors import StorageUnavailable
from authserver.fhir.bulk.files import ExportFiles
from authserver.fhir.bulk.job import Output
from tests.fhir.bulk.builders import make_job


def test_lines_are_written_and_counted(tmp_path: Path) -> None:
    files, job = ExportFiles(tmp_path / "a/b"), make_job()

    output = files.write(job, "Patient", [b'{"a":1}', b'{"b":2}'])
    path = files.path(replace(job, outputs=(Output("Patient", 2),)), "Patient.ndjson")

    assert output == Output("Patient", 2)
    assert path is not None
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'


def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir(mode=0o755)

    ExportFiles(folder).write(make_job(), "Patient", [b"{}"])

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {0o700}


def test_a_type_without_resources_has_no_file(tmp_path: Path) -> None:
    assert ExportFiles(tmp_path).write(make_job(), "Patient", []) is None
    assert list(tmp_path.rglob("*.ndjson")) == []


@pytest.mark.parametrize("name", ["Observation.ndjson", "../Patient.ndjson", "", "Patient.ndjson/"])
def test_only_the_jobs_own_outputs_have_a_path(tmp_path: Path, name: str) -> None:
    files, job = ExportFiles(tmp_path), replace(make_job(), outputs=(Output("Patient", 1),))
    files.write(job, "Patient", [b"{}"])
    files.write(job, "Observation", [b"{}"])

    assert files.path(job, name) is None
    assert files.path(job, "Patient.ndjson") is not None


def test_attempts_do_not_share_files(tmp_path: Path) -> None:
    files, first = ExportFiles(tmp_path), make_job()
    second, other = replace(first, attempt=1), make_job(1)
    for job in (first, second, other):
        files.write(job, "Patient", [b"{}"])

    files.remove(first.id, keep_attempt=1)

    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{first.id}-1", f"{other.id}-0"]
    files.clear(second)
    assert files.job_ids() == {other.id}


def test_a_folder_that_is_not_ours_to_write_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageUnavailable):
        ExportFiles(tmp_path / "file").write(make_job(), "Patient", [b"{}"])


def test_a_failure_of_the_source_is_passed_on(tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield b"{}"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ExportFiles(tmp_path).write(make_job(), "Patient", lines())


def test_foreign_files_in_the_folder_are_no_jobs(tmp_path: Path) -> None:
    (tmp_path / "my-notes").mkdir()

    assert ExportFiles(tmp_path).job_ids() == frozenset()
    assert ExportFiles(tmp_path / "nowhere").job_ids() == frozenset()
