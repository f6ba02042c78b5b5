"""Answer Patient/[id]/$summary: an International Patient Summary, made of what the token may see now.

Source: http://hl7.org/fhir/uv/ips/OperationDefinition/summary. The sections are in `summary_sections.py`.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from flask import Request, Response

from authserver.fhir import exact_json
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.request import FhirRequest
from authserver.fhir.routes import operation_parameters
from authserver.fhir.routes.answers import current
from authserver.fhir.routes.documents import document, stored_entry
from authserver.fhir.routes.gathering import PATIENT, Gathering, Listing
from authserver.fhir.routes.summary_sections import SECTIONS, Section, empty, filled
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.search.problems import UnsupportedParameter
from authserver.fhir.store.port import FhirReads, Stored
from authserver.protocol.instants import instant

LARGEST_SECTION = 100
"""Resources of one type in one section; of more, those that were changed last."""

_IPS = "http://hl7.org/fhir/uv/ips/StructureDefinition"
_BUNDLE, _COMPOSITION = f"{_IPS}/Bundle-uv-ips", f"{_IPS}/Composition-uv-ips"
_TYPE = {"coding": [{"system": "http://loinc.org", "code": "60591-5", "display": "Patient summary Document"}]}
# What entries refer to and a reader needs; other references stay references.
_BESIDE = frozenset({"Medication", "Organization", "Practitioner", "PractitionerRole"})


class SummaryRoutes:
    """Makes summaries over one store; `base_url` is what every fullUrl begins with."""

    def __init__(self, reads: FhirReads, gathering: Gathering, parser: SearchParser, *, base_url: str) -> None:
        self._reads, self._gathering, self._base_url = reads, gathering, base_url
        self._criteria = {
            (section.loinc, resource_type): tuple(parser.criterion(resource_type, *one) for one in filters)
            for section in SECTIONS
            for resource_type, filters in section.sources
        }

    def answer(
        self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request, now: int
    ) -> Response:
        """Answer with the document; `constraint` is that of reading the Patient, `now` in microseconds."""
        for name, value in operation_parameters.pairs(request, http, known=("profile", "_format")):
            if name == "profile" and value.partition("|")[0] not in (_BUNDLE, _COMPOSITION):
                raise UnsupportedParameter(name)
        resource_id = request.resource_id or ""
        patient = current(self._reads, constraint, caller, resource_type=PATIENT, resource_id=resource_id)
        sections, listed = self._sections(caller, patient)
        device = {"resourceType": "Device", "deviceName": [{"name": "authserver", "type": "user-friendly-name"}]}
        author = f"urn:uuid:{uuid.uuid4()}"
        subject = f"{self._base_url}/{PATIENT}/{patient.id}"
        composition = _composition(subject, sections, author=author, now=now)
        beside = {one for one in self._gathering.references([patient, *listed]) if one[0] in _BESIDE}
        entries = [
            {"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": composition},
            *(stored_entry(one, self._base_url) for one in (patient, *listed)),
            *(stored_entry(one, self._base_url) for one in self._gathering.readable(caller, beside)),
            {"fullUrl": author, "resource": device},
        ]
        return document(entries, now=now, meta={"profile": [_BUNDLE]})

    def _sections(self, caller: Caller, patient: Stored) -> tuple[list[dict[str, Any]], list[Stored]]:
        """Return the sections, and every resource that one of them lists."""
        sections, listed = [], []
        for section in SECTIONS:
            found, cut_off = self._entries(caller, section, patient)
            if found:
                listed += found
                resources = [exact_json.loads(one.body) for one in found]
                sections.append(filled(section, resources, base_url=self._base_url, cut_off=cut_off))
            elif section.required:
                sections.append(empty(section, withheld=self._is_withheld(caller, section)))
        return sections, listed

    def _entries(self, caller: Caller, section: Section, patient: Stored) -> tuple[list[Stored], bool]:
        found: list[Stored] = []
        cut_off = False
        for resource_type, _ in section.sources:
            criteria = self._criteria[section.loinc, resource_type]
            listing = Listing(resource_type, ("patient",), patient, criteria, LARGEST_SECTION)
            page, more = self._gathering.latest(caller, listing)
            found += page
            cut_off = cut_off or more
        return found, cut_off

    def _is_withheld(self, caller: Caller, section: Section) -> bool:
        return not any(self._gathering.listable(caller, name).alternatives for name, _ in section.sources)


def _composition(subject: str, sections: list[dict[str, Any]], *, author: str, now: int) -> Mapping[str, Any]:
    # Its fullUrl is no address of this server, so its references are absolute (http://hl7.org/fhir/R4/bundle.html#references).
    return {
        "resourceType": "Composition",
        "meta": {"profile": [_COMPOSITION]},
        "status": "final",
        "type": _TYPE,
        "subject": {"reference": subject},
        "date": instant(now),
        "author": [{"reference": author}],
        "title": "Patient Summary",
        "section": sections,
    }
