"""The part of a scope behind its question mark: search parameters that narrow it, decoded into a set of pairs.

Whatever could not be enforced exactly is refused, because a filter that is not understood would widen.
Source: SMART App Launch 2.2, "Finer-grained resource constraints using search parameters".
"""

import re
from urllib.parse import unquote_to_bytes

from authserver.errors import InvalidScope
from authserver.protocol import search_parameters

_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9-]{0,63}")


def parse_filter(query: str, *, resource_type: str) -> frozenset[tuple[str, str]]:
    """Return the decoded pairs of `?name=value&...`; an empty query has none.

    Raises InvalidScope: `scope_malformed`, or `scope_parameter_unknown` for what R4 does not define for the type.
    """
    if not query:
        return frozenset()
    return frozenset(_pair(pair, resource_type) for pair in query[1:].split("&"))


def _pair(pair: str, resource_type: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    # Modifiers and chains are experimental in SMART 2.2; enforcing them wrongly would widen, so they are refused.
    if not equals or not value or _NAME.fullmatch(name) is None:
        raise InvalidScope(detail=f"scope parameter {pair[:100]!r}", reason="scope_malformed")
    if not search_parameters.defined(resource_type, name):
        detail = f"{name} is no search parameter of {resource_type} in FHIR R4"
        raise InvalidScope(detail=detail, reason="scope_parameter_unknown")
    return name, _decoded(value)


def _decoded(value: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise InvalidScope(detail="scope parameter is not percent-encoded", reason="scope_malformed")
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidScope(detail="scope parameter is not UTF-8", reason="scope_malformed") from error
