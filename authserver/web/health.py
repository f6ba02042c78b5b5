"""Is the process alive, and can it do its work."""

from collections.abc import Callable

from flask import Blueprint, Response

from authserver.protocol import render
from authserver.web.errors import respond


def health_blueprint(check: Callable[[], None]) -> Blueprint:
    """Return /healthz (alive) and /readyz; `check` raises Unavailable when a dependency gives no answer."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return respond(render.json_answer({"status": "ok"}))

    @blueprint.get("/readyz")
    def readyz() -> Response:
        check()
        return respond(render.json_answer({"status": "ready"}))

    return blueprint
