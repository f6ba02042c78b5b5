"""The scopes of a registration, and what is wrong with those that are none."""

from functools import lru_cache

from authserver.errors import InvalidScope
from authserver.protocol import scopes
from authserver.protocol.resource_types import KNOWN_TYPES
from authserver.protocol.scopes import ScopeSet

Fault = tuple[int, str]
"""The index of a scope in its list, and what is wrong with it."""

_NO_SCOPE = "not a SMART scope, for example system/Observation.rs"
_FAULTS = {"scope_parameter_unknown": "names a search parameter that FHIR R4 does not define for the type"}


@lru_cache(maxsize=512)
def read(registered: tuple[str, ...]) -> tuple[ScopeSet, tuple[Fault, ...]]:
    """Return what the scopes mean together, and each fault; many clients register the same."""
    sets, faults = [], []
    for index, text in enumerate(registered):
        try:
            sets.append(scopes.collect([text]))
        except InvalidScope as error:
            faults.append((index, _FAULTS.get(error.reason, _NO_SCOPE)))
            continue
        if unknown_types(sets[-1]):
            faults.append((index, "no resource type of FHIR R4 or of this server"))
    resources = tuple(scope for one in sets for scope in one.resources)
    return ScopeSet(resources, frozenset(name for one in sets for name in one.names)), tuple(faults)


def unknown_types(read: ScopeSet) -> list[str]:
    """Return the resource types that neither R4 nor this server has."""
    return sorted({scope.resource_type for scope in read.resources} - KNOWN_TYPES - {"*"})
