"""The history of the registry over HTTP: one version, all of a resource, all of a type."""

from flask import Blueprint, Response, request

from authserver.errors import NotFound
from authserver.protocol import history_query
from authserver.services.authorization import Authorization, Caller
from authserver.services.ports import ACCESS_POLICY, CLIENT
from authserver.services.registration import Registration
from authserver.services.registry_view import RegistryView
from authserver.web.resource_answers import ResourceAnswers
from authserver.web.resource_requests import Door

_TYPES = f"any({CLIENT}, {ACCESS_POLICY})"


def history_blueprint(registration: Registration, authorization: Authorization, *, issuer: str) -> Blueprint:
    """Return the paths below `_history`. A version needs the letter r as a read does, a history s as a search does."""
    blueprint, door, answers = Blueprint("history", __name__), Door(authorization), ResourceAnswers(issuer)

    @blueprint.get(f"/<{_TYPES}:resource_type>/<resource_id>/_history/<version>")
    def vread(resource_type: str, resource_id: str, version: str) -> Response:
        caller = door.require(resource_type, resource_id, interaction="vread", letter="r")
        if not (version.isascii() and version.isdecimal() and len(version) <= 18):
            raise NotFound(detail="no legal version")
        view = RegistryView(registration.seen_by(caller.client).store)
        return answers.shown(view.version(resource_type, resource_id, int(version)))

    @blueprint.get(f"/<{_TYPES}:resource_type>/<resource_id>/_history")
    def of_instance(resource_type: str, resource_id: str) -> Response:
        caller = door.require(resource_type, resource_id, interaction="history-instance", letter="s")
        return page(resource_type, resource_id, caller)

    @blueprint.get(f"/<{_TYPES}:resource_type>/_history")
    def of_type(resource_type: str) -> Response:
        caller = door.require(resource_type, None, interaction="history-type", letter="s")
        return page(resource_type, None, caller)

    def page(resource_type: str, resource_id: str | None, caller: Caller) -> Response:
        query = history_query.parse(list(request.args.items(multi=True)))
        view = RegistryView(registration.seen_by(caller.client).store)
        found = view.history(resource_type, resource_id, query)
        return answers.history(request.path, query, found)

    return blueprint
