"""What a proxy says about the request that it holds back until we have judged it, and which scope that needs. PURE.

A description that could be read in two ways is refused: the proxy, the policies and the server behind must see one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from authserver.errors import BadRequest, NonCanonicalPath
from authserver.protocol import canonical_path
from authserver.protocol.fhir_interaction import ON_TYPE, Interaction, interaction_of
from authserver.protocol.policy_request import PolicyRequest
from authserver.protocol.resource_types import KNOWN_TYPES
from authserver.protocol.scopes import Scope, permitted

MAX_PARAMETERS = 100
_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)
_TYPE_IN_SMALL_LETTERS = frozenset(name.lower() for name in KNOWN_TYPES)
_PUBLIC = (("metadata",), (".well-known", "smart-configuration"))
# Search parameters that bring resources of other types into the answer, or ask about them (R4, "Search").
_REACHING = ("_include", "_revinclude", "_has", "_contained", "_containedType", "_query")


@dataclass(frozen=True, slots=True)
class ForwardedRequest:
    """The request as the client sent it; `parameters` are decoded query parameters in the order sent.

    `headers` (lower-case names) and `remote_addr` are what the proxy passes on of the client's own.
    """

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    remote_addr: str = ""


def parse(method: str, target: str) -> ForwardedRequest:
    """Read the method and the request target (`/path?query`) that a proxy tells of.

    Raises BadRequest for what is no such thing, and NonCanonicalPath for a path that has a second spelling.
    """
    path, _, query = target.partition("?")
    if _METHOD.fullmatch(method) is None or not path.startswith("/") or "#" in target:
        raise BadRequest(detail="no description of a request", reason="forwarded_request")
    canonical_path.check(path, raw_target=target)
    try:
        parameters = tuple(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS))
    except ValueError as error:
        raise BadRequest(detail="the described query cannot be read", reason="forwarded_request") from error
    if any(name == "access_token" for name, _ in parameters):
        raise BadRequest("An access token belongs in the Authorization header.", reason="token_in_query")
    return ForwardedRequest(method, path, parameters)


def fhir_interaction(request: ForwardedRequest, bases: Iterable[str]) -> Interaction | None:
    """Return what the request is to a FHIR server whose base path is one of `bases` (no trailing slash).

    None when the path is below none of them. Raises NonCanonicalPath where base or type have letters of another case:
    a server that does not mind would serve what no scope and no policy was asked about (threat G05).
    """
    for base in bases:
        if _is_below(request.path, base):
            segments = [segment for segment in request.path.removeprefix(base).split("/") if segment]
            if segments and segments[0] not in KNOWN_TYPES and segments[0].lower() in _TYPE_IN_SMALL_LETTERS:
                raise NonCanonicalPath(detail="a resource type in letters of another case")
            return _interaction(request.method, segments)
        if _is_below(request.path.lower(), base.lower()):
            raise NonCanonicalPath(detail="a FHIR base in letters of another case")
    return None


def needed_scope(found: Interaction, request: ForwardedRequest, granted: Sequence[Scope]) -> str | None:
    """Return the scope that the request lacks, for example `system/Observation.s`; None when the granted ones do.

    Only what a path tells is judged here. Operations, transactions, searches in a body and searches that reach
    into other types are refused to every token without the wildcard, since their answers cannot be seen.
    """
    if found.name == "capabilities":
        return None
    if found.letter is None or found.name == "operation" or _is_unseen(found, request):
        return None if _is_wide(granted, found.letter) else "system/*.cruds"
    alternatives = permitted(granted, found.resource_type or "", found.letter)
    # A filtered scope is met by a search that names the filter itself: search parameters narrow together.
    named = frozenset(request.parameters if found.letter == "s" else ())
    met = any(parameters <= named for parameters in alternatives)
    return None if met else f"system/{found.resource_type}.{found.letter}"


def policy_request(request: ForwardedRequest, found: Interaction | None) -> PolicyRequest:
    """Return the request as the policies are asked about it."""
    return PolicyRequest(
        method=request.method,
        path=request.path,
        parameters=request.parameters,
        interaction="" if found is None else found.name,
        resource_type=None if found is None else found.resource_type,
        resource_id=None if found is None else found.resource_id,
        headers=request.headers,
        remote_addr=request.remote_addr,
    )


def _is_below(path: str, base: str) -> bool:
    return path == base or path.startswith(f"{base}/")


def _interaction(method: str, segments: Sequence[str]) -> Interaction:
    if tuple(segments) in _PUBLIC and method in ("GET", "HEAD"):
        return Interaction("capabilities", None, None, None)
    if method not in ON_TYPE:
        return Interaction("operation", None, None, None)
    return interaction_of(method, segments)


def _is_unseen(found: Interaction, request: ForwardedRequest) -> bool:
    """Say whether the answer depends on more than the type in the path and the parameters in the query."""
    if found.name == "search-type" and request.method == "POST":
        return True
    names = [name for name, _ in request.parameters]
    return any("." in name or name.partition(":")[0] in _REACHING for name in names)


def _is_wide(granted: Iterable[Scope], letter: str | None) -> bool:
    """Say whether one scope opens every type to reading and searching, and to the letter; or to all, without one."""
    needed = set("rs") | {letter} if letter else set("cruds")
    return any(
        scope.context == "system"
        and scope.resource_type == "*"
        and not scope.parameters
        and needed <= set(scope.interactions)
        for scope in granted
    )
