"""Turn any of our errors into what goes over the wire: RFC 6749 JSON or a FHIR OperationOutcome."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from authserver.errors import AuthServerError, Issue

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
NO_PAGE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
}
"""Headers of answers that are no pages: a browser runs, loads and frames nothing of them (threats G14 and H16)."""

FHIR_JSON = "application/fhir+json; charset=utf-8"
JSON = "application/json"
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, still without a web framework: status, headers, body bytes."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def phrase(status: int) -> str:
    """Return the reason phrase of a status (RFC 9110 section 15)."""
    return HTTPStatus(status).phrase


def json_answer(document: object, *, status: int = 200, media_type: str = JSON) -> Answer:
    """Return the document as JSON that nobody may store."""
    return Answer(status, {"Content-Type": media_type, **NO_STORE}, encode(document))


def text_answer(text: str, *, media_type: str) -> Answer:
    """Return ASCII text of this type, for example a JWT, that nobody may store."""
    return Answer(200, {"Content-Type": media_type, **NO_STORE}, text.encode("ascii"))


def oauth_error(error: AuthServerError) -> Answer:
    """Return the error as `{"error", "error_description"}` (RFC 6749 section 5.2)."""
    answer = json_answer({"error": error.oauth_code, "error_description": error.public}, status=error.status)
    answer.headers.update(error.headers)
    return answer


def operation_outcome(error: AuthServerError) -> Answer:
    """Return the error as an OperationOutcome (http://hl7.org/fhir/R4/operationoutcome.html)."""
    severity = "fatal" if error.status >= 500 else "error"
    document = {"resourceType": "OperationOutcome", "issue": [_issue(i, severity) for i in error.issues()]}
    answer = json_answer(document, status=error.status, media_type=FHIR_JSON)
    answer.headers.update(error.headers)
    return answer


def informed(sentence: str, warnings: Iterable[Issue] = (), *, status: int = 200) -> Answer:
    """Return that something was done, as an OperationOutcome, with what else there is to say about it."""
    issues = [_issue(issue, "error") for issue in (Issue("", sentence, "informational", "information"), *warnings)]
    return json_answer({"resourceType": "OperationOutcome", "issue": issues}, status=status, media_type=FHIR_JSON)


def outcome(issues: Iterable[Issue]) -> Answer:
    """Return findings, which refuse nothing by themselves, as an OperationOutcome."""
    found = [_issue(issue, "error") for issue in issues]
    return json_answer({"resourceType": "OperationOutcome", "issue": found}, media_type=FHIR_JSON)


def encode(document: object) -> bytes:
    """Return compact UTF-8 JSON."""
    try:
        return orjson.dumps(document)
    except TypeError:  # an integer over 64 bits, which JSON may hold all the same
        return _compact(document).encode("utf-8")


def _issue(issue: Issue, severity: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "severity": issue.severity if issue.severity != "error" else severity,
        "code": issue.code,
        "diagnostics": issue.diagnostics,
    }
    if issue.expression:
        found["expression"] = [issue.expression]
    return found
