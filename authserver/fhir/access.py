"""Decide whether a caller may do what a request asks, and how far it then sees. PURE.

The order is fixed: the type, the token's scope, the policies' decision, and only then whether the server has
the interaction at all; a read-only token learns nothing by writing (row A22).
"""

from dataclasses import dataclass

from authserver.errors import (
    AuthServerError,
    Forbidden,
    InsufficientScope,
    MethodNotAllowed,
    NotFound,
)
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.request import FhirRequest
from authserver.fhir.search.ast import Criterion
from authserver.fhir.search.parser import SearchParser
from authserver.protocol import scopes


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as introspection told of this one request; `expires_at` is in epoch seconds.

    `policy_allows` is the policies' decision about this request, never to be kept for another.
    """

    client_id: str
    scopes: tuple[scopes.Scope, ...]
    tenant: str
    token_id: str
    expires_at: int
    policy_allows: bool


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
    """The decision for each request; knows the types and how scopes' parameters are parsed."""

    def __init__(self, definitions: Definitions, parser: SearchParser) -> None:
        self._resource_types = definitions.resource_types
        self._parser = parser

    def decide(self, caller: Caller, request: FhirRequest) -> Allow | Deny:
        """Return Allow with the constraint of the caller's scopes and tenant, or Deny with the error."""
        resource_type, letter = request.resource_type, request.letter
        alternatives: tuple[tuple[Criterion, ...], ...] = ()
        if resource_type is not None:
            if resource_type not in self._resource_types:
                return Deny(NotFound(detail="unknown resource type"))
            alternatives = self._alternatives(caller, resource_type, letter or "")
            if not alternatives:
                return Deny(InsufficientScope(f"system/{resource_type}.{letter}"))
        if not caller.policy_allows:
            return Deny(Forbidden())
        if not request.served:
            return Deny(MethodNotAllowed(request.allow) if request.allow else UnknownOperation())
        return Allow(Constraint(caller.tenant, alternatives))

    def _alternatives(self, caller: Caller, resource_type: str, letter: str) -> tuple[tuple[Criterion, ...], ...]:
        """Return one set of criteria for each scope that grants the letter; a scope not understood grants none."""
        parsed = (
            self._parser.scope_criteria(resource_type, parameters)
            for parameters in scopes.permitted(caller.scopes, resource_type, letter)
        )
        return tuple(dict.fromkeys(criteria for criteria in parsed if criteria is not None))
