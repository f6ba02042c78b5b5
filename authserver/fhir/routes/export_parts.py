"""Put the parts of the bulk export together."""

from pathlib import Path

from authserver.fhir.access import AccessRules
from authserver.fhir.bulk.files import ExportFiles
from authserver.fhir.bulk.ports import ExportStore
from authserver.fhir.bulk.rights import ExportRights
from authserver.fhir.bulk.worker import ExportWorker
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request_log import RequestLog
from authserver.fhir.routes.export import ExportRoutes
from authserver.fhir.settings import FhirSettings

_INSTANCE = Path("instance")


def make_exports(
    settings: FhirSettings, store: ExportStore, *, definitions: Definitions, rules: AccessRules, log: RequestLog
) -> tuple[ExportWorker, ExportRoutes]:
    """Return the worker and the routes of one app."""
    files = ExportFiles(settings.fhir_export_dir or (store.folder or _INSTANCE) / "fhir-exports")
    rights = ExportRights(definitions, rules)
    worker = ExportWorker(
        store, files, definitions=definitions, rights=rights, log=log, lifetime=settings.fhir_export_lifetime
    )
    routes = ExportRoutes(
        store,
        files,
        worker=worker,
        definitions=definitions,
        rights=rights,
        base_url=settings.fhir_base_url,
        max_jobs=settings.fhir_export_max_jobs,
    )
    return worker, routes
