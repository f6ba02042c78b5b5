"""The formats of R4's primitive types (http://hl7.org/fhir/R4/datatypes.html#primitive). PURE."""

import re
from collections.abc import Callable, Mapping

from authserver.fhir.exact_json import ExactDecimal
from authserver.fhir.validation.narrative import is_narrative
from authserver.protocol.instants import date_range

MAX_STRING = 1_048_576
"""Characters: "strings SHALL NOT exceed 1MB" is read as FHIR's reference implementations read it."""

_YEAR = r"\d{3}[1-9]|\d\d[1-9]0|\d[1-9]00|[1-9]000"
_DAY = rf"(?:{_YEAR})-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_ZONE = r"(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"
_PATTERNS = {
    "code": r"\S+(?:\s\S+)*",
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "uri": r"\S+",
    "url": r"\S+",
    "canonical": r"\S+",
    "oid": r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+",
    "uuid": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "time": _CLOCK,
}
_DATES = {
    "date": rf"{_DAY}|(?:{_YEAR})(?:-(?:0[1-9]|1[0-2]))?",
    "dateTime": rf"{_DAY}(?:T{_CLOCK}{_ZONE})?|(?:{_YEAR})(?:-(?:0[1-9]|1[0-2]))?",
    "instant": rf"{_DAY}T{_CLOCK}{_ZONE}",
}
_BASE64 = re.compile(r"[0-9a-zA-Z+/]*={0,2}", re.ASCII)
_LEAST = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}

Check = Callable[[object], bool]


def _string(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_STRING


def _base64(value: object) -> bool:
    if not isinstance(value, str):
        return False
    digits = "".join(value.split())
    return digits != "" and len(digits) % 4 == 0 and _BASE64.fullmatch(digits) is not None


def _decimal(value: object) -> bool:
    return isinstance(value, int | float | ExactDecimal) and not isinstance(value, bool)


def _matching(pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: _string(value) and isinstance(value, str) and compiled.fullmatch(value) is not None


def _day(pattern: str) -> Check:
    """Return the check of a date: its form, and that the calendar has the day."""
    written = _matching(pattern)
    return lambda value: written(value) and date_range(_shortened(str(value))) is not None


def _shortened(text: str) -> str:
    """Return the text with at most nine decimals, as many as our instants read."""
    return re.sub(r"(\.\d{9})\d+", r"\1", text)


def _from(least: int) -> Check:
    return lambda value: type(value) is int and least <= value < 2**31


CHECKS: Mapping[str, Check] = {
    "boolean": lambda value: isinstance(value, bool),
    "decimal": _decimal,
    "string": _string,
    "markdown": _string,
    "base64Binary": _base64,
    "xhtml": lambda value: isinstance(value, str) and is_narrative(value),
    **{name: _matching(pattern) for name, pattern in _PATTERNS.items()},
    **{name: _day(pattern) for name, pattern in _DATES.items()},
    **{name: _from(least) for name, least in _LEAST.items()},
}
"""Type name -> whether a JSON value is one of the type."""
