"""What a FHIR request is by its method and path: the interaction, the type, the id, the scope letter it needs. PURE.

The one reading of a path for the FHIR layer, for forward-auth and for policies, so that no two can differ (threat G05).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}", re.ASCII)
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)

# Method -> interaction and the SMART letter that it needs (SMART App Launch 2.2, "Scopes").
ON_TYPE = {
    "GET": ("search-type", "s"),
    "HEAD": ("search-type", "s"),
    "POST": ("create", "c"),
    "PUT": ("update", "u"),
    "PATCH": ("patch", "u"),
    "DELETE": ("delete", "d"),
}
ON_INSTANCE = {**ON_TYPE, "GET": ("read", "r"), "HEAD": ("read", "r"), "POST": ("operation", "c")}


@dataclass(frozen=True, slots=True)
class Interaction:
    """`name` is a code of restful-interaction, or `operation`; `letter` one of c, r, u, d, s, None without a type."""

    name: str
    resource_type: str | None
    resource_id: str | None
    letter: str | None


def interaction_of(method: str, segments: Sequence[str]) -> Interaction:
    """Return what the method (a key of ON_TYPE) does to the path behind the FHIR base, given as its segments."""
    resource_type = segments[0] if segments and TYPE.fullmatch(segments[0]) else None
    resource_id = segments[1] if len(segments) > 1 and ID.fullmatch(segments[1]) else None
    if resource_type and len(segments) == 1:
        name, letter = ON_TYPE[method]
    elif resource_type and resource_id and len(segments) == 2:
        name, letter = ON_INSTANCE[method]
    elif method in ("GET", "HEAD") and not segments:
        name, letter = "search-system", "s"
    else:
        name, letter = _other(method, segments[1:] if resource_type else segments)
        if name == "search-type" and not resource_type:
            name = "search-system"
    return Interaction(name, resource_type, resource_id, letter if resource_type else None)


def _other(method: str, rest: Sequence[str]) -> tuple[str, str]:
    """Name what is neither a type nor an instance; a changing method needs a changing letter."""
    letter = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}.get(method)
    if "_history" in rest:
        instance = rest.index("_history") > 0
        interaction = ("vread" if len(rest) > 2 else "history-instance") if instance else "history-type"
        return interaction, letter or ("r" if instance else "s")
    if list(rest) == ["_search"]:
        return "search-type", "s"
    return "operation", letter or "r"
