"""The registry over HTTP: read, search, create, change and delete Clients and AccessPolicies; end a client's tokens."""

from flask import Blueprint, Response, request

from authserver import clock
from authserver.protocol import registry_search, render
from authserver.services.authorization import Authorization
from authserver.services.conditional_changes import ConditionalChanges
from authserver.services.ports import ACCESS_POLICY, CLIENT, StoredResource
from authserver.services.registration import Registration
from authserver.services.registry_view import RegistryView
from authserver.web import resource_requests
from authserver.web.errors import respond
from authserver.web.resource_answers import ResourceAnswers
from authserver.web.resource_requests import Door, json_body, patch_body, version_to_match

_TYPES = f"any({CLIENT}, {ACCESS_POLICY})"


class Resources:
    """The views; each proves the caller, asks whether it may, and hands over to the registration."""

    def __init__(self, registration: Registration, authorization: Authorization, *, issuer: str) -> None:
        self._registration, self._door, self._answers = registration, Door(authorization), ResourceAnswers(issuer)

    def search(self, resource_type: str) -> Response:
        """GET /Client: a page of what matches, as a searchset Bundle."""
        registration = self._open(resource_type, None, interaction="search-type", letter="s")[1]
        search = registry_search.parse(resource_type, list(request.args.items(multi=True)))
        found = RegistryView(registration.store).search(resource_type, search)
        return self._answers.found(resource_type, search, found)

    def read(self, resource_type: str, resource_id: str) -> Response:
        """GET /Client/{id}."""
        registration = self._open(resource_type, resource_id, interaction="read", letter="r")[1]
        return self._answers.shown(registration.get(resource_type, resource_id))

    def create(self, resource_type: str) -> Response:
        """POST /Client: 201; the body's id, or a random one."""
        actor, registration = self._open(resource_type, None, interaction="create", letter="c")
        stored = ConditionalChanges(registration).create(
            resource_type, json_body(resource_type), actor=actor, now=clock.now_microseconds()
        )
        return self._answers.changed(stored, status=201)

    def put(self, resource_type: str, resource_id: str) -> Response:
        """PUT /Client/{id}: 201 for a new id, 200 for a new version."""
        actor, registration = self._open(resource_type, resource_id, interaction="update", letter="u")
        stored = registration.put(
            resource_type,
            resource_id,
            json_body(resource_type),
            actor=actor,
            now=clock.now_microseconds(),
            if_match=version_to_match(registration, resource_type, resource_id),
            revoke_tokens=resource_requests.revoke_tokens(resource_type),
        )
        return self._put(stored)

    def put_where(self, resource_type: str) -> Response:
        """PUT /Client?criteria: none matches, 201; one, 200; several, 412."""
        actor, registration = self._open(resource_type, None, interaction="update", letter="us")
        search = registry_search.criteria(resource_type, list(request.args.items(multi=True)))
        body, now = json_body(resource_type), clock.now_microseconds()
        return self._put(ConditionalChanges(registration).put(resource_type, search, body, actor=actor, now=now))

    def patch(self, resource_type: str, resource_id: str) -> Response:
        """PATCH /Client/{id} with a JSON Patch."""
        actor, registration = self._open(resource_type, resource_id, interaction="patch", letter="u")
        stored = ConditionalChanges(registration).patch(
            resource_type,
            resource_id,
            patch_body(resource_type),
            actor=actor,
            now=clock.now_microseconds(),
            if_match=version_to_match(registration, resource_type, resource_id),
        )
        return self._answers.changed(stored)

    def delete(self, resource_type: str, resource_id: str) -> Response:
        """DELETE /Client/{id}: 200 with the last version, 204 when there is none or `_no-content=true`."""
        actor, registration = self._open(resource_type, resource_id, interaction="delete", letter="d")
        without_body = resource_requests.flag("_no-content")
        stored = registration.delete(
            resource_type,
            resource_id,
            actor=actor,
            now=clock.now_microseconds(),
            if_match=version_to_match(registration, resource_type, resource_id),
        )
        return self._deleted(None if without_body else stored)

    def delete_where(self, resource_type: str) -> Response:
        """DELETE /Client?criteria: none matches, 204; one, as by its id; several, 412."""
        actor, registration = self._open(resource_type, None, interaction="delete", letter="ds")
        without_body = resource_requests.flag("_no-content")
        search = registry_search.criteria(resource_type, resource_requests.pairs_without("_no-content"))
        now = clock.now_microseconds()
        stored = ConditionalChanges(registration).delete(resource_type, search, actor=actor, now=now)
        return self._deleted(None if without_body else stored)

    def revoke_tokens(self, resource_id: str) -> Response:
        """POST /Client/{id}/$revoke-tokens: every access token of the client is dead when this answers."""
        actor, registration = self._open(CLIENT, resource_id, interaction="client-revoke-tokens", letter="u")
        registration.revoke_tokens(resource_id, actor=actor, now=clock.now_microseconds())
        return respond(render.informed("Every access token issued to this client until now is revoked."))

    def flush_keys(self, resource_id: str) -> Response:
        """POST /Client/{id}/$flush-keys: no process uses a key fetched before this answers."""
        actor, registration = self._open(CLIENT, resource_id, interaction="client-flush-keys", letter="u")
        registration.flush_keys(resource_id, actor=actor, now=clock.now_microseconds())
        return respond(render.informed("Keys fetched for this client until now are used no more."))

    def _open(
        self, resource_type: str, resource_id: str | None, *, interaction: str, letter: str
    ) -> tuple[str, Registration]:
        """Return who is let in, and the registry as it may see and change it."""
        caller = self._door.require(resource_type, resource_id, interaction=interaction, letter=letter)
        return caller.client.id, self._registration.seen_by(caller.client)

    def _put(self, stored: StoredResource) -> Response:
        created = stored.created_at == stored.last_updated
        return self._answers.changed(stored, status=201 if created else 200)

    def _deleted(self, shown: StoredResource | None) -> Response:
        return Response(status=204) if shown is None else self._answers.shown(shown)


def resources_blueprint(registration: Registration, authorization: Authorization, *, issuer: str) -> Blueprint:
    """Return the registry's paths."""
    blueprint, views = Blueprint("resources", __name__), Resources(registration, authorization, issuer=issuer)
    instance = f"/<{_TYPES}:resource_type>/<resource_id>"
    every = f"/<{_TYPES}:resource_type>"
    blueprint.add_url_rule(every, "search", views.search, methods=["GET"])
    blueprint.add_url_rule(every, "create", views.create, methods=["POST"])
    blueprint.add_url_rule(every, "put_where", views.put_where, methods=["PUT"])
    blueprint.add_url_rule(every, "delete_where", views.delete_where, methods=["DELETE"])
    blueprint.add_url_rule(instance, "read", views.read, methods=["GET"])
    blueprint.add_url_rule(instance, "put", views.put, methods=["PUT"])
    blueprint.add_url_rule(instance, "patch", views.patch, methods=["PATCH"])
    blueprint.add_url_rule(instance, "delete", views.delete, methods=["DELETE"])
    operation = f"/{CLIENT}/<resource_id>/$revoke-tokens"
    blueprint.add_url_rule(operation, "revoke_tokens", views.revoke_tokens, methods=["POST"])
    flush = f"/{CLIENT}/<resource_id>/$flush-keys"
    blueprint.add_url_rule(flush, "flush_keys", views.flush_keys, methods=["POST"])
    return blueprint
