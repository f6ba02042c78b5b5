"""Answer reads and searches that were allowed. Gets the caller and the constraint as arguments."""

from collections.abc import Sequence

from flask import Request, Response

from authserver.errors import NotFound
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.request import FhirRequest
from authserver.fhir.routes.answers import gone, version_headers
from authserver.fhir.search.bundle import searchset
from authserver.fhir.search.cursor import CursorBinding, seal, unseal
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.port import FhirReads, Stored
from authserver.protocol.render import FHIR_JSON


class ResourceRoutes:
    """Reads and searches one store; `base_url` is what every link begins with."""

    def __init__(self, store: FhirReads, parser: SearchParser, *, base_url: str) -> None:
        self._store = store
        self._parser = parser
        self._base_url = base_url

    def answer(self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request) -> Response:
        """Answer a served request: a read when it names an id, else a search."""
        if request.resource_type is None:
            raise NotFound
        if request.resource_id is None:
            return self._search(caller, request, request.resource_type, constraint=constraint, http=http)
        return self._read(request.resource_type, request.resource_id, constraint=constraint, http=http)

    def _read(self, resource_type: str, resource_id: str, *, constraint: Constraint, http: Request) -> Response:
        """Answer `GET /{type}/{id}`; hidden and absent are one 404 (http://hl7.org/fhir/R4/http.html#read)."""
        stored = self._store.read(constraint, resource_type, resource_id)
        if stored is None:
            raise gone(self._store.version(constraint, resource_type, resource_id, None))
        headers = version_headers(stored)
        if http.if_none_match.contains_weak(str(stored.version_id)):
            return Response(status=304, headers=headers)
        return Response(stored.body, content_type=FHIR_JSON, headers=headers)

    def _search(
        self,
        caller: Caller,
        request: FhirRequest,
        resource_type: str,
        *,
        constraint: Constraint,
        http: Request,
    ) -> Response:
        """Answer `GET /{type}?...` with one page."""
        parsed = self._parser.query(resource_type, request.parameters, lenient=_is_lenient(http))
        binding = CursorBinding(caller.client_id, caller.tenant, resource_type, parsed.used)
        secret = self._store.cursor_secret
        after = unseal(parsed.cursor, binding, secret=secret) if parsed.cursor is not None else 0
        page = self._store.search(constraint, parsed.query.starting_after(after))
        body = searchset(
            page.matches,
            base_url=self._base_url,
            resource_type=resource_type,
            pairs=parsed.used,
            next_cursor=seal(_last(page.matches), binding, secret=secret) if page.more else None,
        )
        return Response(body, content_type=FHIR_JSON)


def _last(matches: Sequence[Stored]) -> int:
    return matches[-1].position


def _is_lenient(http: Request) -> bool:
    """Say whether the client wants unsupported parameters ignored (R4 search, "Handling Errors")."""
    preferences = ",".join(http.headers.getlist("Prefer")).lower().replace(";", ",").split(",")
    return "handling=lenient" in (preference.strip() for preference in preferences)
