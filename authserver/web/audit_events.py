"""GET /AuditEvent and GET /AuditEvent/{id}: the audit as FHIR. Nothing is written over HTTP."""

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from authserver import clock
from authserver.protocol import audit_event, render
from authserver.protocol.audit_search import FoundRecord
from authserver.protocol.policy import PolicyRequest
from authserver.services.audit_reading import AuditReading
from authserver.services.authorization import Authorization, Caller
from authserver.web.callers import caller_of
from authserver.web.errors import respond
from authserver.web.incoming import of_framework

AUDIT_EVENT = "AuditEvent"


class AuditEvents:
    """The views; each proves the caller, asks whether it may, and hands over to the reading."""

    def __init__(self, reading: AuditReading, authorization: Authorization, *, issuer: str) -> None:
        self._reading, self._authorization, self._issuer = reading, authorization, issuer

    def search(self) -> Response:
        """GET /AuditEvent: a searchset Bundle, newest first, with a link to the next page."""
        caller = self._caller(None, interaction="search-type", letter="s")
        pairs = list(request.args.items(multi=True))
        page = self._reading.search(pairs, caller=caller.client, now=clock.now())
        links = [{"relation": "self", "url": self._url(pairs)}]
        if page.next is not None:
            following = [pair for pair in pairs if pair[0] != "_cursor"]
            links.append({"relation": "next", "url": self._url([*following, ("_cursor", str(page.next))])})
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
        if page.records:
            bundle["entry"] = [self._entry(found) for found in page.records]
        return respond(render.json_answer(bundle, media_type=render.FHIR_JSON))

    def read(self, record_id: str) -> Response:
        """GET /AuditEvent/{id}."""
        caller = self._caller(record_id, interaction="read", letter="r")
        found = self._reading.read(record_id, caller=caller.client, now=clock.now())
        return respond(render.json_answer(self._shown(found), media_type=render.FHIR_JSON))

    def _caller(self, record_id: str | None, *, interaction: str, letter: str) -> Caller:
        caller = caller_of(of_framework(request), self._authorization, now=clock.now())
        described = PolicyRequest(
            method=request.method,
            path=request.path,
            parameters=tuple(request.args.items(multi=True)),
            interaction=interaction,
            resource_type=AUDIT_EVENT,
            resource_id=record_id,
        )
        self._authorization.require_resource(caller, described, letter=letter)
        return caller

    def _url(self, pairs: list[tuple[str, str]]) -> str:
        return f"{self._issuer}/{AUDIT_EVENT}" + (f"?{urlencode(pairs)}" if pairs else "")

    def _entry(self, found: FoundRecord) -> dict[str, Any]:
        url = f"{self._issuer}/{AUDIT_EVENT}/{found.sequence}"
        return {"fullUrl": url, "resource": self._shown(found), "search": {"mode": "match"}}

    def _shown(self, found: FoundRecord) -> dict[str, Any]:
        return audit_event.resource(found.sequence, found.hash, found.said, issuer=self._issuer)


def audit_blueprint(reading: AuditReading, authorization: Authorization, *, issuer: str) -> Blueprint:
    """Return the audit's paths."""
    blueprint, views = Blueprint("audit", __name__), AuditEvents(reading, authorization, issuer=issuer)
    blueprint.add_url_rule(f"/{AUDIT_EVENT}", "search", views.search, methods=["GET"])
    blueprint.add_url_rule(f"/{AUDIT_EVENT}/<record_id>", "read", views.read, methods=["GET"])
    return blueprint
