"""Read the parameters of a kick-off, from the query or from a Parameters resource. PURE.

Both come as the same pairs, so that a policy is told of a POST what it is told of a GET.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from authserver.errors import BadRequest
from authserver.fhir.bulk.job import Level
from authserver.fhir.search.problems import MalformedParameter, UnsupportedParameter
from authserver.protocol.instants import date_range

Pair = tuple[str, str]

MAX_BODY_PARAMETERS = 400

# A "+" in a query string arrives as a space.
_FORMATS = {"application/fhir+ndjson", "application/fhir ndjson", "application/ndjson", "ndjson"}
# http://hl7.org/fhir/R4/datatypes.html#instant: to the second at least, with a time zone. A day alone is its start,
# UTC: clients pass on what their users type.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+ -]\d\d:\d\d))?", re.ASCII)
_PATIENT = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})", re.ASCII)
_VALUES = {
    "_type": ("valueString", "valueCode"),
    "_outputFormat": ("valueString", "valueCode"),
    "_since": ("valueInstant",),
    "patient": ("valueReference",),
}


@dataclass(frozen=True, slots=True)
class KickOff:
    """What a kick-off asks for; None is "not given". `since` is in microseconds since the epoch."""

    types: tuple[str, ...] | None = None
    since: int | None = None
    patients: tuple[str, ...] | None = None


def body_pairs(body: object) -> tuple[Pair, ...]:
    """Return the parameters of a Parameters resource as pairs; one that is not known gets an empty value.

    Raises BadRequest when it is no such resource or has more than MAX_BODY_PARAMETERS, MalformedParameter for a
    value of the wrong type.
    """
    listed = body.get("parameter", []) if isinstance(body, dict) else None
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters" or not isinstance(listed, list):
        raise BadRequest("The body must be a Parameters resource.")
    if len(listed) > MAX_BODY_PARAMETERS:
        raise BadRequest(f"A kick-off takes at most {MAX_BODY_PARAMETERS} parameters.")
    return tuple(_pair(parameter) for parameter in listed)


def _pair(parameter: Any) -> Pair:
    name = parameter.get("name") if isinstance(parameter, dict) else None
    if not isinstance(name, str):
        raise BadRequest("The body must be a Parameters resource.")
    if name not in _VALUES:
        return name, ""
    value = next((parameter[member] for member in _VALUES[name] if member in parameter), None)
    if isinstance(value, dict):
        value = value.get("reference")
    if not isinstance(value, str):
        raise MalformedParameter(name)
    return name, value


def parse_kick_off(
    pairs: Sequence[Pair], *, level: Level, method: str, resource_types: Collection[str], base_url: str, lenient: bool
) -> KickOff:
    """Return what is asked for.

    Raises UnsupportedParameter for every other parameter of the specification, unless `lenient` leaves it out, and
    MalformedParameter. `patient` is never left out, which would widen the export: it is for POST at the patient and
    group level only (Bulk Data Access 2.0, "Query Parameters").
    """
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in _VALUES and not lenient:
            raise UnsupportedParameter(name)
        given.setdefault(name, []).append(value)
    if "patient" in given and (method != "POST" or level == "system"):
        raise UnsupportedParameter("patient")
    if _single(given, "_outputFormat", default="ndjson") not in _FORMATS:
        raise UnsupportedParameter("_outputFormat")
    return KickOff(
        types=_types(given.get("_type"), resource_types),
        since=_since(_single(given, "_since", default="")) if "_since" in given else None,
        patients=_patients(given.get("patient"), base_url),
    )


def _single(given: dict[str, list[str]], name: str, *, default: str) -> str:
    values = given.get(name, [default])
    if len(values) > 1:
        raise MalformedParameter(name)
    return values[0]


def _types(values: list[str] | None, resource_types: Collection[str]) -> tuple[str, ...] | None:
    if values is None:
        return None
    named = [name for value in values for name in value.split(",")]
    if any(name not in resource_types for name in named):
        raise MalformedParameter("_type")
    return tuple(sorted(set(named)))


def _since(text: str) -> int:
    instant = date_range(text) if _INSTANT.fullmatch(text) else None
    if instant is None:
        raise MalformedParameter("_since")
    return instant[0]


def _patients(values: list[str] | None, base_url: str) -> tuple[str, ...] | None:
    if values is None:
        return None
    matches = [_PATIENT.fullmatch(value.removeprefix(f"{base_url}/")) for value in values]
    if not all(matches):
        raise MalformedParameter("patient")
    return tuple(sorted({match[1] for match in matches if match}))
