"""What the tests of the export are made of: jobs and rights. Valid by default."""

from dataclasses import replace
from typing import Any

from authserver.fhir.access import AccessRules
from authserver.fhir.bulk.job import ExportJob, ExportSpec
from authserver.fhir.bulk.rights import ExportRights
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.parser import SearchParser
from tests.fhir.builders import BASE

NOW = 1_724_946_665
SPEC = ExportSpec("system", ("Observation", "Patient"), "system/*.rs")
JOB = ExportJob("0" * 32, "bulk-client", "", f"{BASE}/$export", SPEC, NOW)


def make_job(number: int = 0, **members: Any) -> ExportJob:
    """A queued job of bulk-client, created in the second `number`."""
    return replace(JOB, **{"id": f"{number:032x}", "created_at": NOW + number, **members})


def make_rights(definitions: Definitions) -> ExportRights:
    """The rights of scopes over all types of R4."""
    return ExportRights(definitions, AccessRules(definitions, SearchParser(definitions, base_url=BASE)))
