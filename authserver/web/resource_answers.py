"""How resources of the registry are answered: one with its version, many as a Bundle with links to its pages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from werkzeug.http import http_date

from authserver.protocol import policy_lint, render
from authserver.protocol.history_query import HistoryQuery, Place
from authserver.protocol.instants import instant
from authserver.protocol.registry_search import RegistrySearch
from authserver.protocol.render import Answer
from authserver.services.ports import ACCESS_POLICY, StoredResource
from authserver.services.registration import representation
from authserver.services.registry_view import HistoryPage
from authserver.web.errors import respond
from authserver.web.resource_requests import is_held, prefers_outcome

Parameters = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ResourceAnswers:
    """Answers with absolute URLs below the issuer, whatever Host the request named."""

    issuer: str

    def shown(self, stored: StoredResource, *, status: int = 200) -> Response:
        """Return one resource; 304 to a GET whose If-None-Match names its version."""
        if request.method in ("GET", "HEAD") and is_held(stored.version_id):
            return self.with_version(stored, Answer(304, dict(render.NO_STORE)))
        return self.with_version(stored, render.json_answer(representation(stored), status=status))

    def changed(self, stored: StoredResource, *, status: int = 200) -> Response:
        """Return what was stored, or what is to be said about it where the caller prefers that."""
        if not prefers_outcome():
            return self.shown(stored, status=status)
        warnings = policy_lint.warnings(stored.body) if stored.resource_type == ACCESS_POLICY else ()
        return self.with_version(stored, render.informed("The resource is stored.", warnings, status=status))

    def with_version(self, stored: StoredResource, answer: Answer) -> Response:
        """Return the answer with the headers that tell the version."""
        changed = datetime.fromtimestamp(stored.last_updated // 1_000_000, UTC)
        answer.headers.update({"ETag": f'W/"{stored.version_id}"', "Last-Modified": http_date(changed)})
        if request.method in ("POST", "PUT", "PATCH"):
            answer.headers["Location"] = f"{self._url(stored)}/_history/{stored.version_id}"
        return respond(answer)

    def found(self, resource_type: str, search: RegistrySearch, found: list[StoredResource]) -> Response:
        """Return the page of a search as a searchset."""
        shown = search.on_page(found)
        total = {"total": len(found)} if search.total else {}
        number, goes_on = search.page.number, search.page.offset + len(shown) < len(found) and bool(shown)
        links = {
            "self": _page(search.pairs, number),
            **({"previous": _page(search.pairs, number - 1)} if number > 1 else {}),
            **({"next": _page(search.pairs, number + 1)} if goes_on else {}),
        }
        entries = [{**self._entry(stored), "search": {"mode": "match"}} for stored in shown]
        bundle = {"resourceType": "Bundle", "type": "searchset", **total}
        return self._bundle(bundle, f"/{resource_type}", links, entries)

    def history(self, path: str, query: HistoryQuery, page: HistoryPage) -> Response:
        """Return a page of history."""
        by_number, pairs = query.paged, query.pairs
        own = _page(pairs, query.page.number) if query.after is None else _after(pairs, query.after)
        links = {"self": own}
        if page.next is not None:
            links["next"] = _page(pairs, query.page.number + 1) if by_number else _after(pairs, page.next)
        bundle = {"resourceType": "Bundle", "type": "history"}
        return self._bundle(bundle, path, links, [self._change(version) for version in page.versions])

    def _bundle(
        self, bundle: dict[str, Any], path: str, links: Mapping[str, Parameters], entries: list[dict[str, Any]]
    ) -> Response:
        bundle["link"] = [{"relation": name, "url": self._link(path, pairs)} for name, pairs in links.items()]
        return respond(render.json_answer(bundle | {"entry": entries}))

    def _link(self, path: str, pairs: Parameters) -> str:
        query = urlencode(list(pairs))
        return f"{self.issuer}{path}?{query}" if query else f"{self.issuer}{path}"

    def _entry(self, stored: StoredResource) -> dict[str, Any]:
        return {"fullUrl": self._url(stored), "resource": representation(stored)}

    def _change(self, stored: StoredResource) -> dict[str, Any]:
        """Return an entry of a history: a deletion has no resource (FHIR R4, http.html#history)."""
        created = stored.created_at == stored.last_updated
        method, status = ("DELETE", "204") if stored.deleted else ("PUT", "201" if created else "200")
        shown = {"fullUrl": self._url(stored)} if stored.deleted else self._entry(stored)
        return {
            **shown,
            "request": {"method": method, "url": f"{stored.resource_type}/{stored.id}"},
            "response": {
                "status": status,
                "etag": f'W/"{stored.version_id}"',
                "lastModified": instant(stored.last_updated),
            },
        }

    def _url(self, stored: StoredResource) -> str:
        return f"{self.issuer}/{stored.resource_type}/{stored.id}"


def _page(pairs: Parameters, number: int) -> Parameters:
    return [*pairs, ("_page", str(number))] if number > 1 else list(pairs)


def _after(pairs: Parameters, place: Place) -> Parameters:
    return [*pairs, ("_cursor", str(place))]
