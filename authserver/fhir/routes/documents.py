"""Answer Composition/[id]/$document: the Composition and what it refers to, as a document Bundle.

Source: http://hl7.org/fhir/R4/composition-operation-document.html. What the token may not read is left out, as is what
was deleted.
"""

import uuid
from typing import Any

from flask import Response

from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.links import Links
from authserver.fhir.request import FhirRequest
from authserver.fhir.routes.answers import gone
from authserver.fhir.search.problems import UnsupportedParameter
from authserver.fhir.store.port import FhirReads, Stored
from authserver.protocol.instants import instant
from authserver.protocol.render import FHIR_JSON


class DocumentRoutes:
    """Makes documents over one store; `base_url` is what every fullUrl begins with."""

    def __init__(self, reads: FhirReads, rules: AccessRules, links: Links, *, base_url: str) -> None:
        self._reads, self._rules, self._links, self._base_url = reads, rules, links, base_url

    def answer(self, caller: Caller, request: FhirRequest, *, constraint: Constraint, now: int) -> Response:
        """Answer with the document; `now` is in microseconds."""
        for name, value in request.parameters:
            if name != "_format" and (name, value) != ("persist", "false"):
                raise UnsupportedParameter(name)
        resource_id = request.resource_id or ""
        composition = self._reads.read(constraint, "Composition", resource_id)
        if composition is None:
            raise gone(self._reads.version(constraint, "Composition", resource_id, None), caller)
        included = [composition, *self._referred(caller, composition)]
        bundle = {
            "resourceType": "Bundle",
            "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{uuid.uuid4()}"},
            "type": "document",
            "timestamp": instant(now),
            "entry": [self._entry(one) for one in included],
        }
        return Response(exact_json.dumps(bundle), content_type=FHIR_JSON)

    def _referred(self, caller: Caller, composition: Stored) -> list[Stored]:
        """Return what the Composition itself refers to, as far as the token may read it."""
        keys = self._links.local(exact_json.loads(composition.body)) - {("Composition", composition.id)}
        seen = (self._read(caller, *key, tenant=composition.tenant) for key in sorted(keys))
        return [one for one in seen if one is not None]

    def _read(self, caller: Caller, resource_type: str, resource_id: str, *, tenant: str) -> Stored | None:
        """Return what a reference of this tenant's resource leads to, as far as the token may read it."""
        constraint = self._rules.rights(caller, resource_type).get("r", Constraint(caller.tenant, ()))
        return self._reads.read(constraint.referred_to(tenant), resource_type, resource_id)

    def _entry(self, one: Stored) -> dict[str, Any]:
        full_url = f"{self._base_url}/{one.resource_type}/{one.id}"
        return {"fullUrl": full_url, "resource": exact_json.embedded(one.body)}
