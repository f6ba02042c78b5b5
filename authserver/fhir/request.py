"""One request as the FHIR layer understands it: a canonical path, an interaction, a type, an id. PURE.

The same value is shown to the policies, judged by access.py and served by the routes, so that no two of
them can read one path differently (threat G05).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from authserver.errors import BadRequest, MethodNotAllowed, NonCanonicalPath
from authserver.protocol import canonical_path

Pair = tuple[str, str]

READING = ("GET", "HEAD")
ALLOW = "GET, HEAD"
MAX_PARAMETERS = 100

_SEGMENT = re.compile(r"[A-Za-z0-9\-._$]{1,64}", re.ASCII)
_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)

# Method -> interaction and the SMART letter that it needs (SMART App Launch 2.2, "Scopes").
_ON_TYPE = {
    "GET": ("search-type", "s"),
    "HEAD": ("search-type", "s"),
    "POST": ("create", "c"),
    "PUT": ("update", "u"),
    "PATCH": ("patch", "u"),
    "DELETE": ("delete", "d"),
}
# Bulk Data Access: the last fixed segment of a path -> the methods that it has.
EXPORT, EXPORT_STATUS, EXPORT_FILE = "$export", "$export-status", "$export-file"
_EXPORT_METHODS = {
    EXPORT: ("GET", "POST"),
    EXPORT_STATUS: ("GET", "HEAD", "DELETE"),
    EXPORT_FILE: ("GET", "HEAD"),
}
_ON_INSTANCE = {**_ON_TYPE, "GET": ("read", "r"), "HEAD": ("read", "r"), "POST": ("operation", "c")}


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
    if method not in _ON_TYPE:
        raise MethodNotAllowed(ALLOW)
    resource_type = segments[0] if segments and _TYPE.fullmatch(segments[0]) else None
    resource_id = segments[1] if len(segments) > 1 and _ID.fullmatch(segments[1]) else None
    if operation := export_operation(segments):
        return _export_request(method, path, operation=operation, segments=segments, parameters=parameters)
    allow = ""
    if resource_type and len(segments) == 1:
        (interaction, letter), allow = _ON_TYPE[method], ALLOW
    elif resource_type and resource_id and len(segments) == 2:
        (interaction, letter), allow = _ON_INSTANCE[method], ALLOW
    else:
        interaction, letter = _other(method, segments[1:] if resource_type else segments)
    return FhirRequest(
        method=method,
        path=path,
        parameters=tuple(parameters),
        interaction=interaction,
        resource_type=resource_type,
        resource_id=resource_id,
        letter=letter if resource_type else None,
        served=bool(allow) and method in READING,
        allow=allow,
    )


def export_operation(segments: Sequence[str]) -> str:
    """Return which of the three export operations the path names, or "" (Bulk Data Access 2.0, "Bulk Data Export")."""
    match tuple(segments):
        case ("$export",) | ("Patient", "$export"):
            return EXPORT
        case ("Group", group_id, "$export") if _ID.fullmatch(group_id):
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


def _other(method: str, rest: Sequence[str]) -> tuple[str, str]:
    """Name an interaction that this server does not have; a changing method needs a changing letter."""
    letter = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}.get(method)
    if "_history" in rest:
        instance = rest.index("_history") > 0
        interaction = ("vread" if len(rest) > 2 else "history-instance") if instance else "history-type"
        return interaction, letter or ("r" if instance else "s")
    if list(rest) == ["_search"]:
        return "search-type", "s"
    return "operation", letter or "r"
