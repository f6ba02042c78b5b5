"""Answer the operations on resources: $validate, and hand $everything, $document and $summary to their modules.

Source: http://hl7.org/fhir/R4/resource-operation-validate.html.
"""

from typing import Any

from flask import Request, Response

from authserver.errors import BadRequest, InsufficientScope, Issue, NotFound
from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions import bodies
from authserver.fhir.request import DOCUMENT, EVERYTHING, SUMMARY, FhirRequest
from authserver.fhir.routes.documents import DocumentRoutes
from authserver.fhir.routes.everything import EverythingRoutes
from authserver.fhir.routes.summary import SummaryRoutes
from authserver.fhir.search.problems import UnsupportedParameter
from authserver.fhir.store.port import FhirReads
from authserver.fhir.validation.validator import Validator
from authserver.protocol.render import FHIR_JSON

_MODES = {"create": "c", "update": "u", "delete": "d"}
_NOT_CHECKED = (
    "Not checked: profiles, slicing, references' targets in the store, most invariants, and codes of value sets that "
    "cannot be listed."
)


class OperationRoutes:
    """Answers operations over one store."""

    def __init__(
        self,
        reads: FhirReads,
        rules: AccessRules,
        validator: Validator,
        *,
        everything: EverythingRoutes,
        documents: DocumentRoutes,
        summaries: SummaryRoutes,
    ) -> None:
        self._reads, self._rules, self._validator = reads, rules, validator
        self._everything, self._documents, self._summaries = everything, documents, summaries

    def answer(
        self, caller: Caller, request: FhirRequest, *, constraint: Constraint, http: Request, now: int
    ) -> Response:
        """Answer a served request of one of the operations; `now` is in microseconds."""
        if request.operation == EVERYTHING:
            return self._everything.answer(caller, request, constraint=constraint, http=http)
        if request.operation == DOCUMENT:
            return self._documents.answer(caller, request, constraint=constraint, http=http, now=now)
        if request.operation == SUMMARY:
            return self._summaries.answer(caller, request, constraint=constraint, http=http, now=now)
        return self._validate(caller, request, http)

    def _validate(self, caller: Caller, request: FhirRequest, http: Request) -> Response:
        """Answer 200 with the findings about the body; the store is asked about nothing but the instance itself."""
        body = bodies.json_body(http.get_data(), http.mimetype)
        resource, mode = _validated(body, request)
        rights = self._rules.rights(caller, request.resource_type or "")
        if _MODES[mode] not in rights:
            raise InsufficientScope(f"system/{request.resource_type}.{_MODES[mode]}")
        if request.resource_id is not None:
            right = rights[_MODES[mode]]
            if self._reads.read(right, request.resource_type or "", request.resource_id) is None:
                raise NotFound
        if mode == "delete":
            return _outcome(())
        return _outcome(self._validator.findings(bodies.typed(resource, request.resource_type or "")))


def _validated(body: Any, request: FhirRequest) -> tuple[Any, str]:
    """Return the resource and the mode: from Parameters, or the body and the query. Raises BadRequest."""
    given: dict[str, Any] = dict(request.parameters)
    for name in given:
        if name not in ("mode", "_format"):
            raise UnsupportedParameter(name)
    resource: Any = body
    if isinstance(body, dict) and body.get("resourceType") == "Parameters" and request.resource_type != "Parameters":
        resource = None
        listed = body.get("parameter", [])
        for one in listed if isinstance(listed, list) else []:
            what = one.get("name") if isinstance(one, dict) else None
            if what == "resource":
                resource = one.get("resource")
            elif what == "mode":
                given["mode"] = one.get("valueCode")
            else:
                raise BadRequest("$validate knows the parameters resource and mode.", reason="operation_parameter")
    mode: Any = given.get("mode", "update" if request.resource_id is not None else "create")
    if not isinstance(mode, str) or mode not in _MODES:
        raise BadRequest("The mode is create, update or delete.", reason="operation_parameter")
    return resource, mode


def _outcome(findings: tuple[Issue, ...]) -> Response:
    issues = [_issue(finding) for finding in (*findings, Issue("", _NOT_CHECKED, "informational", "information"))]
    return Response(exact_json.dumps({"resourceType": "OperationOutcome", "issue": issues}), content_type=FHIR_JSON)


def _issue(finding: Issue) -> dict[str, Any]:
    where = {"expression": [finding.expression]} if finding.expression else {}
    return {"severity": finding.severity, "code": finding.code, "diagnostics": finding.diagnostics, **where}
