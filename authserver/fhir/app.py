"""The FHIR layer as a Flask app: settings, a store and an introspection go in, nothing else is known.

Every path is canonical or refused, every answer is FHIR JSON with the same safe headers.
"""

import secrets
import traceback
from collections.abc import Mapping
from typing import Any

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from authserver import clock, errors
from authserver.errors import AuthServerError, BadRequest, NotFound, UnexpectedError
from authserver.fhir.access import Caller, Deny, UnknownOperation
from authserver.fhir.access_audit import Seen
from authserver.fhir.bearer import BearerAuthentication, credentials
from authserver.fhir.bulk.ports import ExportStore
from authserver.fhir.bulk.worker import ExportWorker
from authserver.fhir.definitions.tables import Definitions, load_definitions
from authserver.fhir.interactions.bodies import JSON_TYPES, PATCH_TYPE
from authserver.fhir.interactions.parts import make_audit, make_interactions, make_parser, make_rules
from authserver.fhir.introspection import Introspection
from authserver.fhir.request import (
    ALLOW,
    EXPORT,
    EXPORTS,
    TRANSACTION,
    FhirRequest,
    canonical_segments,
    export_operation,
    is_search_form,
    parse_parameters,
    parse_request,
)
from authserver.fhir.request_log import JsonLinesLog, RequestLog
from authserver.fhir.routes.answers import tenant_of
from authserver.fhir.routes.bundles import Admitted, BundleRoutes
from authserver.fhir.routes.capability import capability_statement, token_endpoint_of
from authserver.fhir.routes.export import ExportRoutes, body_parameters
from authserver.fhir.routes.export_parts import make_exports
from authserver.fhir.routes.router import Router
from authserver.fhir.routes.search import form_parameters
from authserver.fhir.settings import FhirSettings
from authserver.fhir.store.port import FhirSession, FhirStore
from authserver.protocol import canonical_path, render

EXPORT_WORKER = "authserver.bulk_export"
"""The app's extension that works on exports: an ExportWorker, or None. Stop it before its store is closed."""

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_MAX_FORM_BYTES = 64_000
_HEADERS = {"Cache-Control": "private, no-store", **render.NO_PAGE}


def create_app(
    settings: FhirSettings,
    *,
    store: FhirStore,
    introspection: Introspection,
    smart_configuration: Mapping[str, Any],
    definitions: Definitions | None = None,
    log: RequestLog | None = None,
) -> Flask:
    """Return the app. It serves below the path of `settings.fhir_base_url`, for example `/fhir`.

    `smart_configuration` is the authorization server's document, served again here (SMART App Launch 2.2,
    "Conformance"). `definitions` saves loading them twice when the caller has them.
    """
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = _MAX_FORM_BYTES
    parts = _Parts(
        settings,
        store=store,
        introspection=introspection,
        definitions=definitions or load_definitions(),
        log=log or JsonLinesLog(),
    )
    app.extensions[EXPORT_WORKER] = parts.export_worker
    app.before_request(parts.before)
    app.after_request(parts.after)
    app.register_error_handler(AuthServerError, parts.on_error)
    app.register_error_handler(HTTPException, parts.on_http_error)
    app.register_error_handler(Exception, parts.on_unforeseen)
    _add_routes(app, parts, smart_configuration)
    if parts.export_worker is not None:
        parts.export_worker.resume()
    return app


def _add_routes(app: Flask, parts: "_Parts", smart_configuration: Mapping[str, Any]) -> None:
    prefix = parts.prefix
    statement = capability_statement(
        parts.definitions,
        base_url=parts.base_url,
        token_endpoint=token_endpoint_of(smart_configuration),
        bulk_export=parts.export_worker is not None,
    )
    documents = (
        *((path, render.encode(statement), render.FHIR_JSON) for path in parts.metadata_paths),
        (f"{prefix}/.well-known/smart-configuration", render.encode(dict(smart_configuration)), render.JSON),
    )
    for number, (path, body, media_type) in enumerate(documents):
        app.add_url_rule(
            path,
            f"document{number}",
            lambda body=body, media_type=media_type: Response(body, content_type=media_type),
            methods=["GET"],
            provide_automatic_options=False,
        )
    for number, rule in enumerate((prefix or "/", f"{prefix}/<path:rest>")):
        app.add_url_rule(
            rule,
            f"fhir{number}",
            lambda **_: parts.serve(request),
            methods=_METHODS,
            provide_automatic_options=False,
        )


class _Parts:
    """What the handlers of one app share."""

    def __init__(
        self,
        settings: FhirSettings,
        *,
        store: FhirStore,
        introspection: Introspection,
        definitions: Definitions,
        log: RequestLog,
    ) -> None:
        self.prefix, self.metadata_paths = settings.base_path, settings.metadata_paths
        self.base_url = settings.fhir_base_url
        self.definitions = definitions
        self._log = log
        self._bearer = BearerAuthentication(introspection, issuer=settings.issuer, audience=self.base_url)
        parser = make_parser(settings, definitions)
        self._rules = make_rules(settings, definitions, parser)
        self._audit = make_audit(settings, store)
        self._max_body_bytes = settings.fhir_max_body_bytes
        interactions = make_interactions(settings, self._rules, parser, definitions)
        self._router = Router(
            store, interactions, rules=self._rules, parser=parser, definitions=definitions, base_url=self.base_url
        )
        self._bundles = BundleRoutes(
            self,
            store,
            interactions.transactions,
            base_url=self.base_url,
            prefix=self.prefix,
            limit=settings.fhir_max_bundle_entries,
        )
        self.export_worker: ExportWorker | None = None
        self._exports: ExportRoutes | None = None
        if isinstance(store, ExportStore):
            self.export_worker, self._exports = make_exports(
                settings, store, definitions=definitions, rules=self._rules, log=self._log
            )

    def before(self) -> None:
        """Refuse what has two readings, before routing, authentication or any policy sees it."""
        g.request_id = secrets.token_hex(16)
        g.started = clock.now_microseconds()
        raw_target = request.environ.get("REQUEST_URI") or request.environ.get("RAW_URI")
        if any(name in request.headers for name in canonical_path.METHOD_OVERRIDES):
            raise BadRequest("Method override headers are not accepted.", reason="method_override")
        if request.path in self.metadata_paths:
            canonical_path.check(request.path, raw_target=raw_target)
            return
        segments = canonical_segments(request.path, prefix=self.prefix, raw_target=raw_target)
        if request.mimetype in (*JSON_TYPES, PATCH_TYPE) and not export_operation(segments):
            request.max_content_length = self._max_body_bytes

    def serve(self, http: Request) -> Response:
        """See Gateway."""
        caller, fhir_request = self._authenticated(http)
        with self._audit.recording(caller, fhir_request, request_id=g.request_id) as seen:
            response = self._answer(self._decided(caller, fhir_request), http)
            seen.status, seen.tenant = response.status_code, tenant_of(response)
        return response

    def admit(self, http: Request) -> Admitted:
        """See Gateway."""
        return self._decided(*self._authenticated(http))

    def _authenticated(self, http: Request) -> tuple[Caller, FhirRequest]:
        """Read the request and who asks. Only the request itself is logged, not the entries of its Bundle."""
        parameters = parse_parameters(http.query_string)
        _refuse_token_outside_header(http, parameters)
        segments = canonical_segments(http.path, prefix=self.prefix, raw_target=None)
        if http.method == "POST" and export_operation(segments) == EXPORT:
            parameters += body_parameters(http)
        elif is_search_form(http.method, segments):
            parameters += form_parameters(http)
        fhir_request = parse_request(http.method, http.path, segments=segments, parameters=parameters)
        g.setdefault("fhir_request", fhir_request)
        presented = credentials(http.headers.getlist("Authorization"), http.headers.getlist("X-Api-Key"))
        caller = self._bearer.caller(presented, fhir_request.description(), now=clock.now())
        g.setdefault("caller", {"client_id": caller.client_id, "jti": caller.token_id})
        return caller, fhir_request

    def _decided(self, caller: Caller, fhir_request: FhirRequest) -> Admitted:
        decision = self._rules.decide(caller, fhir_request)
        if isinstance(decision, Deny):
            raise decision.error
        return Admitted(caller, fhir_request, decision.constraint)

    def _answer(self, admitted: Admitted, http: Request) -> Response:
        now = clock.now_microseconds()
        if admitted.request.operation in EXPORTS:
            return self._export(admitted.caller, admitted.request, http)
        if admitted.request.interaction == TRANSACTION:
            return self._bundles.answer(http, now=now, request_id=g.request_id)
        return self._router.answer(admitted, http, now=now, request_id=g.request_id)

    def read(self, admitted: Admitted, http: Request, *, session: FhirSession) -> Response:
        """See Gateway."""
        response = self._router.read(admitted, http, reads=session.reads)
        seen = Seen(response.status_code, tenant_of(response))
        self._audit.write(session, admitted.caller, admitted.request, seen=seen, request_id=g.request_id)
        return response

    def _export(self, caller: Caller, fhir_request: FhirRequest, http: Request) -> Response:
        if self._exports is None:
            raise UnknownOperation
        return self._exports.answer(caller, fhir_request, http=http, now=clock.now())

    def after(self, response: Response) -> Response:
        """Add what every answer has, and log the request."""
        response.headers["X-Request-Id"] = g.request_id
        response.headers.update(_HEADERS)
        duration = clock.now_microseconds() - g.started
        facts = {**_described(g.get("fhir_request"), self.definitions), **g.get("caller", {})}
        self._log.record(
            "request",
            request_id=g.request_id,
            status=response.status_code,
            microseconds=duration,
            **facts,
            **g.get("failure", {}),
        )
        return response

    def on_error(self, error: AuthServerError) -> Response:
        """Answer one of our errors as an OperationOutcome; its reason and detail go to the log only."""
        g.failure = {"reason": error.reason, "detail": error.detail}
        answer = render.operation_outcome(error)
        return Response(answer.body, status=answer.status, headers=answer.headers)

    def on_http_error(self, error: HTTPException) -> Response:
        """Answer what Werkzeug raised while routing or reading the request."""
        if isinstance(error, MethodNotAllowed):
            return self.on_error(errors.MethodNotAllowed(", ".join(error.valid_methods or ()) or ALLOW))
        if isinstance(error, RequestEntityTooLarge):
            return self.on_error(errors.ContentTooLarge())
        return self.on_error(NotFound() if error.code == 404 else BadRequest(detail=type(error).__name__))

    def on_unforeseen(self, error: Exception) -> Response:
        """Answer 500 without detail. The log has the places, not the message, which may hold a patient's data."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        return self.on_error(UnexpectedError(detail=f"{type(error).__name__} at {' > '.join(places)}"))


def _refuse_token_outside_header(http: Request, parameters: tuple[tuple[str, str], ...]) -> None:
    """Refuse tokens in the query or a form, where logs and histories keep them (RFC 6750 sections 2.2, 2.3)."""
    names = {name for name, _ in parameters}
    if http.mimetype == "application/x-www-form-urlencoded":
        # Kept beside the form, so that a search can read it strictly.
        http.get_data()
        names |= set(http.form)
    if "access_token" in names:
        raise BadRequest("The access token belongs in the Authorization header.", reason="token_outside_header")
    if "_method" in names:
        raise BadRequest("Method overrides are not accepted.", reason="method_override")


def _described(fhir_request: FhirRequest | None, definitions: Definitions) -> dict[str, object]:
    """Return what may be logged of a request: its interaction and a type that exists."""
    if fhir_request is None:
        return {}
    known = fhir_request.resource_type if fhir_request.resource_type in definitions.resource_types else None
    return {"method": fhir_request.method, "interaction": fhir_request.interaction, "resource_type": known}
