"""The registry over HTTP: PUT, GET, DELETE of Client and AccessPolicy, and what ends a client's tokens."""

from flask import Blueprint, Response, request

from authserver import clock
from authserver.protocol import registry_search, render
from authserver.services.authorization import Authorization
from authserver.services.ports import ACCESS_POLICY, CLIENT
from authserver.services.registration import Registration
from authserver.services.registry_view import RegistryView
from authserver.web import resource_requests
from authserver.web.errors import respond
from authserver.web.resource_answers import ResourceAnswers
from authserver.web.resource_requests import Door, json_body, version_to_match

_TYPES = f"any({CLIENT}, {ACCESS_POLICY})"


class Resources:
    """The views; each proves the caller, asks whether it may, and hands over to the registration."""

    def __init__(self, registration: Registration, authorization: Authorization, *, issuer: str) -> None:
        self._registration, self._door, self._answers = registration, Door(authorization), ResourceAnswers(issuer)

    def search(self, resource_type: str) -> Response:
        """GET /Client: a page of what matches, as a searchset Bundle."""
        self._door.require(resource_type, None, interaction="search-type", letter="s")
        search = registry_search.parse(resource_type, list(request.args.items(multi=True)))
        found = RegistryView(self._registration.store).search(resource_type, search)
        return self._answers.found(resource_type, search, found)

    def read(self, resource_type: str, resource_id: str) -> Response:
        """GET /Client/{id}."""
        self._door.require(resource_type, resource_id, interaction="read", letter="r")
        return self._answers.shown(self._registration.get(resource_type, resource_id))

    def put(self, resource_type: str, resource_id: str) -> Response:
        """PUT /Client/{id}: 201 for a new id, 200 for a new version."""
        caller = self._door.require(resource_type, resource_id, interaction="update", letter="u")
        stored = self._registration.put(
            resource_type,
            resource_id,
            json_body(resource_type),
            actor=caller.client.id,
            now=clock.now_microseconds(),
            if_match=version_to_match(self._registration, resource_type, resource_id),
            revoke_tokens=resource_requests.revoke_tokens(resource_type),
        )
        created = stored.created_at == stored.last_updated
        return self._answers.shown(stored, status=201 if created else 200)

    def delete(self, resource_type: str, resource_id: str) -> Response:
        """DELETE /Client/{id}: 200 with the last version, 204 when there is none."""
        caller = self._door.require(resource_type, resource_id, interaction="delete", letter="d")
        stored = self._registration.delete(
            resource_type,
            resource_id,
            actor=caller.client.id,
            now=clock.now_microseconds(),
            if_match=version_to_match(self._registration, resource_type, resource_id),
        )
        return Response(status=204) if stored is None else self._answers.shown(stored)

    def revoke_tokens(self, resource_id: str) -> Response:
        """POST /Client/{id}/$revoke-tokens: every access token of the client is dead when this answers."""
        caller = self._door.require(CLIENT, resource_id, interaction="client-revoke-tokens", letter="u")
        self._registration.revoke_tokens(resource_id, actor=caller.client.id)
        return respond(render.informed("Every access token issued to this client until now is revoked."))

    def flush_keys(self, resource_id: str) -> Response:
        """POST /Client/{id}/$flush-keys: no process uses a key fetched before this answers."""
        caller = self._door.require(CLIENT, resource_id, interaction="client-flush-keys", letter="u")
        self._registration.flush_keys(resource_id, actor=caller.client.id, now=clock.now_microseconds())
        return respond(render.informed("Keys fetched for this client until now are used no more."))


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
