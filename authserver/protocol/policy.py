"""AccessPolicy: who may do what, decided from a described request. Pure; an empty set of policies denies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authserver.errors import InvalidResource, Issue
from authserver.protocol.client import RESOURCE_ID, Client, shape_issues

ALLOW = "allow"
KNOWN_ENGINES = frozenset(
    {"allow", "matcho", "json-schema", "complex", "sql", "clj", "matcho-rpc", "allow-rpc", "signed-rpc"}
    | {"smart-on-fhir"}
)
_CONDITIONS = ("and", "clj", "matcho", "or", "roleName", "rpc", "schema", "sql", "type")


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """The request that a policy judges, as the server that is about to serve it describes it.

    `parameters` are decoded query parameters in the order sent; `interaction` is FHIR's word (read,
    search-type, update …) or the id of one of our own operations.
    """

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    interaction: str = ""
    resource_type: str | None = None
    resource_id: str | None = None


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """A compiled policy. `clients` are ids of linked Clients; a policy without links is a candidate for all."""

    id: str
    engine: str
    clients: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the request is allowed, and by which policy; a refusal names none."""

    allowed: bool
    policy: str | None = None


class _Link(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    id: str | None = None
    resourceType: str | None = None  # noqa: N815 -- FHIR's spelling
    reference: str | None = None


class _Registration(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    resourceType: Literal["AccessPolicy"] | None = None  # noqa: N815 -- FHIR's spelling
    id: str | None = None
    engine: str
    link: list[_Link] = Field(default_factory=list)
    description: str | None = None


def from_resource(body: Mapping[str, Any], *, policy_id: str) -> AccessPolicy:
    """Read an AccessPolicy resource; raises InvalidResource with every finding and its path."""
    try:
        read = _Registration.model_validate(body)
    except ValidationError as error:
        raise InvalidResource(shape_issues("AccessPolicy", error)) from error
    issues = list(_condition_issues(body) if read.engine == ALLOW else _engine_issues(read.engine))
    issues.extend(_misspelled_links(read.model_extra or {}))
    if read.id not in (None, "", policy_id):
        issues.append(Issue("AccessPolicy.id", "the id in the body is not the id in the path", "value"))
    clients = set()
    for index, link in enumerate(read.link):
        target = _client_of(link)
        if target is None:
            what = 'must name a Client: {"id": …, "resourceType": "Client"} or {"reference": "Client/…"}'
            issues.append(Issue(f"AccessPolicy.link[{index}]", what, "value"))
            continue
        clients.add(target)
    if issues:
        raise InvalidResource(tuple(issues))
    return AccessPolicy(policy_id, read.engine, frozenset(clients))


def decide(policies: Iterable[AccessPolicy], client: Client, request: PolicyRequest) -> Decision:
    """Return the decision of the first policy that allows; none that does is a refusal.

    `policies` are the candidates for this client in order: the unlinked ones and those linked to it.
    """
    for policy in policies:
        if policy.clients and client.id not in policy.clients:
            continue
        if _allows(policy, request):
            return Decision(allowed=True, policy=policy.id)
    return Decision(allowed=False)


def _allows(policy: AccessPolicy, _request: PolicyRequest) -> bool:
    return policy.engine == ALLOW


def _engine_issues(engine: str) -> Iterable[Issue]:
    known = "is not supported by this server" if engine in KNOWN_ENGINES else "is unknown"
    yield Issue("AccessPolicy.engine", f"this engine {known}; supported: {ALLOW}", "not-supported")


def _condition_issues(body: Mapping[str, Any]) -> Iterable[Issue]:
    """Find members that limit a policy elsewhere: kept without effect, they would make it wider than it reads."""
    for name in _CONDITIONS:
        if name in body:
            diagnostics = f"the engine {ALLOW} knows no such condition, so the policy would be wider than it says"
            yield Issue(f"AccessPolicy.{name}", diagnostics, "not-supported")


def _misspelled_links(unknown: Iterable[str]) -> Iterable[Issue]:
    """Find `links` and the like: unknown members have no effect, and a policy without links is for every client."""
    for name in unknown:
        if get_close_matches(name.lower(), ["link"], cutoff=0.7):
            yield Issue(f"AccessPolicy.{name}", "unknown member; did you mean link?", "structure")


def _client_of(link: _Link) -> str | None:
    if link.reference is not None:
        resource_type, _, target = link.reference.partition("/")
        given_twice = link.id is not None or link.resourceType is not None
    else:
        resource_type, target, given_twice = link.resourceType or "", link.id or "", False
    if given_twice or resource_type != "Client" or RESOURCE_ID.fullmatch(target) is None:
        return None
    return target
