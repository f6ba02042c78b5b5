"""GET /metrics for the operator's monitoring, and the times of the framework's answers."""

from collections.abc import Callable
from ipaddress import ip_address

from flask import Blueprint, Flask, Response, g, request

from authserver import clock
from authserver.errors import NotFound
from authserver.protocol.render import Answer
from authserver.services.metering import Meter
from authserver.web.errors import respond

PATH = "/metrics"
_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


def install(app: Flask, meter: Meter) -> None:
    """Let each answer of the application be counted, by the template of its path: no id becomes a label."""

    @app.before_request
    def begin() -> None:
        g.begun = clock.ticks()

    @app.after_request
    def count(response: Response) -> Response:
        rule = request.url_rule
        refusal = g.get("refusal")
        meter.request(
            "unknown" if rule is None else rule.rule,
            request.method if request.method in _METHODS else "other",
            response.status_code,
            None if refusal is None else refusal.reason,
            clock.ticks() - g.get("begun", clock.ticks()),
        )
        return response


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def metrics_blueprint(exposition: Callable[[], bytes], *, everybody: bool) -> Blueprint:
    """Return /metrics; unless `everybody` may read it, only who calls from this host without a proxy finds it."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get(PATH)
    def metrics() -> Response:
        if not everybody and not _is_local():
            raise NotFound(detail="metrics are for this host alone")
        return respond(Answer(200, {"Content-Type": _MEDIA_TYPE}, exposition()))

    return blueprint


def _is_local() -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False  # a proxy on this host speaks for somebody else
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
