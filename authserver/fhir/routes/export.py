"""Answer the export's requests that were allowed: kick-off, status, cancelling, and the files.

Source: http://hl7.org/fhir/uv/bulkdata/STU2/export.html. A job is its client's alone: to anybody else there is none.
"""

import secrets
import zlib
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

from flask import Request, Response

from authserver.errors import AuthServerError, BadRequest, NotFound, ResourceError, UnsupportedMediaType
from authserver.fhir import exact_json
from authserver.fhir.access import Caller
from authserver.fhir.bulk.files import ExportFiles
from authserver.fhir.bulk.job import UNFINISHED, ExportJob, ExportSpec, Level
from authserver.fhir.bulk.parameters import body_pairs, parse_kick_off
from authserver.fhir.bulk.ports import ExportStore
from authserver.fhir.bulk.rights import ExportRights
from authserver.fhir.bulk.worker import ExportWorker
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request import EXPORT, EXPORT_FILE, EXPORT_STATUS, FhirRequest, Pair
from authserver.protocol import render
from authserver.protocol.instants import instant

NDJSON = "application/fhir+ndjson"
_MEDIA_TYPES = ("application/json", "application/fhir+json")
_LEVELS: dict[str | None, Level] = {None: "system", "Patient": "patient", "Group": "group"}
_CHUNK_BYTES = 65_536
_GZIP = 31  # zlib's name for "with gzip's header"
# A small export is done in less than this many seconds; a client of a large one need not ask so often.
_SMALL_SECONDS, _SOON, _LATER = 10, 1, 10


class TooManyExports(ResourceError):
    """The client has as many unfinished exports as it may have."""

    status, issue_code, default_reason, retry_after = 429, "throttled", "too_many_exports", 10
    default_public = "Too many unfinished exports; wait for one, or delete one."


class ExportFailed(AuthServerError):
    """The export could not be done, however often it was tried."""

    default_reason, default_public = "export_failed", "The export failed; start another one."


class ExportRoutes:
    """The export of one store; `max_jobs` is how many unfinished ones a client may have."""

    def __init__(
        self,
        store: ExportStore,
        files: ExportFiles,
        *,
        worker: ExportWorker,
        definitions: Definitions,
        rights: ExportRights,
        base_url: str,
        max_jobs: int,
    ) -> None:
        self._store, self._jobs, self._files, self._worker = store, store.export_jobs, files, worker
        self._resource_types, self._rights = definitions.resource_types, rights
        self._base_url, self._max_jobs = base_url, max_jobs

    def answer(self, caller: Caller, request: FhirRequest, *, http: Request, now: int) -> Response:
        """Answer a served request of one of the three operations; `now` is in epoch seconds."""
        if request.operation == EXPORT:
            return self._kick_off(caller, request, http=http, now=now)
        job = self._own_job(caller, request.operands[0], now=now)
        if request.operation == EXPORT_FILE:
            return self._file(job, request.operands[1], http=http)
        if request.method == "DELETE":
            return self._delete(job)
        return self._status(job, now=now)

    def _kick_off(self, caller: Caller, request: FhirRequest, *, http: Request, now: int) -> Response:
        """Queue a job and answer 202 with its address."""
        preferences = preferred(http)
        if "respond-async" not in preferences:
            raise BadRequest("An export needs the header Prefer: respond-async.", reason="prefer_respond_async")
        level = _LEVELS[request.resource_type]
        asked = parse_kick_off(
            request.parameters,
            level=level,
            method=request.method,
            resource_types=self._resource_types,
            base_url=self._base_url,
            lenient="handling=lenient" in preferences,
        )
        types = self._rights.types(caller.scopes, level, asked.types)
        granted = " ".join(str(scope) for scope in caller.scopes)
        spec = ExportSpec(level, types, granted, request.resource_id, since=asked.since, patients=asked.patients)
        self._require_group(caller, spec)
        job = ExportJob(secrets.token_hex(16), caller.client_id, caller.tenant, self._address(http), spec, now)
        if not self._jobs.create(job, limit=self._max_jobs):
            raise TooManyExports
        self._worker.wake()
        return Response(status=202, headers={"Content-Location": f"{self._base_url}/{EXPORT_STATUS}/{job.id}"})

    def _require_group(self, caller: Caller, spec: ExportSpec) -> None:
        """Raise NotFound when there is no such Group, or none that the caller may know of."""
        if spec.group_id is None:
            return
        constraint = self._rights.constraint(caller.scopes, caller.tenant, "Group")
        if self._store.read(constraint, "Group", spec.group_id) is None:
            raise NotFound

    def _own_job(self, caller: Caller, job_id: str, *, now: int) -> ExportJob:
        """Return the caller's job; another client's, an expired one and one that the token no longer covers is none."""
        job = self._jobs.find(job_id, client_id=caller.client_id, tenant=caller.tenant)
        if job is None or (job.expires_at is not None and job.expires_at <= now):
            raise NotFound
        self._rights.require_covered(caller.scopes, job.spec)
        return job

    def _status(self, job: ExportJob, *, now: int) -> Response:
        """Answer 202 while there is work to do, then 200 with the files' addresses."""
        if job.state in UNFINISHED:
            # The process that began may be gone, and with it the only thread that looks for jobs.
            self._worker.wake()
            wait = _SOON if now - job.created_at < _SMALL_SECONDS else _LATER
            progress = f"{job.progress} of {len(job.spec.types)} resource types"
            return Response(status=202, headers={"Retry-After": str(wait), "X-Progress": progress})
        if job.state == "failed":
            raise ExportFailed
        document = {
            "transactionTime": instant(job.transaction_time or 0),
            "request": job.request_url,
            "requiresAccessToken": True,
            "output": [
                {
                    "type": output.resource_type,
                    "url": f"{self._base_url}/{EXPORT_FILE}/{job.id}/{output.file_name}",
                    "count": output.count,
                }
                for output in job.outputs
            ],
            "error": [],
        }
        expires = {"Expires": formatdate(job.expires_at, usegmt=True)}
        return Response(render.encode(document), content_type=render.JSON, headers=expires)

    def _delete(self, job: ExportJob) -> Response:
        """Cancel the job or remove its files; afterwards there is none."""
        self._jobs.delete(job.id, client_id=job.client_id, tenant=job.tenant)
        self._files.remove(job.id)
        return Response(status=202)

    def _file(self, job: ExportJob, name: str, *, http: Request) -> Response:
        """Answer one file, compressed for a client that asks for gzip."""
        path = self._files.path(job, name)
        if path is None:
            raise NotFound
        if http.accept_encodings.quality("gzip") > 0:
            headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(_compressed(_chunks(path)), content_type=NDJSON, headers=headers)
        headers = {"Content-Length": str(path.stat().st_size), "Vary": "Accept-Encoding"}
        return Response(_chunks(path), content_type=NDJSON, headers=headers)

    def _address(self, http: Request) -> str:
        """Return the URL of the kick-off, below our own base whatever the Host header says."""
        query = http.query_string.decode("ascii", "replace")
        path = http.path.removeprefix(urlsplit(self._base_url).path)
        return f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}"


def body_parameters(http: Request) -> tuple[Pair, ...]:
    """Return the parameters of a kick-off's body; an empty body has none.

    Raises UnsupportedMediaType, and BadRequest for what is no Parameters resource.
    """
    if http.content_length == 0:
        return ()
    # Before the body is read: a form would be found empty, and an export of everything begun.
    if http.mimetype not in (*_MEDIA_TYPES, ""):
        raise UnsupportedMediaType
    body = http.get_data()
    if not body:
        return ()
    if not http.mimetype:
        raise UnsupportedMediaType
    try:
        return body_pairs(exact_json.loads(body))
    except exact_json.NotJson as error:
        raise BadRequest("The body is no JSON.") from error


def preferred(http: Request) -> frozenset[str]:
    """Return the preferences of the Prefer headers in lower case (RFC 7240 section 2)."""
    listed = ",".join(http.headers.getlist("Prefer")).lower().replace(";", ",").split(",")
    return frozenset(preference.strip() for preference in listed)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _compressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(wbits=_GZIP)
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()
