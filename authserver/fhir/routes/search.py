"""Answer searches that were allowed: of one type or of the system, by GET or by a form."""

from collections.abc import Sequence

from flask import Request, Response

from authserver.errors import UnsupportedMediaType
from authserver.fhir.access import Caller
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request import FhirRequest, Pair, parse_parameters
from authserver.fhir.search.bundle import searchset
from authserver.fhir.search.cursor import CursorBinding, seal, unseal
from authserver.fhir.search.parser import ParsedSearch, SearchParser
from authserver.fhir.search.shaping import shaped
from authserver.fhir.search_rights import SearchRights
from authserver.fhir.store.port import FhirReads, Page
from authserver.protocol.render import FHIR_JSON

_FORM = "application/x-www-form-urlencoded"
_LEFT_OUT = "Resources of types that the access token does not open are not included."
_CUT_OFF = "More would have been included than one page holds."


class SearchRoutes:
    """Searches one store; `base_url` is what every link begins with."""

    def __init__(
        self,
        store: FhirReads,
        parser: SearchParser,
        rights: SearchRights,
        *,
        definitions: Definitions,
        base_url: str,
    ) -> None:
        self._store = store
        self._parser = parser
        self._rights = rights
        self._definitions = definitions
        self._base_url = base_url

    def answer(self, caller: Caller, request: FhirRequest, *, http: Request) -> Response:
        """Answer with one page; a cursor is unsealed for this caller and query alone, and authorised anew."""
        parsed = self._parsed(caller, request, lenient=_is_lenient(http))
        searches, leaves_out = self._rights.of(caller.scopes, parsed.queries, tenant=caller.tenant)
        binding = CursorBinding(caller.client_id, caller.tenant, request.resource_type or "", parsed.used)
        if parsed.cursor is not None:
            after = unseal(parsed.cursor, binding, secret=self._store.cursor_secret)
            searches = [(constraint, query.starting_after(after)) for constraint, query in searches]
        page = self._store.search_types(searches)
        body = searchset(
            [shaped(match, parsed.shape, self._definitions) for match in page.matches],
            base_url=self._base_url,
            resource_type=request.resource_type or "",
            pairs=parsed.used,
            next_cursor=seal(page.last, binding, secret=self._store.cursor_secret) if page.more else None,
            included=page.included,
            warnings=_warnings(page, leaves_out=leaves_out),
            total=page.total,
        )
        return Response(body, content_type=FHIR_JSON)

    def _parsed(self, caller: Caller, request: FhirRequest, *, lenient: bool) -> ParsedSearch:
        if request.resource_type is not None:
            return self._parser.query(request.resource_type, request.parameters, lenient=lenient)
        types = self._rights.types(caller.scopes, self._parser.types_of(request.parameters))
        return self._parser.system_query(request.parameters, types=types, lenient=lenient)


def form_parameters(http: Request) -> tuple[Pair, ...]:
    """Return the pairs of a search form; an empty body has none.

    Raises UnsupportedMediaType for a body of another kind, which would be found empty and widen the search, and
    BadRequest for bad UTF-8 or too many pairs.
    """
    body = http.get_data()
    if body and http.mimetype != _FORM:
        raise UnsupportedMediaType("A search by POST has its parameters in a form.")
    return parse_parameters(body)


def _warnings(page: Page, *, leaves_out: bool) -> Sequence[str]:
    return [*([_LEFT_OUT] if leaves_out else []), *([] if page.all_included else [_CUT_OFF])]


def _is_lenient(http: Request) -> bool:
    """Say whether the client wants unsupported parameters ignored (R4 search, "Handling Errors")."""
    preferences = ",".join(http.headers.getlist("Prefer")).lower().replace(";", ",").split(",")
    return "handling=lenient" in (preference.strip() for preference in preferences)
