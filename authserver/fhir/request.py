"""One request as the FHIR layer understands it: a canonical path, an interaction, a type, an id. PURE.

The same value is shown to the policies, judged by access.py and served by the routes, so that no two of
them can read one path differently (threat G05).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from authserver.errors import BadRequest, MethodNotAllowed, NonCanonicalPath
from authserver.protocol import canonical_path
from authserver.protocol.fhir_interaction import ID, ON_TYPE, interaction_of

Pair = tuple[str, str]

READING = ("GET", "HEAD")
SEARCH = "_search"
ALLOW = "GET, HEAD"
TRANSACTION = "transaction"
"""The interaction of a Bundle posted to the base, a batch or a transaction: which one its body says."""
READ_ONLY_TYPES = frozenset({"AuditEvent"})
"""Types that only the server itself writes: nobody edits the record of what was done."""
MAX_PARAMETERS = 100

_SEGMENT = re.compile(r"[A-Za-z0-9\-._$]{1,64}", re.ASCII)
# Bulk Data Access: the last fixed segment of a path -> the methods that it has.
EXPORT, EXPORT_STATUS, EXPORT_FILE = "$export", "$export-status", "$export-file"
EXPORTS = (EXPORT, EXPORT_STATUS, EXPORT_FILE)
_EXPORT_METHODS = {
    EXPORT: ("GET", "POST"),
    EXPORT_STATUS: ("GET", "HEAD", "DELETE"),
    EXPORT_FILE: ("GET", "HEAD"),
}


VALIDATE, EVERYTHING, DOCUMENT, SUMMARY = "$validate", "$everything", "$document", "$summary"
# Operation -> its methods and the letter that it needs; on an instance $validate is about an update.
_OPERATIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    VALIDATE: (("POST",), "c"),
    EVERYTHING: (("GET", "POST"), "r"),
    DOCUMENT: (("GET", "POST"), "r"),
    SUMMARY: (("GET", "POST"), "r"),
}
_ON_TYPE = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ON_INSTANCE = ("GET", "HEAD", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """`interaction` is a code of restful-interaction, `letter` the scope letter it needs, if it needs one.

    `served` says whether this server answers the interaction; `allow` is the Allow header's value when the
    path exists with other methods, else "". `operation` is the name of an operation that is decided and answered
    by its own rules, else "", and `operands` the segments behind that name.
    """

    method: str
    path: str
    parameters: tuple[Pair, ...]
    interaction: str
    resource_type: str | None
    resource_id: str | None
    letter: str | None
    served: bool
    allow: str = ""
    operation: str = ""
    operands: tuple[str, ...] = ()

    def description(self) -> dict[str, object]:
        """Return the request as introspection is told of it."""
        return {
            "method": self.method,
            "path": self.path,
            "parameters": [list(pair) for pair in self.parameters],
            "interaction": self.interaction,
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
        }


def canonical_segments(path: str, *, prefix: str, raw_target: str | None) -> tuple[str, ...]:
    """Return the segments of the decoded path behind the prefix.

    Raises NonCanonicalPath when the path could be spelled another way: empty, `.` and `..` segments, `;`,
    backslashes, control characters, and any percent sign, in the path or in the raw target if it is known.
    """
    canonical_path.check(path, raw_target=raw_target)
    if path == prefix:
        return ()
    segments = path.removeprefix(f"{prefix}/").split("/")
    if not all(_SEGMENT.fullmatch(segment) and segment not in (".", "..") for segment in segments):
        raise NonCanonicalPath
    return tuple(segments)


def parse_parameters(query: bytes) -> tuple[Pair, ...]:
    """Return the decoded pairs of a query string. Raises BadRequest for bad UTF-8 or too many of them."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise BadRequest(detail="query string") from error
    return tuple(pairs)


def parse_request(method: str, path: str, *, segments: Sequence[str], parameters: Sequence[Pair] = ()) -> FhirRequest:
    """Return what is asked for. Raises MethodNotAllowed for a method that no FHIR path has."""
    if method not in ON_TYPE:
        raise MethodNotAllowed(ALLOW)
    if operation := export_operation(segments):
        return _export_request(method, path, operation=operation, segments=segments, parameters=parameters)
    found = interaction_of(method, segments)
    operation = _resource_operation(segments, found.resource_type, found.resource_id)
    methods = _OPERATIONS[operation][0] if operation else _methods(segments, found.resource_type, found.resource_id)
    letter = _OPERATIONS[operation][1] if operation else found.letter
    return FhirRequest(
        method=method,
        path=path,
        parameters=tuple(parameters),
        interaction=found.name if segments or method != "POST" else TRANSACTION,
        resource_type=found.resource_type,
        resource_id=found.resource_id,
        letter="u" if operation == VALIDATE and found.resource_id else letter,
        served=method in methods,
        allow=", ".join(methods),
        operation=operation,
    )


def _methods(segments: Sequence[str], resource_type: str | None, resource_id: str | None) -> tuple[str, ...]:
    """Return the methods of a path that is no operation; none for one that is not served."""
    match len(segments), segments[-1] if segments else "":
        case 0, _:
            return (*READING, "POST")
        case 1, "_history":
            return READING
        case 1, "_search":
            return ("POST",)
        case 1, _ if resource_type:
            return READING if resource_type in READ_ONLY_TYPES else _ON_TYPE
        case 2, "_history" if resource_type:
            return READING
        case 2, "_search" if resource_type:
            return ("POST",)
        case 2, _ if resource_type and resource_id:
            return READING if resource_type in READ_ONLY_TYPES else _ON_INSTANCE
        case (3, "_history") | (4, _) if resource_type and resource_id and segments[2] == "_history":
            return READING if ID.fullmatch(segments[-1]) or len(segments) == 3 else ()
    return ()


def _resource_operation(segments: Sequence[str], resource_type: str | None, resource_id: str | None) -> str:
    """Return which of our operations the path names, or ""."""
    on_instance = resource_id is not None and len(segments) == 3
    match resource_type, segments[-1] if segments else "":
        case str(), "$validate" if on_instance or len(segments) == 2:
            return VALIDATE
        case "Patient", "$everything" if on_instance or len(segments) == 2:
            return EVERYTHING
        case "Composition", "$document" if on_instance:
            return DOCUMENT
        case "Patient", "$summary" if on_instance:
            return SUMMARY
    return ""


def is_search_form(method: str, segments: Sequence[str]) -> bool:
    """Say whether the request is a search whose parameters are in a form (http://hl7.org/fhir/R4/http.html#search)."""
    return method == "POST" and bool(segments) and segments[-1] == SEARCH


def export_operation(segments: Sequence[str]) -> str:
    """Return which of the three export operations the path names, or "" (Bulk Data Access 2.0, "Bulk Data Export")."""
    match tuple(segments):
        case ("$export",) | ("Patient", "$export"):
            return EXPORT
        case ("Group", group_id, "$export") if ID.fullmatch(group_id):
            return EXPORT
        case ("$export-status", _):
            return EXPORT_STATUS
        case ("$export-file", _, _):
            return EXPORT_FILE
    return ""


def _export_request(
    method: str, path: str, *, operation: str, segments: Sequence[str], parameters: Sequence[Pair]
) -> FhirRequest:
    """Return an export's request: reading, whatever the method; its letters are those of the types it puts out."""
    methods = _EXPORT_METHODS[operation]
    has_type = operation == EXPORT and len(segments) > 1
    return FhirRequest(
        method=method,
        path=path,
        parameters=tuple(parameters),
        interaction="operation",
        resource_type=segments[0] if has_type else None,
        resource_id=segments[1] if len(segments) == 3 and has_type else None,
        letter="r" if has_type else None,
        served=method in methods,
        allow=", ".join(methods),
        operation=operation,
        operands=tuple(segments[1:]) if operation != EXPORT else (),
    )
