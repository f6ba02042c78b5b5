"""Answer Composition/[id]/$document: the Composition and what it refers to, as a document Bundle.

Source: http://hl7.org/fhir/R4/composition-operation-document.html. What the token may not read is left out, as is what
was deleted.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from flask import Request, Response

from authserver.fhir import exact_json
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.request import FhirRequest
from authserver.fhir.routes import operation_parameters
from authserver.fhir.routes.answers import current
from authserver.fhir.routes.gathering import Gathering
from authserver.fhir.search.problems import UnsupportedParameter
from authserver.fhir.store.port import FhirReads, Stored
from authserver.protocol.instants import instant
from authserver.protocol.render import FHIR_JSON

Entry = dict[str, Any]


class DocumentRoutes:
    """Makes documents over one store; `base_url` is what every fullUrl begins with."""

    def __init__(self, reads: FhirReads, gathering: Gathering, *, base_url: str) -> None:
        self._reads, self._gathering, self._base_url = reads, gathering, base_url

    def answer(
        self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request, now: int
    ) -> Response:
        """Answer with the document; `now` is in microseconds."""
        for name, value in operation_parameters.pairs(request, http, known=("persist", "_format")):
            if name == "persist" and value.lower() != "false":
                raise UnsupportedParameter(name)
        composition = current(
            self._reads, constraint, caller, resource_type="Composition", resource_id=request.resource_id or ""
        )
        itself = ("Composition", composition.id, composition.tenant)
        references = self._gathering.references([composition]) - {itself}
        included = [composition, *self._gathering.readable(caller, references)]
        return document([stored_entry(one, self._base_url) for one in included], now=now)


def document(entries: Sequence[Entry], *, now: int, **members: Any) -> Response:
    """Return the entries, the Composition first, as a document (http://hl7.org/fhir/R4/documents.html)."""
    bundle = {
        "resourceType": "Bundle",
        **members,
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{uuid.uuid4()}"},
        "type": "document",
        "timestamp": instant(now),
        "entry": list(entries),
    }
    return Response(exact_json.dumps(bundle), content_type=FHIR_JSON)


def stored_entry(one: Stored, base_url: str) -> Entry:
    """Return a stored resource as an entry of a document."""
    return {"fullUrl": f"{base_url}/{one.resource_type}/{one.id}", "resource": exact_json.embedded(one.body)}
