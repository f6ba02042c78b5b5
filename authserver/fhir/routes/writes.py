"""Answer the requests that write one resource."""

from flask import Request, Response

from authserver.fhir.access import Caller
from authserver.fhir.interactions.performer import Performer
from authserver.fhir.interactions.task import TaskReader
from authserver.fhir.request import FhirRequest
from authserver.fhir.routes.answers import written
from authserver.fhir.routes.message import HttpMessage
from authserver.fhir.store.port import FhirStore


class WriteRoutes:
    """Creates, updates, patches and deletes in one store; `base_url` is what every Location begins with."""

    def __init__(self, store: FhirStore, reader: TaskReader, performer: Performer, *, base_url: str) -> None:
        self._store, self._reader, self._performer, self._base_url = store, reader, performer, base_url

    def answer(self, caller: Caller, request: FhirRequest, *, http: Request, now: int, request_id: str) -> Response:
        """Answer a served request that writes; `now` is in microseconds."""
        task = self._reader.read(caller, request, HttpMessage(http))
        outcome = self._store.transact(
            lambda session: self._performer.alone(session, task, now=now, request_id=request_id)
        )
        return written(outcome, base_url=self._base_url)
