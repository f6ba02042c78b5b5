"""Answer reads and searches that were allowed. Gets the caller and the constraint as arguments."""

from flask import Request, Response

from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.request import FhirRequest
from authserver.fhir.routes.answers import current, resource_response
from authserver.fhir.routes.search import SearchRoutes
from authserver.fhir.store.port import FhirReads


class ResourceRoutes:
    """Reads one store; hands searches on."""

    def __init__(self, store: FhirReads, searches: SearchRoutes) -> None:
        self._store = store
        self._searches = searches

    def answer(self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request) -> Response:
        """Answer a served request: a read when it names an id, else a search."""
        if request.resource_type is None or request.resource_id is None:
            return self._searches.answer(caller, request, http=http)
        return self._read(caller, request.resource_type, request.resource_id, constraint=constraint, http=http)

    def _read(
        self, caller: Caller, resource_type: str, resource_id: str, *, constraint: Constraint, http: Request
    ) -> Response:
        """Answer `GET /{type}/{id}`; hidden and absent are one 404 (http://hl7.org/fhir/R4/http.html#read)."""
        stored = current(self._store, constraint, caller, resource_type=resource_type, resource_id=resource_id)
        return resource_response(stored, caller, known=http.if_none_match)
