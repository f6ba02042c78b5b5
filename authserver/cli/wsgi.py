"""What the processes serve: both parts behind one port, or one of them. Each reads the settings anew.

`both`, `auth` and `fhir` are for the built-in server; what they return is a WSGI application, for any other one too.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
from flask import Flask

from authserver import app as auth_app
from authserver import clock
from authserver.adapters.heartbeat import Heartbeat, Task
from authserver.adapters.purger import Purger
from authserver.app import Parts, Services
from authserver.cli import configuration, logs
from authserver.cli.asgi import LargeBodies
from authserver.cli.configuration import Configuration, Role
from authserver.errors import Unavailable
from authserver.services.metering import Meter
from authserver.services.readiness import Readiness
from authserver.use_cases import limit_exchange
from authserver.web import errors as web_errors
from authserver.web.direct import DirectEndpoint
from authserver.web.health import health_blueprint

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from authserver.adapters.metrics import Metrics

_HEALTH = ("/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A WSGI application; what a server may serve of it without the framework, by path; and how to let go of it.

    `large_bodies` are the paths that may have them.
    `drain` lets /readyz answer 503 from now on; it waits for nothing.
    """

    application: "WSGIApplication"
    direct: Mapping[str, DirectEndpoint] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None
    drain: Callable[[], None] = lambda: None
    large_bodies: LargeBodies | None = None

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request, as any WSGI application does."""
        return self.application(environ, start_response)


def both() -> Loaded:
    """Return both parts: what is below the FHIR base's path goes to the FHIR layer, the rest to the other."""
    from authserver.cli import fhir_part

    loaded = _load("both")
    meter = _metrics(loaded)
    parts, services = _open_auth(loaded, meter)
    direct = auth_app.direct_endpoints(loaded.settings, parts, services, meter=meter)
    server = auth_app.create_app(loaded.settings, parts=parts, services=services, direct=direct, meter=meter)
    layer, store = fhir_part.open_layer(loaded, fhir_part.direct_introspection(services.introspection))
    services.readiness.add(lambda _now: fhir_part.require_reads(store))
    prefix, beside = loaded.fhir.base_path, loaded.fhir.metadata_paths

    def choose(path: str) -> "WSGIApplication":
        return layer if path == prefix or path.startswith(f"{prefix}/") or path in beside else server

    close = partial(_close, parts, services)
    return Loaded(_dispatcher(choose), direct, close, services.readiness.drain, fhir_part.large_bodies(loaded.fhir))


def auth() -> Loaded:
    """Return the authorization server alone."""
    loaded = _load("auth")
    meter = _metrics(loaded)
    parts, services = _open_auth(loaded, meter)
    direct = auth_app.direct_endpoints(loaded.settings, parts, services, meter=meter)
    server = auth_app.create_app(loaded.settings, parts=parts, services=services, direct=direct, meter=meter)
    return Loaded(server, direct, partial(_close, parts, services), services.readiness.drain)


def fhir() -> Loaded:
    """Return the FHIR layer alone; it asks about tokens over HTTP, with credentials of its own."""
    from authserver.cli import fhir_part

    loaded = _load("fhir")
    layer, store = fhir_part.open_layer(loaded, fhir_part.http_introspection(loaded.fhir))
    readiness = Readiness([lambda _now: fhir_part.require_reads(store)])
    health = _health(loaded, readiness)
    return Loaded(
        _dispatcher(lambda path: health if path in _HEALTH else layer),
        drain=readiness.drain,
        large_bodies=fhir_part.large_bodies(loaded.fhir),
    )


def _load(role: Role) -> Configuration:
    loaded = configuration.load(role)
    logs.configure(loaded.settings.log_format)
    _strip_environment()
    return loaded


def _strip_environment() -> None:
    """Take out of the environment what must not reach a request.

    Some servers copy the process's environment into every request's environ: a secret would lie there (threat F08),
    and a variable like HTTP_PROXY would look like a header that the caller sent.
    """
    for name in list(os.environ):
        if name.startswith(("HTTP_", "AUTHSERVER_")):
            del os.environ[name]


def _metrics(loaded: Configuration) -> "Metrics | None":
    """Return what counts this process's requests; None where the settings want none."""
    if loaded.settings.metrics == "off":
        return None
    from authserver.adapters.metrics import Metrics  # looks at the environment when it is imported

    return Metrics(folder=os.environ.get("PROMETHEUS_MULTIPROC_DIR"))


def _open_auth(loaded: Configuration, meter: Meter | None) -> tuple[Parts, Services]:
    parts = auth_app.open_parts(loaded.settings, meter=meter)
    services = auth_app.build_services(loaded.settings, parts, meter=meter)
    stores = parts.stores
    interval = loaded.settings.purge_interval
    Purger(
        stores.replay_guard,
        stores.revocations,
        stores.receipts,
        decisions=stores.decisions,
        interval=interval,
        upkeep=services.audit.upkeep,
    ).start()
    Heartbeat(_tasks(loaded, parts, services)).start()
    return parts, services


def _tasks(loaded: Configuration, parts: Parts, services: Services) -> dict[str, Task]:
    """Return what a process does each second beside its requests."""
    tasks: dict[str, Task] = {"api_key_uses": lambda _now: services.api_keys.uses.flush()}
    tasks["client_key_uses"] = lambda now: services.client_key_uses.tend(now=now)
    # One server runs on a SQLite file, in one process: it has nobody to tell.
    if services.limits.budgets and not loaded.settings.database_url.startswith("sqlite"):
        exchange = limit_exchange(services, parts.stores, member=secrets.token_hex(16))
        tasks["limits"] = lambda now: exchange.exchange(now=now)
    return tasks


def _close(parts: Parts, services: Services) -> None:
    """Let go of the database, the end of the audit signed."""
    try:
        services.audit.upkeep(now=clock.now())
    except Unavailable as error:
        structlog.get_logger("authserver.audit").error("audit_not_signed", detail=error.detail)
    finally:
        parts.stores.close()


def _health(loaded: Configuration, readiness: Readiness) -> Flask:
    """Return /healthz and /readyz for a process that has only the FHIR layer."""
    app = Flask("authserver.health", static_folder=None)
    web_errors.install(app, https=loaded.settings.issuer.startswith("https://"))
    app.register_blueprint(health_blueprint(lambda: readiness.require(now=clock.now())))
    return app


def _dispatcher(choose: Callable[[str], "WSGIApplication"]) -> "WSGIApplication":
    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        chosen = choose(cast("str", environ.get("PATH_INFO", "")))
        return chosen(environ, start_response)

    return application
