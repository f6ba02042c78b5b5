"""Decide whether a caller may do what a request asks, and how far it then sees. PURE.

The order is fixed: the type, the token's scope, the policies' decision, and only then whether the server has
the interaction at all; a read-only token learns nothing by writing (row A22).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from authserver.errors import (
    AuthServerError,
    Forbidden,
    InsufficientScope,
    MethodNotAllowed,
    NotFound,
)
from authserver.fhir.constraint import Alternatives, Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request import EXPORT, EXPORTS, FhirRequest
from authserver.fhir.search.ast import Criterion
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.tenancy import TenantHierarchy
from authserver.protocol import scopes

EXPORT_LETTERS = "rs"
# The types that an export's path reads before its output is known.
_EXPORT_ROUTES: dict[str | None, tuple[str, ...]] = {None: (), "Patient": ("Patient",), "Group": ("Group", "Patient")}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as introspection told of this one request; `expires_at` is in epoch seconds.

    `policy_allows` is the policies' decision about this request, never to be kept for another; `decision_id` is under
    which the authorization server recorded a refusal.
    """

    client_id: str
    scopes: tuple[scopes.Scope, ...]
    tenant: str
    token_id: str
    expires_at: int
    policy_allows: bool
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may go on, as far as the constraint reaches."""

    constraint: Constraint


@dataclass(frozen=True, slots=True)
class Deny:
    """The request is refused with this error."""

    error: AuthServerError


class UnknownOperation(NotFound):
    """The path is none that this server serves."""

    issue_code, default_reason = "not-supported", "operation_not_supported"
    default_public = "This server does not have this operation."


class AccessRules:
    """The decision for each request; knows the types, how scopes' parameters are parsed, and the tenants' relatives."""

    def __init__(
        self, definitions: Definitions, parser: SearchParser, *, hierarchy: TenantHierarchy | None = None
    ) -> None:
        self._resource_types = definitions.resource_types
        self._parser = parser
        self._hierarchy = hierarchy

    def decide(self, caller: Caller, request: FhirRequest) -> Allow | Deny:
        """Return Allow with the constraint of the caller's scopes and tenant, or Deny with the error."""
        if request.operation in EXPORTS:
            return self._decide_operation(caller, request)
        resource_type, letter = request.resource_type, request.letter
        alternatives: tuple[tuple[Criterion, ...], ...] = ()
        if resource_type is not None:
            if resource_type not in self._resource_types:
                return Deny(NotFound(detail="unknown resource type"))
            alternatives = self.alternatives(caller.scopes, resource_type, letter or "")
            if not alternatives:
                return Deny(InsufficientScope(f"system/{resource_type}.{letter}"))
        if not caller.policy_allows:
            return Deny(_by_policy(caller))
        if not request.served:
            return Deny(MethodNotAllowed(request.allow) if request.allow else UnknownOperation())
        return Allow(self.constraint(caller.tenant, alternatives, letter=letter or ""))

    def alternatives(
        self, granted: Sequence[scopes.Scope], resource_type: str, letter: str
    ) -> tuple[tuple[Criterion, ...], ...]:
        """Return one set of criteria for each scope that grants the letter; a scope not understood grants none."""
        parsed = (
            self._parser.scope_criteria(resource_type, parameters)
            for parameters in scopes.permitted(granted, resource_type, letter)
        )
        return tuple(dict.fromkeys(criteria for criteria in parsed if criteria is not None))

    def rights(self, caller: Caller, resource_type: str) -> dict[str, Constraint]:
        """Return a constraint for each letter that the caller's scopes grant on the type."""
        granted = ((letter, self.alternatives(caller.scopes, resource_type, letter)) for letter in scopes.LETTERS)
        return {letter: self.constraint(caller.tenant, found, letter=letter) for letter, found in granted if found}

    def visible(self, caller: Caller, resource_type: str) -> Constraint:
        """Return what the caller may read or search of the type; it may reach nothing."""
        rights, nothing = self.rights(caller, resource_type), self.constraint(caller.tenant, (), letter="r")
        return rights.get("r", nothing).widened(rights.get("s", nothing))

    def constraint(self, tenant: str, alternatives: Alternatives, *, letter: str) -> Constraint:
        """Return the constraint of a tenant's token by a letter, over every tenant that it reaches (row X24)."""
        view = self._hierarchy.view(tenant, letter=letter) if self._hierarchy is not None else None
        return Constraint(tenant, alternatives, view=view)

    def may_share(self, tenant: str) -> bool:
        """Say whether there are tenants below, with whom the tenant may share its resources."""
        return self._hierarchy is not None and self._hierarchy.below(tenant) != ()

    def _decide_operation(self, caller: Caller, request: FhirRequest) -> Allow | Deny:
        """Decide about an export's path; the types that it puts out are decided when its parameters are known.

        The constraint reaches nothing: what an export reads, it reads under those types' own constraints.
        """
        if request.operation == EXPORT:
            for resource_type in _EXPORT_ROUTES[request.resource_type]:
                for letter in EXPORT_LETTERS:
                    if not self.alternatives(caller.scopes, resource_type, letter):
                        return Deny(InsufficientScope(f"system/{resource_type}.{letter}"))
        if not caller.policy_allows:
            return Deny(_by_policy(caller))
        if not request.served:
            return Deny(MethodNotAllowed(request.allow))
        return Allow(Constraint(caller.tenant, ()))


def _by_policy(caller: Caller) -> Forbidden:
    """Return the refusal of the policies; an operator of the authorization server resolves the id that it carries."""
    if not caller.decision_id:
        return Forbidden()
    return Forbidden(detail=f"decision {caller.decision_id}", headers={"X-Decision-Id": caller.decision_id})
