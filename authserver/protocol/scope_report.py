"""Say of each requested scope what became of it: granted, narrowed to what, or refused and why (row X51)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from authserver.errors import InvalidScope
from authserver.protocol import scopes
from authserver.protocol.scopes import Scope, ScopeSet

MAX_REPORTED = 200
"""Scopes that one report lists; the rest is counted by nobody."""


@dataclass(frozen=True, slots=True)
class ScopeDecision:
    """What became of one requested scope; `granted` is what of it was, the empty string for nothing."""

    requested: str
    outcome: Literal["granted", "narrowed", "refused"]
    granted: str
    why: str

    def shown(self) -> dict[str, str]:
        """Return the decision as JSON."""
        return asdict(self)


def decisions(text: str, registered: ScopeSet, *, wildcard_types: frozenset[str] | None) -> list[ScopeDecision]:
    """Return one decision for each scope of the request, in its order, by the rule of scopes.grant()."""
    tokens = list(dict.fromkeys(text.split(" ")))[:MAX_REPORTED]
    return [_decision(token, registered, wildcard_types=wildcard_types) for token in tokens]


def _decision(token: str, registered: ScopeSet, *, wildcard_types: frozenset[str] | None) -> ScopeDecision:
    shown = token[: scopes.MAX_SCOPE_LENGTH]
    try:
        asked = scopes.parse_set(token)
    except InvalidScope as error:
        return ScopeDecision(shown, "refused", "", error.detail or error.public)
    granted = scopes.grant(asked, registered, wildcard_types=wildcard_types)
    if not granted:
        return ScopeDecision(shown, "refused", "", _why(asked, registered))
    if scopes.within(asked, granted, wildcard_types=wildcard_types):
        return ScopeDecision(shown, "granted", str(granted), "registered")
    return ScopeDecision(shown, "narrowed", str(granted), "only this part of it is registered")


def _why(asked: ScopeSet, registered: ScopeSet) -> str:
    if asked.names:
        return "this server grants no such scope" if not asked.names & scopes.GRANTABLE_NAMES else "not registered"
    scope = asked.resources[0]
    if scope.context != "system":
        return "a backend service is granted system/ scopes alone"
    if not _of_type(scope, registered.resources):
        return f"nothing is registered for {scope.resource_type}"
    return f"none of the interactions {scope.interactions} is registered for {scope.resource_type}"


def _of_type(scope: Scope, registered: Iterable[Scope]) -> bool:
    return any(
        "*" in (scope.resource_type, held.resource_type) or held.resource_type == scope.resource_type
        for held in registered
    )
