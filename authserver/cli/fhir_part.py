"""The FHIR layer as a part of what a process serves; loaded only by processes that have it."""

from typing import Any

from flask import Flask

from authserver import app as auth_app
from authserver import clock
from authserver.cli.asgi import LargeBodies
from authserver.cli.configuration import Configuration
from authserver.fhir import app as fhir_app
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import load_definitions
from authserver.fhir.introspection import DirectIntrospection, HttpIntrospection, Introspection, RequestDescription
from authserver.fhir.settings import FhirSettings
from authserver.fhir.store.sql_store import SqlStore, open_store
from authserver.protocol import policy_request
from authserver.services.token_introspection import TokenIntrospection


def open_layer(loaded: Configuration, introspection: Introspection) -> tuple[Flask, SqlStore]:
    """Return the layer's application and the store that it reads."""
    definitions = load_definitions()
    store = open_store(loaded.fhir.fhir_database_url, definitions)
    layer = fhir_app.create_app(
        loaded.fhir,
        store=store,
        introspection=introspection,
        smart_configuration=auth_app.smart_configuration(loaded.settings),
        definitions=definitions,
    )
    return layer, store


def direct_introspection(introspection: TokenIntrospection) -> DirectIntrospection:
    """Return the FHIR layer's way to introspection within one process."""

    def introspect(token: str, request: RequestDescription) -> dict[str, Any]:
        return introspection.introspect(token, request=policy_request.from_description(request), now=clock.now())

    return DirectIntrospection(introspect)


def http_introspection(settings: FhirSettings) -> HttpIntrospection:
    """Return the FHIR layer's way to introspection over HTTP, with credentials of its own."""
    return HttpIntrospection(
        str(settings.introspection_url),
        settings.fhir_client_id,
        settings.fhir_client_secret.get_secret_value(),
        timeout=settings.fhir_introspection_timeout,
    )


def large_bodies(settings: FhirSettings) -> LargeBodies:
    """Return below which path bodies may be large, and how large, in bytes."""
    return LargeBodies(settings.base_path, settings.fhir_max_body_bytes)


def require_reads(store: SqlStore) -> None:
    """Read from the store, for readiness; raises StorageUnavailable."""
    store.read(Constraint.system(""), "Patient", "-")
