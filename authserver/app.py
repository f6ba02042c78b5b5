"""The composition root: settings -> adapters -> use cases -> blueprints. Nothing is built at import."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Flask

from authserver import clock
from authserver.adapters.audit_log import LogAuditLog
from authserver.adapters.fast_signatures import LateSignatureCheck
from authserver.adapters.jwks_cache import JwksCache
from authserver.adapters.jwks_late import LateJwksHttp
from authserver.adapters.jwks_metering import MeteredFetcher
from authserver.adapters.key_files import open_signer
from authserver.adapters.receipt_writer import ReceiptWriter
from authserver.adapters.secret_hashes import Argon2Hasher
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.failover import FailoverFence
from authserver.adapters.sql.stores import SqlStores
from authserver.parts import AtHand, Parts, Services, Stores
from authserver.protocol import assertion, metadata, source_address
from authserver.protocol.jwks import JwkSet, parse_document
from authserver.services.metering import Exposing, Meter, NoMeter
from authserver.settings import Settings
from authserver.use_cases import build_services, client_rules
from authserver.web import audit as web_audit
from authserver.web import errors as web_errors
from authserver.web import metrics as web_metrics
from authserver.web import receipts as web_receipts
from authserver.web import sources
from authserver.web.access_evaluation import access_evaluation_blueprint
from authserver.web.api_keys import api_keys_blueprint
from authserver.web.audit_events import audit_blueprint
from authserver.web.diagnose import diagnosis_blueprint
from authserver.web.direct import DirectEndpoint
from authserver.web.direct_path import DirectPath, DirectPaths, Surroundings, View
from authserver.web.health import health_blueprint
from authserver.web.history import history_blueprint
from authserver.web.introspect import IntrospectView, QuickIntrospectView, revocation_blueprint
from authserver.web.live_tokens import live_tokens_blueprint
from authserver.web.metrics import metrics_blueprint
from authserver.web.policy_records import policy_records_blueprint
from authserver.web.policy_tools import policy_tools_blueprint
from authserver.web.register import registration_blueprint
from authserver.web.registry_tools import registry_tools_blueprint
from authserver.web.resources import resources_blueprint
from authserver.web.token import TokenView
from authserver.web.verify import verify_blueprint
from authserver.web.well_known import well_known_blueprint
from authserver.web.yaml_answers import speak_yaml

__all__ = [
    "AtHand",
    "Parts",
    "Services",
    "Stores",
    "build_services",
    "client_rules",
    "create_app",
    "direct_endpoints",
    "open_parts",
    "smart_configuration",
]

MAX_BODY = 65_536
"""Bytes of a request body; a token request needs a few thousand, a Client with inline keys some more."""


HOST_SKEW_SECONDS = 30
"""By how much the clocks of two hosts of ours may differ."""

MAX_WAITING_FOR_SLOW_HOSTS = 3
"""Threads of a process that may wait for key hosts that fail or are slow; fewer than a process has (threat C09)."""


def open_parts(settings: Settings, *, meter: Meter | None = None) -> Parts:
    """Open the adapters that the settings name. The database must have been upgraded before."""
    stores = SqlStores(
        open_engine(settings.database_url),
        max_receipts=settings.receipt_limit,
        max_decisions=settings.decision_limit,
        fence=_failover_fence(settings),
    )
    jwks = _jwks_cache(settings, meter or NoMeter())
    return Parts(
        stores=stores,
        signer=open_signer(settings.keys_dir, algorithm=settings.signing_algorithm, times=settings.key_times),
        jwks_source=jwks,
        jwks_watch=jwks,
        hasher=Argon2Hasher(),
        audit_log=LogAuditLog(),
        receipt_log=ReceiptWriter(stores.receipts),
        decision_log=ReceiptWriter(stores.decisions, kind="decisions"),
        check_signature=LateSignatureCheck(),
    )


def direct_endpoints(
    settings: Settings, parts: Parts, services: Services, *, meter: Meter | None = None
) -> dict[str, DirectEndpoint]:
    """Return, by path, the endpoints that are served without the framework."""
    at_hand = services.at_hand
    surroundings = Surroundings(
        services.receipts,
        meter or NoMeter(),
        proxies=source_address.trusted(settings.trusted_proxies),
        https=settings.issuer.startswith("https://"),
        max_body=MAX_BODY,
        audit=services.audit.trail,
    )
    token = TokenView(
        services.issuance,
        at_hand=at_hand.issuance,
        present=at_hand.present,
        claims=parts.stores.claims,
        limits=services.limits,
    )
    introspect = QuickIntrospectView(
        IntrospectView(services.introspection, services.authorization),
        at_hand=IntrospectView(at_hand.introspection, at_hand.authorization),
        present=at_hand.present,
        key_set=parts.signer.key_set,
        limits=services.limits,
    )
    views: dict[str, View] = {"/auth/token": token, "/auth/introspect": introspect}
    return {path: DirectPath(path, view, surroundings) for path, view in views.items()}


def create_app(
    settings: Settings,
    *,
    parts: Parts,
    services: Services | None = None,
    direct: Mapping[str, DirectEndpoint] | None = None,
    meter: Exposing | None = None,
) -> Flask:
    """Return the authorization server as a WSGI application; `direct` are its direct_endpoints(), made if not given.

    With a `meter`, which those must have been given too, its answers are counted, and /metrics tells of them.
    """
    use = services or build_services(settings, parts)
    app = Flask("authserver", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    web_errors.install(app, https=settings.issuer.startswith("https://"))
    sources.install(app, proxies=source_address.trusted(settings.trusted_proxies))
    web_receipts.install(app, use.receipts)
    if meter is not None:
        web_metrics.install(app, meter)  # what is installed later sees an answer earlier
    web_audit.install(app, use.audit.trail)
    app.register_blueprint(diagnosis_blueprint(use.diagnosis, use.receipts, use.authorization))
    app.register_blueprint(revocation_blueprint(use.introspection, use.authorization))
    app.register_blueprint(verify_blueprint(use.forward_auth))
    _register_policy_paths(app, use, issuer=settings.issuer)
    app.register_blueprint(registration_blueprint(use.dynamic_registration, use.authorization))
    _register_registry(app, use, issuer=settings.issuer)
    app.register_blueprint(api_keys_blueprint(use.api_keys, use.authorization, issuer=settings.issuer))
    app.register_blueprint(audit_blueprint(use.audit.reading, use.authorization, issuer=settings.issuer))
    app.register_blueprint(_well_known(settings, parts))
    app.register_blueprint(health_blueprint(lambda: use.readiness.require(now=clock.now())))
    if meter is not None and settings.metrics != "off":
        app.register_blueprint(
            metrics_blueprint(lambda: meter.exposition(_key_ages(parts)), everybody=settings.metrics == "on")
        )
    endpoints = direct_endpoints(settings, parts, use) if direct is None else direct
    app.wsgi_app = DirectPaths(app.wsgi_app, endpoints)  # type: ignore[method-assign]
    return app


def _register_registry(app: Flask, use: Services, *, issuer: str) -> None:
    for blueprint in (resources_blueprint, history_blueprint):
        app.register_blueprint(speak_yaml(blueprint(use.registration, use.authorization, issuer=issuer)))
    tools = registry_tools_blueprint(
        use.registration, use.authorization, validation=use.validation, key_health=use.key_health
    )
    app.register_blueprint(speak_yaml(tools))
    live = live_tokens_blueprint(use.live_tokens, use.registration, use.authorization, issuer=issuer)
    app.register_blueprint(speak_yaml(live))


def _register_policy_paths(app: Flask, use: Services, *, issuer: str) -> None:
    app.register_blueprint(policy_tools_blueprint(use.policy_trial, use.authorization))
    app.register_blueprint(policy_records_blueprint(use.decisions, use.registration, use.authorization))
    app.register_blueprint(access_evaluation_blueprint(use.access_evaluation, use.authorization, issuer=issuer))


def _well_known(settings: Settings, parts: Parts) -> Blueprint:
    return well_known_blueprint(
        parts.signer,
        smart_configuration=smart_configuration(settings),
        authorization_server=metadata.authorization_server(
            **_metadata(settings), signing_algorithm=settings.signing_algorithm
        ),
        jwks_max_age=settings.jwks_max_age,
    )


def smart_configuration(settings: Settings) -> dict[str, Any]:
    """Return the SMART discovery document, which the FHIR layer serves under its base as well."""
    return metadata.smart_configuration(**_metadata(settings))


def _metadata(settings: Settings) -> Mapping[str, Any]:
    return {
        "endpoints": metadata.Endpoints(settings.issuer),
        "algorithms": settings.assertion_algorithms,
        "wildcard_types": settings.wildcard,
    }


def _failover_fence(settings: Settings) -> FailoverFence:
    """Return for how long after a failover what may have been lost with the old database is refused."""
    # Every assertion whose `until` is later than this can only have been made after it (protocol.assertion.verify).
    longest = assertion.MAX_LIFETIME + 2 * assertion.FUTURE_LEEWAY + assertion.EXPIRED_LEEWAY + 1
    return FailoverFence(
        assertion_seconds=longest + HOST_SKEW_SECONDS, token_seconds=settings.max_token_lifetime + HOST_SKEW_SECONDS
    )


def _key_ages(parts: Parts) -> dict[str, float]:
    return {key.kid: clock.now() - key.created_at for key in parts.signer.list_keys()}


def _jwks_cache(settings: Settings, meter: Meter) -> JwksCache:
    rules = client_rules(settings)

    def parse(document: bytes) -> JwkSet:
        return parse_document(document, rules=rules.keys)

    ca_file = None if settings.jwks_ca_file is None else str(settings.jwks_ca_file)
    fetcher = MeteredFetcher(LateJwksHttp(rules.jwks_urls, ca_file=ca_file), meter.jwks_fetch)
    return JwksCache(fetcher, parse, max_suspects=MAX_WAITING_FOR_SLOW_HOSTS)
