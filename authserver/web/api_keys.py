"""API keys over HTTP: POST and GET /ApiKey, GET and DELETE /ApiKey/ID, POST /ApiKey/ID/$rotate (docs/api-keys.md)."""

from typing import Any

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import NotSupported
from authserver.protocol import render
from authserver.services.api_keys import ApiKeys, MadeKey
from authserver.services.authorization import Authorization
from authserver.services.ports import API_KEY, StoredResource
from authserver.web.errors import respond
from authserver.web.resource_requests import Door, json_body


class ApiKeyViews:
    """The views; each proves the caller, asks whether it may, and hands over to the use case."""

    def __init__(self, keys: ApiKeys, authorization: Authorization, *, issuer: str) -> None:
        self._keys, self._door, self._issuer = keys, Door(authorization), issuer

    def create(self) -> Response:
        """POST /ApiKey: 201 with the key, which is never shown again."""
        actor = self._actor(None, interaction="create", letter="c")
        made = self._keys.create(json_body(API_KEY), actor=actor, now=clock.now_microseconds())
        return self._shown_once(made, status=201)

    def search(self) -> Response:
        """GET /ApiKey, GET /ApiKey?client=ID: the keys as a searchset Bundle."""
        self._actor(None, interaction="search-type", letter="s")
        if set(request.args) - {"client"} or len(request.args.getlist("client")) > 1:
            raise NotSupported("The only search parameter here is client, once.")
        found = self._keys.current(request.args.get("client"))
        resources = self._keys.shown(found, now=clock.now())
        entries = [{"fullUrl": self._url(one["id"]), "resource": one, "search": {"mode": "match"}} for one in resources]
        bundle = {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}
        return respond(render.json_answer(bundle))

    def read(self, key_id: str) -> Response:
        """GET /ApiKey/{id}."""
        self._actor(key_id, interaction="read", letter="r")
        return respond(render.json_answer(self._representation(self._keys.get(key_id))))

    def rotate(self, key_id: str) -> Response:
        """POST /ApiKey/{id}/$rotate: 200 with the new key; the former one is dead when this answers."""
        actor = self._actor(key_id, interaction="api-key-rotate", letter="u")
        return self._shown_once(self._keys.rotate(key_id, actor=actor, now=clock.now_microseconds()), status=200)

    def revoke(self, key_id: str) -> Response:
        """DELETE /ApiKey/{id}: the key is dead when this answers, and remains to be seen as revoked."""
        actor = self._actor(key_id, interaction="delete", letter="d")
        stored = self._keys.revoke(key_id, actor=actor, now=clock.now_microseconds())
        return respond(render.json_answer(self._representation(stored)))

    def _actor(self, key_id: str | None, *, interaction: str, letter: str) -> str:
        return self._door.require(API_KEY, key_id, interaction=interaction, letter=letter).client.id

    def _shown_once(self, made: MadeKey, *, status: int) -> Response:
        shown = {**self._representation(made.stored), "key": made.text}
        answer = render.json_answer(shown, status=status)
        answer.headers["Location"] = self._url(made.stored.id)
        return respond(answer)

    def _representation(self, stored: StoredResource) -> dict[str, Any]:
        return self._keys.shown([stored], now=clock.now())[0]

    def _url(self, key_id: str) -> str:
        return f"{self._issuer}/{API_KEY}/{key_id}"


def api_keys_blueprint(keys: ApiKeys, authorization: Authorization, *, issuer: str) -> Blueprint:
    """Return the paths of API keys."""
    blueprint, views = Blueprint("api_keys", __name__), ApiKeyViews(keys, authorization, issuer=issuer)
    instance = f"/{API_KEY}/<key_id>"
    blueprint.add_url_rule(f"/{API_KEY}", "create", views.create, methods=["POST"])
    blueprint.add_url_rule(f"/{API_KEY}", "search", views.search, methods=["GET"])
    blueprint.add_url_rule(instance, "read", views.read, methods=["GET"])
    blueprint.add_url_rule(instance, "revoke", views.revoke, methods=["DELETE"])
    blueprint.add_url_rule(f"{instance}/$rotate", "rotate", views.rotate, methods=["POST"])
    return blueprint
