"""Answer vread and the histories of an instance, of a type and of the system.

Source: http://hl7.org/fhir/R4/http.html#vread and #history. Each version is seen by who may see its own content.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from flask import Request, Response

from authserver.errors import InsufficientScope, NotFound
from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request import FhirRequest
from authserver.fhir.routes.answers import gone, resource_response
from authserver.fhir.search.cursor import CursorBinding, seal_number, unseal_number
from authserver.fhir.search.problems import MalformedParameter, UnsupportedParameter
from authserver.fhir.store.port import FhirReads, HistoryPage, HistoryQuery, Version
from authserver.protocol.instants import date_range, instant
from authserver.protocol.render import FHIR_JSON

_COUNT, _LARGEST = 20, 1_000
_ID_BITS = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_SCOPE = "history"


class HistoryRoutes:
    """Reads the versions of one store; `base_url` is what every link begins with."""

    def __init__(self, reads: FhirReads, rules: AccessRules, definitions: Definitions, *, base_url: str) -> None:
        self._reads, self._rules, self._base_url = reads, rules, base_url
        self._types = tuple(sorted(definitions.resource_types))

    def answer(self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request) -> Response:
        """Answer a served request of one of the four paths."""
        if request.interaction == "vread":
            return self._vread(caller, request, constraint=constraint, http=http)
        types = self._asked_types(request)
        letter = "s" if request.resource_id is None else "r"
        rights = {name: self._rules.rights(caller, name) for name in types}
        constraints = {name: found[letter] for name, found in rights.items() if letter in found}
        if not constraints:
            raise InsufficientScope("system/*.s")
        return self._history(caller, request, constraints)

    def _vread(self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request) -> Response:
        number = request.path.rpartition("/")[2]
        resource_type, resource_id = request.resource_type or "", request.resource_id or ""
        if not _ID_BITS.fullmatch(number):
            raise NotFound
        version = self._reads.version(constraint, resource_type, resource_id, int(number))
        if version is None or version.deleted:
            raise gone(version, caller)
        return resource_response(version.stored, caller, known=http.if_none_match)

    def _asked_types(self, request: FhirRequest) -> tuple[str, ...]:
        """Return the types whose history is asked for; `_type` of the system's may name some."""
        if request.resource_type is not None:
            return (request.resource_type,)
        named = [part for name, value in request.parameters if name == "_type" for part in value.split(",")]
        if any(name not in self._types for name in named):
            raise MalformedParameter("_type")
        return tuple(sorted(set(named))) or self._types

    def _history(self, caller: Caller, request: FhirRequest, constraints: Mapping[str, Constraint]) -> Response:
        pairs = [pair for pair in request.parameters if pair[0] != "_cursor"]
        cursors = [value for name, value in request.parameters if name == "_cursor"]
        scope = f"{_SCOPE}/{request.resource_type or ''}/{request.resource_id or ''}"
        binding = CursorBinding(caller.client_id, caller.tenant, scope, pairs)
        secret = self._reads.cursor_secret
        after = unseal_number(cursors[0], binding, secret=secret) if cursors else None
        query = _query(request, tuple(constraints), after)
        page = self._reads.history(constraints, query)
        if request.resource_id is not None and not page.versions and after is None and query.since is None:
            raise NotFound
        following = seal_number(page.next_after, binding, secret=secret) if page.next_after is not None else None
        here = f"{self._base_url}/{'/'.join(self._place(request))}"
        bundle = self._bundle(page, here, pairs, following, caller=caller)
        return Response(exact_json.dumps(bundle), content_type=FHIR_JSON)

    def _place(self, request: FhirRequest) -> list[str]:
        return [part for part in (request.resource_type, request.resource_id, "_history") if part]

    def _bundle(
        self,
        page: HistoryPage,
        here: str,
        pairs: list[tuple[str, str]],
        following: str | None,
        *,
        caller: Caller,
    ) -> dict[str, Any]:
        links = [{"relation": "self", "url": _link(here, pairs)}]
        if following is not None:
            links.append({"relation": "next", "url": _link(here, [*pairs, ("_cursor", following)])})
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "history", "link": links}
        if page.total is not None:
            bundle["total"] = page.total
        if page.versions:
            bundle["entry"] = [self._entry(version, caller) for version in page.versions]
        return bundle

    def _entry(self, version: Version, caller: Caller) -> dict[str, Any]:
        stored = version.stored
        name = f"{stored.resource_type}/{stored.id}"
        created = version.method == "POST"
        entry: dict[str, Any] = {"fullUrl": f"{self._base_url}/{name}"}
        if not version.deleted:
            entry["resource"] = exact_json.embedded(stored.body)
        entry["request"] = {"method": version.method, "url": stored.resource_type if created else name}
        status = "204 No Content" if version.deleted else ("201 Created" if stored.version_id == 1 else "200 OK")
        entry["response"] = {
            "status": status,
            "etag": f'W/"{stored.version_tag(caller.tenant)}"',
            "lastModified": instant(stored.last_updated),
        }
        return entry


def _link(here: str, pairs: list[tuple[str, str]]) -> str:
    return f"{here}?{urlencode(pairs, quote_via=quote, safe=':|,/$')}" if pairs else here


def _query(request: FhirRequest, types: tuple[str, ...], after: int | None) -> HistoryQuery:
    """Read `_count`, `_since` and `_at`. Raises UnsupportedParameter and MalformedParameter."""
    values: dict[str, str] = {}
    for name, value in request.parameters:
        if name not in ("_count", "_since", "_at", "_cursor", "_format", "_type"):
            raise UnsupportedParameter(name)
        if name == "_type" and request.resource_type is not None:
            raise UnsupportedParameter(name)
        if name in values and name != "_type":
            raise MalformedParameter(name)
        values[name] = value
    if not _ID_BITS.fullmatch(values.get("_count", "1")):
        raise MalformedParameter("_count")
    since, until = None, None
    for name in ("_since", "_at"):
        span = date_range(values[name]) if name in values else None
        if name in values and span is None:
            raise MalformedParameter(name)
        if span is not None:
            since, until = (span[0], until) if name == "_since" else (max(since or span[0], span[0]), span[1])
    count = min(int(values.get("_count", _COUNT)), _LARGEST)
    return HistoryQuery(types, request.resource_id, since, until, count, after)
