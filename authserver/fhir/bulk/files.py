"""The files of exports in one private folder: a directory for each attempt, a file for each type.

Knows files only. A directory is named by job and attempt, so that two workers never write into one.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from authserver.errors import StorageUnavailable
from authserver.fhir.bulk.job import ExportJob, Output

_DIRECTORY = re.compile(r"([0-9a-f]{32})-\d+", re.ASCII)
_PRIVATE = 0o700


class ExportFiles:
    """The folder; made when first written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def write(self, job: ExportJob, resource_type: str, lines: Iterable[bytes]) -> Output | None:
        """Write the lines to the type's file and return what was written; without lines no file and None.

        Raises StorageUnavailable when the folder cannot be written to.
        """
        output = Output(resource_type, 0)
        path = self._directory(job) / output.file_name
        try:
            self._prepare(job)
            with path.open("wb") as file:
                for count, line in enumerate(lines, 1):
                    file.write(line + b"\n")
                    output = Output(resource_type, count)
            if output.count == 0:
                path.unlink()
        except OSError as error:
            raise StorageUnavailable(detail=f"export folder: {type(error).__name__}") from error
        return output if output.count else None

    def path(self, job: ExportJob, file_name: str) -> Path | None:
        """Return the file of a finished job, or None when the job has none of this name or it is gone."""
        if file_name not in {output.file_name for output in job.outputs}:
            return None
        path = self._directory(job) / file_name
        return path if path.is_file() else None

    def clear(self, job: ExportJob) -> None:
        """Remove what this attempt wrote."""
        shutil.rmtree(self._directory(job), ignore_errors=True)

    def remove(self, job_id: str, *, keep_attempt: int | None = None) -> None:
        """Remove what every attempt at the job wrote, except the one to keep."""
        for path in self._folder.glob(f"{job_id}-*"):
            if path.name != f"{job_id}-{keep_attempt}":
                shutil.rmtree(path, ignore_errors=True)

    def job_ids(self) -> frozenset[str]:
        """Return the ids of the jobs that have a directory here."""
        found = (_DIRECTORY.fullmatch(path.name) for path in self._folder.glob("*-*"))
        return frozenset(match[1] for match in found if match)

    def _directory(self, job: ExportJob) -> Path:
        return self._folder / f"{job.id}-{job.attempt}"

    def _prepare(self, job: ExportJob) -> None:
        for folder in (self._folder, self._directory(job)):
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            folder.chmod(_PRIVATE)
