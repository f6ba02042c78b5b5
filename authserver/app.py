"""The composition root: settings -> adapters -> services -> blueprints. Nothing is built at import."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flask import Flask

from authserver.adapters.audit_log import LogAuditLog
from authserver.adapters.jwks_cache import JwksCache
from authserver.adapters.jwks_http import JwksHttp
from authserver.adapters.key_files import open_signer
from authserver.adapters.receipt_writer import ReceiptWriter
from authserver.adapters.secret_hashes import Argon2Hasher
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.stores import SqlStores
from authserver.protocol import metadata, source_address
from authserver.protocol.assertion import Expected
from authserver.protocol.client import ClientRules
from authserver.protocol.jwks import JwkSet, parse_document
from authserver.protocol.jwks_url import JwksUrlRules
from authserver.protocol.key_policy import KeyRules
from authserver.services.authorization import Authorization
from authserver.services.client_authentication import ClientAuthentication
from authserver.services.diagnosis import Diagnosis
from authserver.services.dynamic_registration import DynamicRegistration
from authserver.services.forward_auth import ForwardAuth
from authserver.services.ports import (
    AuditLog,
    JwksSource,
    ReceiptLog,
    ReceiptStore,
    ReplayGuard,
    ResourceStore,
    RevocationList,
    SecretHasher,
    Signer,
)
from authserver.services.receipts import Receipts
from authserver.services.registration import Registration
from authserver.services.registry import Registry
from authserver.services.token_introspection import TokenIntrospection
from authserver.services.token_issuance import IssuanceRules, TokenIssuance
from authserver.settings import Settings
from authserver.web import errors as web_errors
from authserver.web import receipts as web_receipts
from authserver.web import sources
from authserver.web.diagnose import diagnosis_blueprint
from authserver.web.health import health_blueprint
from authserver.web.introspect import introspection_blueprint
from authserver.web.register import registration_blueprint
from authserver.web.resources import resources_blueprint
from authserver.web.token import token_blueprint
from authserver.web.verify import verify_blueprint
from authserver.web.well_known import well_known_blueprint

MAX_BODY = 65_536
"""Bytes of a request body; a token request needs a few thousand, a Client with inline keys some more."""


MAX_WAITING_FOR_SLOW_HOSTS = 3
"""Threads of a process that may wait for key hosts that fail or are slow; fewer than a process has (threat C09)."""


class Stores(Protocol):
    """One database's stores, however they are kept."""

    @property
    def resources(self) -> ResourceStore:
        """Clients and policies."""

    @property
    def replay_guard(self) -> ReplayGuard:
        """Used assertions."""

    @property
    def revocations(self) -> RevocationList:
        """Revoked access tokens."""

    @property
    def receipts(self) -> ReceiptStore:
        """Why requests were refused."""

    def ping(self) -> None:
        """Raise StorageUnavailable when the database does not answer."""

    def close(self) -> None:
        """Let go of the database."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters that one process works with."""

    stores: Stores
    signer: Signer
    jwks_source: JwksSource
    hasher: SecretHasher
    audit_log: AuditLog
    receipt_log: ReceiptLog


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases, wired."""

    registration: Registration
    issuance: TokenIssuance
    introspection: TokenIntrospection
    authorization: Authorization
    diagnosis: Diagnosis
    receipts: Receipts
    forward_auth: ForwardAuth
    dynamic_registration: DynamicRegistration


def open_parts(settings: Settings) -> Parts:
    """Open the adapters that the settings name. The database must have been upgraded before."""
    stores = SqlStores(open_engine(settings.database_url), max_receipts=settings.receipt_limit)
    return Parts(
        stores=stores,
        signer=open_signer(settings.keys_dir, algorithm=settings.signing_algorithm, times=settings.key_times),
        jwks_source=_jwks_source(settings),
        hasher=Argon2Hasher(),
        audit_log=LogAuditLog(),
        receipt_log=ReceiptWriter(stores.receipts),
    )


def build_services(settings: Settings, parts: Parts) -> Services:
    """Wire the use cases from settings and adapters."""
    rules, stores = client_rules(settings), parts.stores
    registry = Registry(stores.resources, rules=rules, audit_log=parts.audit_log)
    introspection = TokenIntrospection(
        registry, parts.signer, stores.revocations, parts.audit_log, issuer=settings.issuer
    )
    authentication = ClientAuthentication(
        registry,
        parts.jwks_source,
        stores.replay_guard,
        expected=Expected(
            settings.issuer, frozenset({settings.issuer, settings.token_url, *settings.audience_aliases})
        ),
        algorithms=settings.assertion_algorithms,
    )
    registration = Registration(stores.resources, parts.hasher, parts.audit_log, rules)
    issuance = TokenIssuance(authentication, parts.signer, parts.audit_log, _issuance_rules(settings))
    return Services(
        registration=registration,
        issuance=issuance,
        diagnosis=Diagnosis(issuance),
        receipts=Receipts(parts.receipt_log, keep=settings.receipt_days * 86_400),
        introspection=introspection,
        authorization=Authorization(
            registry,
            introspection,
            authentication,
            parts.hasher,
            audiences=frozenset({settings.issuer, settings.fhir_base_url}),
        ),
        forward_auth=ForwardAuth(introspection, settings.forward_audiences, settings.forward_fhir_bases),
        dynamic_registration=DynamicRegistration(
            registration, parts.audit_log, active=settings.registered_clients_active
        ),
    )


def create_app(settings: Settings, *, parts: Parts, services: Services | None = None) -> Flask:
    """Return the authorization server as a WSGI application."""
    use = services or build_services(settings, parts)
    app = Flask("authserver", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    web_errors.install(app, https=settings.issuer.startswith("https://"))
    sources.install(app, proxies=source_address.trusted(settings.trusted_proxies))
    web_receipts.install(app, use.receipts)
    app.register_blueprint(diagnosis_blueprint(use.diagnosis, use.receipts, use.authorization))
    app.register_blueprint(token_blueprint(use.issuance))
    app.register_blueprint(introspection_blueprint(use.introspection, use.authorization))
    app.register_blueprint(verify_blueprint(use.forward_auth))
    app.register_blueprint(registration_blueprint(use.dynamic_registration, use.authorization))
    app.register_blueprint(resources_blueprint(use.registration, use.authorization, issuer=settings.issuer))
    app.register_blueprint(
        well_known_blueprint(
            parts.signer,
            smart_configuration=smart_configuration(settings),
            authorization_server=metadata.authorization_server(
                **_metadata(settings), signing_algorithm=settings.signing_algorithm
            ),
            jwks_max_age=settings.jwks_max_age,
        )
    )
    app.register_blueprint(health_blueprint(parts.stores.ping))
    return app


def smart_configuration(settings: Settings) -> dict[str, Any]:
    """Return the SMART discovery document, which the FHIR layer serves under its base as well."""
    return metadata.smart_configuration(**_metadata(settings))


def client_rules(settings: Settings) -> ClientRules:
    """Return what the settings say about registrations."""
    return ClientRules(
        jwks_urls=JwksUrlRules.from_allow_list(settings.jwks_allow, development=settings.dev),
        max_token_lifetime=settings.max_token_lifetime,
        algorithms=settings.assertion_algorithms,
        keys=KeyRules(any_odd_exponent=settings.any_odd_rsa_exponent, publicly_known=settings.dev),
    )


def _metadata(settings: Settings) -> Mapping[str, Any]:
    return {
        "endpoints": metadata.Endpoints(settings.issuer),
        "algorithms": settings.assertion_algorithms,
        "wildcard_types": settings.wildcard,
    }


def _issuance_rules(settings: Settings) -> IssuanceRules:
    return IssuanceRules(settings.issuer, settings.fhir_base_url, settings.wildcard, settings.scope_required)


def _jwks_source(settings: Settings) -> JwksSource:
    rules = client_rules(settings)

    def parse(document: bytes) -> JwkSet:
        return parse_document(document, rules=rules.keys)

    ca_file = None if settings.jwks_ca_file is None else str(settings.jwks_ca_file)
    return JwksCache(JwksHttp(rules.jwks_urls, ca_file=ca_file), parse, max_suspects=MAX_WAITING_FOR_SLOW_HOSTS)
