"""The one description of a request that every policy judges, whoever asks: this server's own doors, a resource
server that introspects, a proxy. PURE.

The members are those of the documented request object; what differs is in docs/policies.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from authserver.errors import InvalidRequest
from authserver.protocol import canonical_path
from authserver.protocol.client import Client

ROOT_MEMBERS = frozenset(
    {"request-method", "scheme", "uri", "query-string", "params", "headers", "remote-addr"}
    | {"body", "client", "jwt", "tenant", "operation"}
)
"""What the map of a request can have at its top; a condition on anything else would never be met, or always."""

ROUTE_PARAMETERS = ("resource/type", "resource/id")
"""Members of `params` that the path decides, never the query."""

MAX_BODY_VALUES = 2_000
"""Values of a described body, containers included: patterns look at each of them."""

CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "dpop"})
"""Headers that no policy sees: who is calling is in `client` and `jwt`, and explanations show what was seen."""

_FHIR_OPERATIONS = {
    "read": "FhirRead",
    "vread": "FhirVread",
    "search-type": "FhirSearch",
    "create": "FhirCreate",
    "update": "FhirUpdate",
    "patch": "FhirPatch",
    "delete": "FhirDelete",
    "history-instance": "FhirHistory",
    "history-type": "FhirHistoryType",
    "operation": "FhirOperation",
    "capabilities": "FhirCapabilities",
}
_REGISTRY_TYPES = frozenset({"Client", "AccessPolicy", "ApiKey"})
_REGISTRY_OPERATIONS = {
    "read": "registry-read",
    "search-type": "registry-search",
    "update": "registry-update",
    "delete": "registry-delete",
    "create": "registry-create",
    "patch": "registry-patch",
    "vread": "registry-vread",
    "history-instance": "registry-history",
    "history-type": "registry-history",
}
_OWN_OPERATIONS = frozenset(
    {
        "access-evaluation",
        "api-key-rotate",
        "auth-diagnose",
        "auth-introspect",
        "auth-receipt",
        "auth-register",
        "auth-revoke",
        "auth-test-policy",
        "client-flush-keys",
        "client-keys",
        "client-revoke-token",
        "client-revoke-tokens",
        "client-tokens",
        "matcho",
        "policy-explain",
        "policy-impact",
        "registry-validate",
    }
)
OPERATIONS = _OWN_OPERATIONS | {"FhirPostSearch", *_FHIR_OPERATIONS.values(), *_REGISTRY_OPERATIONS.values()}
"""The ids that a policy can link to and that `operation.id` can be."""


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """The request that a policy judges, as the server that is about to serve it describes it.

    `parameters` are decoded query parameters in the order sent; `interaction` is FHIR's word (read,
    search-type, update …) or the id of one of our own operations. `headers` have lower-case names; `claims` are
    those of the caller's access token, None without one; `body` is parsed JSON, None where it is not described. `id` is
    the request id of our answer, which no policy sees.
    """

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    interaction: str = ""
    resource_type: str | None = None
    resource_id: str | None = None
    scheme: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    remote_addr: str = ""
    body: Any = field(default=None, hash=False)
    claims: Mapping[str, Any] | None = field(default=None, hash=False)
    id: str = field(default="", compare=False)


class Case:
    """One request of one client. The map of it is made when the first rule asks for it, and then kept."""

    def __init__(self, client: Client, request: PolicyRequest) -> None:
        self.client, self.request = client, request

    @cached_property
    def document(self) -> dict[str, Any]:
        """The request as a map, for patterns and schemas."""
        return as_document(self.client, self.request)

    @cached_property
    def pruned(self) -> dict[str, Any]:
        """The same without empty members: schemas are judged against it."""
        return {name: kept for name, value in self.document.items() if not _is_empty(kept := _pruned(value))}


def as_document(client: Client, request: PolicyRequest) -> dict[str, Any]:
    """Return the request as the map that a policy sees; what is not known is not there."""
    operation, method = operation_of(request), request.method.lower()
    members = {
        # HEAD is judged as GET: it tells the same, but for the body (threat G06).
        "request-method": "get" if method == "head" else method,
        "scheme": request.scheme.lower() or None,
        "uri": _uri(request.path),
        # Written anew from what was decoded, so that every query has one spelling.
        "query-string": urlencode(request.parameters) or None,
        "params": _params(request),
        "headers": {name: value for name, value in request.headers if name not in CREDENTIALS},
        "remote-addr": request.remote_addr or None,
        "body": request.body,
        "client": {**client.resource, "resourceType": "Client", "id": client.id},
        "jwt": None if request.claims is None else dict(request.claims),
        "tenant": client.tenant,
        "operation": None if operation is None else {"id": operation},
    }
    return {name: value for name, value in members.items() if value is not None}


def operation_of(request: PolicyRequest) -> str | None:
    """Return the operation's id; None for a request that is none of OPERATIONS.

    The registry has ids of its own: a policy that opens FhirRead to everybody opens no Client,
    no AccessPolicy and no ApiKey.
    """
    own = request.interaction if request.interaction in _OWN_OPERATIONS else None
    if request.resource_type in _REGISTRY_TYPES:
        return _REGISTRY_OPERATIONS.get(request.interaction, own)
    if request.interaction == "search-type" and request.method == "POST":
        return "FhirPostSearch"
    return _FHIR_OPERATIONS.get(request.interaction, own)


def from_description(described: object, *, claims: Mapping[str, Any] | None = None) -> PolicyRequest:
    """Read what a resource server says about the request that it is about to serve.

    Members: `method`, `path`; if known `parameters` (pairs of texts), `interaction`, `resource_type`, `resource_id`,
    `scheme`, `remote_addr`, `headers` (texts by name) and `body`. Raises InvalidRequest for anything else in them,
    and NonCanonicalPath for a path that has a second spelling.
    """
    try:
        request = replace(_read(described), claims=claims)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidRequest("The parameter request is not a description of a request.") from error
    canonical_path.check(request.path, raw_target=None)
    return request


def values_of(value: Any) -> int:
    """Return how many values a JSON value is, containers included."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(values_of, members))


def _read(described: Any) -> PolicyRequest:
    names = ("interaction", "scheme", "remote_addr", "resource_type", "resource_id")
    named = {name: described[name] for name in names if described.get(name) is not None}
    parameters = tuple((name, value) for name, value in described.get("parameters", []))
    headers = tuple((name.lower(), value) for name, value in described.get("headers", {}).items())
    texts = [described["method"], described["path"], *(text for pair in (*parameters, *headers) for text in pair)]
    if not all(isinstance(text, str) for text in [*texts, *named.values()]) or len(dict(headers)) != len(headers):
        raise ValueError("every part of the description is text, and no header is there twice")
    if not described["path"].startswith("/") or set("?#") & set(described["path"]):
        raise ValueError("a path begins with a slash, and the query is not part of it")
    if values_of(described.get("body")) > MAX_BODY_VALUES:
        raise ValueError("the body has too many values")
    return PolicyRequest(
        method=described["method"],
        path=described["path"],
        parameters=parameters,
        headers=headers,
        body=described.get("body"),
        **named,
    )


def _uri(path: str) -> str:
    """Return the path without the slash at its end, which the routers that we know do not count either."""
    return path.removesuffix("/") or "/"


def _params(request: PolicyRequest) -> dict[str, Any]:
    """Return the parameters by name: one value as text, several as a list; the route's own cannot be sent."""
    found = _grouped(pair for pair in request.parameters if pair[0] not in ROUTE_PARAMETERS)
    route = zip(ROUTE_PARAMETERS, (request.resource_type, request.resource_id), strict=True)
    return found | {name: value for name, value in route if value is not None}


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        lists.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in lists.items()}


def _pruned(value: Any) -> Any:
    """Return the value without empty members, from the inside out; elements of lists keep their places."""
    if isinstance(value, dict):
        return {name: kept for name, member in value.items() if not _is_empty(kept := _pruned(member))}
    if isinstance(value, list):
        return [_pruned(element) for element in value]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})
