"""AccessPolicy: who may do what, decided from a described request. Pure; an empty set of policies denies."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authserver.errors import InvalidResource, Issue
from authserver.protocol.client import RESOURCE_ID, Client, shape_issues
from authserver.protocol.policy_reader import read_rule
from authserver.protocol.policy_request import OPERATIONS, Case, PolicyRequest, operation_of
from authserver.protocol.policy_rules import ALLOW, Finding, Rule

__all__ = [
    "AccessPolicy",
    "Decision",
    "PolicyRequest",
    "Verdict",
    "allows_whatever",
    "decide",
    "explain",
    "from_resource",
]


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """A compiled policy. `clients` are ids of linked Clients, `operations` of linked Operations.

    It is a candidate for whom or what one of the links names; without links, for every request. In `shadow` mode it is
    asked where decisions are recorded and explained, and allows nothing. `version` is that of the stored resource.
    """

    id: str
    rule: Rule
    clients: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    shadow: bool = False
    version: int = 0

    @property
    def engine(self) -> str:
        """The name of the engine."""
        return self.rule.engine

    def is_candidate(self, client: Client, operation: str | None) -> bool:
        """Say whether the links let this policy judge a request; they are alternatives."""
        unlinked = not self.clients and not self.operations
        return unlinked or client.id in self.clients or operation in self.operations


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the request is allowed, and by which policy; a refusal names none.

    `failed` are ids of policies that could not be evaluated, up to the one that allowed: they count as a refusal, and
    somebody must look at them (threat G07). `record` is the id under which the decision was recorded, if it was.
    """

    allowed: bool
    policy: str | None = None
    failed: tuple[str, ...] = ()
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one candidate says of a request; `finding` is None when it could not be evaluated.

    What one in `shadow` mode says decides nothing.
    """

    policy: str
    engine: str
    finding: Finding | None
    shadow: bool = False
    version: int = 0

    @property
    def allowed(self) -> bool:
        """Whether this policy allows the request."""
        return self.finding is not None and self.finding.allowed

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as an explanation shows it."""
        if self.finding is None:
            return {"id": self.policy, "engine": self.engine, "eval-result": False, "failed": True}
        return {"id": self.policy, **self.finding.as_json()}


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
    mode: Literal["enforced", "shadow"] = "enforced"


@dataclass(slots=True)
class _Links:
    """The targets of the links, by type."""

    clients: set[str] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    issues: list[Issue] = field(default_factory=list)


def from_resource(body: Mapping[str, Any], *, policy_id: str, version: int = 0) -> AccessPolicy:
    """Read and compile an AccessPolicy resource; raises InvalidResource with every finding and its path."""
    try:
        read = _Registration.model_validate(body)
    except ValidationError as error:
        raise InvalidResource(shape_issues("AccessPolicy", error)) from error
    rule, found = read_rule(body)
    issues = [*found, *_misspelled_links(read.model_extra or {})]
    if read.id not in (None, "", policy_id):
        issues.append(Issue("AccessPolicy.id", "the id in the body is not the id in the path", "value"))
    links = _read_links(read.link)
    issues.extend(links.issues)
    if rule is None or issues:
        raise InvalidResource(tuple(issues))
    shadow = read.mode == "shadow"
    return AccessPolicy(policy_id, rule, frozenset(links.clients), frozenset(links.operations), shadow, version)


def decide(policies: Iterable[AccessPolicy], client: Client, request: PolicyRequest) -> Decision:
    """Return the decision of the first policy that allows; none that does is a refusal.

    `policies` in order, without those that are linked to another life of this client's id.
    """
    case, failed = Case(client, request), []
    for policy in _enforced(policies, client, request):
        try:
            allowed = policy.rule.allows(case)
        except Exception:  # noqa: BLE001 -- whatever goes wrong in a rule, it must not decide anything but a refusal
            failed.append(policy.id)
            continue
        if allowed:
            return Decision(allowed=True, policy=policy.id, failed=tuple(failed))
    return Decision(allowed=False, failed=tuple(failed))


def explain(policies: Iterable[AccessPolicy], client: Client, request: PolicyRequest) -> tuple[Verdict, ...]:
    """Return the verdict of every candidate, in order; the first that allows and is not in shadow mode decides."""
    case = Case(client, request)
    return tuple(_verdict(policy, case) for policy in _candidates(policies, client, request))


def allows_whatever(policies: Iterable[AccessPolicy], client: Client, request: PolicyRequest) -> bool:
    """Say whether the client may send this operation with any parameters and headers, from anywhere."""
    return any(policy.engine == ALLOW for policy in _enforced(policies, client, request))


def _enforced(policies: Iterable[AccessPolicy], client: Client, request: PolicyRequest) -> Iterator[AccessPolicy]:
    return (policy for policy in _candidates(policies, client, request) if not policy.shadow)


def _candidates(policies: Iterable[AccessPolicy], client: Client, request: PolicyRequest) -> Iterator[AccessPolicy]:
    operation = operation_of(request)
    return (policy for policy in policies if policy.is_candidate(client, operation))


def _verdict(policy: AccessPolicy, case: Case) -> Verdict:
    finding: Finding | None
    try:
        finding = policy.rule.explain(case)
    except Exception:  # noqa: BLE001 -- as in decide()
        finding = None
    return Verdict(policy.id, policy.engine, finding, shadow=policy.shadow, version=policy.version)


def _misspelled_links(unknown: Iterable[str]) -> Iterable[Issue]:
    """Find `links` and the like: unknown members have no effect, and a policy without links is for every client."""
    for name in unknown:
        if get_close_matches(name.lower(), ["link"], cutoff=0.7):
            yield Issue(f"AccessPolicy.{name}", "unknown member; did you mean link?", "structure")


def _read_links(given: Iterable[_Link]) -> _Links:
    links = _Links()
    for index, link in enumerate(given):
        resource_type, target = _target_of(link)
        if resource_type == "Client" and RESOURCE_ID.fullmatch(target) is not None:
            links.clients.add(target)
        elif resource_type == "Operation" and target in OPERATIONS:
            links.operations.add(target)
        else:
            links.issues.append(Issue(f"AccessPolicy.link[{index}]", _link_fault(resource_type), "value"))
    return links


def _target_of(link: _Link) -> tuple[str, str]:
    """Return type and id; nothing for a link that says it in both forms."""
    if link.reference is None:
        return link.resourceType or "", link.id or ""
    if link.id is not None or link.resourceType is not None:
        return "", ""
    resource_type, _, target = link.reference.partition("/")
    return resource_type, target


def _link_fault(resource_type: str) -> str:
    if resource_type == "User":
        return "this server has no users"
    if resource_type == "Operation":
        near = ", ".join(sorted(OPERATIONS))
        return f"no such Operation; there are {near}"
    return 'must name a Client or an Operation: {"id": …, "resourceType": "Client"} or {"reference": "Client/…"}'
