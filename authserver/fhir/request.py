"""One request as the FHIR layer understands it: a canonical path, an interaction, a type, an id. PURE.

The same value is shown to the policies, judged by access.py and served by the routes, so that no two of
them can read one path differently (threat G05).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from authserver.errors import BadRequest, MethodNotAllowed, NonCanonicalPath

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
_ON_INSTANCE = {**_ON_TYPE, "GET": ("read", "r"), "HEAD": ("read", "r"), "POST": ("operation", "c")}


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """`interaction` is a code of restful-interaction, `letter` the scope letter it needs, if it needs one.

    `served` says whether this server answers the interaction; `allow` is the Allow header's value when the
    path exists with other methods, else "".
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
    if raw_target is not None and "%" in _raw_path(raw_target):
        raise NonCanonicalPath
    if path == prefix:
        return ()
    segments = path.removeprefix(f"{prefix}/").split("/")
    if not all(_SEGMENT.fullmatch(segment) and segment not in (".", "..") for segment in segments):
        raise NonCanonicalPath
    return tuple(segments)


def _raw_path(target: str) -> str:
    """Return the path of a request target, which may be in absolute form (RFC 9112 section 3.2.2)."""
    return target.partition("?")[0] if target.startswith("/") else urlsplit(target).path


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
