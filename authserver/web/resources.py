"""The registry over HTTP: PUT, GET, DELETE of Client and AccessPolicy, and what ends a client's tokens."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.http import http_date

from authserver import clock
from authserver.errors import (
    BadRequest,
    InvalidResource,
    Issue,
    NotFound,
    NotSupported,
    UnsupportedMediaType,
    VersionConflict,
)
from authserver.protocol import render, strict_json
from authserver.protocol.client import RESOURCE_ID
from authserver.protocol.policy import PolicyRequest
from authserver.services.authorization import Authorization, Caller
from authserver.services.ports import ACCESS_POLICY, CLIENT, StoredResource
from authserver.services.registration import Registration, representation
from authserver.web.callers import caller_of
from authserver.web.errors import respond
from authserver.web.incoming import of_framework

_JSON_TYPES = ("application/json", "application/fhir+json")
_TYPES = f"any({CLIENT}, {ACCESS_POLICY})"


class Resources:
    """The views; each proves the caller, asks whether it may, and hands over to the registration."""

    def __init__(self, registration: Registration, authorization: Authorization, *, issuer: str) -> None:
        self._registration, self._authorization, self._issuer = registration, authorization, issuer

    def search(self, resource_type: str) -> Response:
        """GET /Client: every resource of the type as a searchset Bundle."""
        self._caller(resource_type, None, interaction="search-type", letter="s")
        if request.args:
            name = sorted(request.args)[0][:64]
            raise NotSupported("Search parameters are not supported here yet.", detail=f"parameter {name!r}")
        found = self._registration.current(resource_type)
        entries = [self._entry(stored) for stored in found]
        bundle = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}
        return respond(render.json_answer(bundle))

    def read(self, resource_type: str, resource_id: str) -> Response:
        """GET /Client/{id}."""
        self._caller(resource_type, resource_id, interaction="read", letter="r")
        return self._shown(self._registration.get(resource_type, resource_id))

    def put(self, resource_type: str, resource_id: str) -> Response:
        """PUT /Client/{id}: 201 for a new id, 200 for a new version."""
        caller = self._caller(resource_type, resource_id, interaction="update", letter="u")
        stored = self._registration.put(
            resource_type,
            resource_id,
            _json_body(resource_type),
            actor=caller.client.id,
            now=clock.now_microseconds(),
            if_match=self._if_match(resource_type, resource_id),
            revoke_tokens=_revoke_tokens(resource_type),
        )
        created = stored.created_at == stored.last_updated
        return self._shown(stored, status=201 if created else 200)

    def delete(self, resource_type: str, resource_id: str) -> Response:
        """DELETE /Client/{id}: 200 with the last version, 204 when there is none."""
        caller = self._caller(resource_type, resource_id, interaction="delete", letter="d")
        stored = self._registration.delete(
            resource_type,
            resource_id,
            actor=caller.client.id,
            now=clock.now_microseconds(),
            if_match=self._if_match(resource_type, resource_id),
        )
        return Response(status=204) if stored is None else self._shown(stored)

    def revoke_tokens(self, resource_id: str) -> Response:
        """POST /Client/{id}/$revoke-tokens: every access token of the client is dead when this answers."""
        caller = self._caller(CLIENT, resource_id, interaction="client-revoke-tokens", letter="u")
        self._registration.revoke_tokens(resource_id, actor=caller.client.id, now=clock.now_microseconds())
        return respond(render.informed("Every access token issued to this client until now is revoked."))

    def flush_keys(self, resource_id: str) -> Response:
        """POST /Client/{id}/$flush-keys: no process uses a key fetched before this answers."""
        caller = self._caller(CLIENT, resource_id, interaction="client-flush-keys", letter="u")
        self._registration.flush_keys(resource_id, actor=caller.client.id, now=clock.now_microseconds())
        return respond(render.informed("Keys fetched for this client until now are used no more."))

    def _caller(self, resource_type: str, resource_id: str | None, *, interaction: str, letter: str) -> Caller:
        caller = caller_of(of_framework(request), self._authorization, now=clock.now())
        described = PolicyRequest(
            method=request.method,
            path=request.path,
            parameters=tuple(request.args.items(multi=True)),
            interaction=interaction,
            resource_type=resource_type,
            resource_id=resource_id,
        )
        self._authorization.require_resource(caller, described, letter=letter)
        if resource_id is not None and RESOURCE_ID.fullmatch(resource_id) is None:
            raise NotFound(detail="no legal id")
        return caller

    def _if_match(self, resource_type: str, resource_id: str) -> int | None:
        """Return the version named by If-Match; `*` means whatever is there now (RFC 9110 section 13.1.1)."""
        value = request.headers.get("If-Match")
        if value is None:
            return None
        if value == "*":
            try:
                return self._registration.get(resource_type, resource_id).version_id
            except NotFound as error:
                raise VersionConflict("There is no version to match.") from error
        digits = value.removeprefix("W/").strip('"')
        if not digits.isdecimal() or len(digits) > 18:
            raise BadRequest('If-Match must name a version, for example W/"3".')
        return int(digits)

    def _entry(self, stored: StoredResource) -> dict[str, Any]:
        url = self._url(stored)
        return {"fullUrl": url, "resource": representation(stored), "search": {"mode": "match"}}

    def _url(self, stored: StoredResource) -> str:
        return f"{self._issuer}/{stored.resource_type}/{stored.id}"

    def _shown(self, stored: StoredResource, *, status: int = 200) -> Response:
        answer = render.json_answer(representation(stored), status=status)
        changed = datetime.fromtimestamp(stored.last_updated // 1_000_000, UTC)
        answer.headers.update({"ETag": f'W/"{stored.version_id}"', "Last-Modified": http_date(changed)})
        if request.method == "PUT":
            answer.headers["Location"] = self._url(stored)
        return respond(answer)


def resources_blueprint(registration: Registration, authorization: Authorization, *, issuer: str) -> Blueprint:
    """Return the registry's paths."""
    blueprint, views = Blueprint("resources", __name__), Resources(registration, authorization, issuer=issuer)
    instance = f"/<{_TYPES}:resource_type>/<resource_id>"
    blueprint.add_url_rule(f"/<{_TYPES}:resource_type>", "search", views.search, methods=["GET"])
    blueprint.add_url_rule(instance, "read", views.read, methods=["GET"])
    blueprint.add_url_rule(instance, "put", views.put, methods=["PUT"])
    blueprint.add_url_rule(instance, "delete", views.delete, methods=["DELETE"])
    operation = f"/{CLIENT}/<resource_id>/$revoke-tokens"
    blueprint.add_url_rule(operation, "revoke_tokens", views.revoke_tokens, methods=["POST"])
    flush = f"/{CLIENT}/<resource_id>/$flush-keys"
    blueprint.add_url_rule(flush, "flush_keys", views.flush_keys, methods=["POST"])
    return blueprint


def _revoke_tokens(resource_type: str) -> bool:
    """Read the query parameter of a PUT of a Client by which the tokens end with the change."""
    values = request.args.getlist("revoke-tokens")
    if not values:
        return False
    if resource_type != CLIENT or values not in (["true"], ["false"]):
        raise BadRequest("The parameter revoke-tokens is true or false, once, and for a Client.")
    return values == ["true"]


def _json_body(resource_type: str) -> dict[str, Any]:
    if request.mimetype not in _JSON_TYPES:
        raise UnsupportedMediaType
    try:
        body = strict_json.loads(request.get_data(cache=False))
    except strict_json.DuplicateMember as error:
        raise InvalidResource((Issue(resource_type, str(error), "structure"),)) from error
    except strict_json.MalformedJson as error:
        raise BadRequest(f"The body is not acceptable JSON: {error}.", reason="json_malformed") from error
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", reason="json_malformed")
    return body
