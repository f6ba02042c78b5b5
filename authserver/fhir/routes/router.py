"""Lead each allowed request to what answers it: the one table from interactions to routes."""

from flask import Request, Response

from authserver.fhir.access import AccessRules
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.interactions.parts import Interactions
from authserver.fhir.interactions.task import WRITING
from authserver.fhir.routes.bundles import Admitted
from authserver.fhir.routes.documents import DocumentRoutes
from authserver.fhir.routes.everything import EverythingRoutes
from authserver.fhir.routes.gathering import Gathering
from authserver.fhir.routes.history import HistoryRoutes
from authserver.fhir.routes.operations import OperationRoutes
from authserver.fhir.routes.resources import ResourceRoutes
from authserver.fhir.routes.search import SearchRoutes
from authserver.fhir.routes.summary import SummaryRoutes
from authserver.fhir.routes.writes import WriteRoutes
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.port import FhirReads, FhirStore

VERSIONED = ("vread", "history-instance", "history-type")


class Router:
    """Answers what was admitted, exports and Bundles apart; made once per app."""

    def __init__(
        self,
        store: FhirStore,
        interactions: Interactions,
        *,
        rules: AccessRules,
        parser: SearchParser,
        definitions: Definitions,
        base_url: str,
    ) -> None:
        self._store, self._rules, self._parser = store, rules, parser
        self._search_rights = interactions.search_rights
        self._definitions, self._base_url = definitions, base_url
        self._writes = WriteRoutes(store, interactions.reader, interactions.performer, base_url=base_url)
        gathering = Gathering(store, rules, interactions.links)
        self._operations = OperationRoutes(
            store,
            rules,
            interactions.validator,
            everything=EverythingRoutes(store, gathering, definitions, base_url=base_url),
            documents=DocumentRoutes(store, gathering, base_url=base_url),
            summaries=SummaryRoutes(store, gathering, parser, base_url=base_url),
        )

    def answer(self, admitted: Admitted, http: Request, *, now: int, request_id: str) -> Response:
        """Answer a request; `now` is in microseconds."""
        caller, request, constraint = admitted.caller, admitted.request, admitted.constraint
        if request.operation:
            return self._operations.answer(caller, request, constraint=constraint, http=http, now=now)
        if request.interaction in WRITING:
            return self._writes.answer(caller, request, http=http, now=now, request_id=request_id)
        return self.read(admitted, http, reads=self._store)

    def read(self, admitted: Admitted, http: Request, *, reads: FhirReads) -> Response:
        """Answer a read, search, vread or history from what `reads` sees: the store, or a transaction."""
        caller, request, constraint = admitted.caller, admitted.request, admitted.constraint
        if request.interaction in VERSIONED:
            routes = HistoryRoutes(reads, self._rules, self._definitions, base_url=self._base_url)
            return routes.answer(caller, request, constraint=constraint, http=http)
        searches = SearchRoutes(
            reads, self._parser, self._search_rights, definitions=self._definitions, base_url=self._base_url
        )
        return ResourceRoutes(reads, searches).answer(caller, request, constraint=constraint, http=http)
