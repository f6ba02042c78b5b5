"""Parse the value of one search parameter, by the parameter's kind, into the AST.

The language is http://hl7.org/fhir/R4/search.html: `,` is OR, `|` joins system and code, `\\` escapes them.
"""

import math
import re
from decimal import Decimal
from typing import cast, get_args

from authserver.fhir.definitions.converters import LOCAL_REFERENCE, TEXT_LIMIT, folded
from authserver.fhir.definitions.tables import SearchParameter
from authserver.fhir.search.ast import (
    DateValue,
    PartValue,
    Prefix,
    QuantityValue,
    ReferenceValue,
    StringMode,
    StringValue,
    TokenValue,
)
from authserver.fhir.search.problems import MalformedParameter
from authserver.protocol.instants import date_range

MAX_ALTERNATIVES = 100

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)


def alternatives(name: str, value: str) -> list[str]:
    """Split at each comma that is not escaped; escapes stay. Raises MalformedParameter for an empty part."""
    parts = _split(value, ",")
    if len(parts) > MAX_ALTERNATIVES or not all(parts) or "\0" in value or len(value) > 64 * TEXT_LIMIT:
        raise MalformedParameter(name)
    return parts


def token(name: str, text: str) -> TokenValue:
    """Parse `code`, `system|code`, `|code` or `system|`."""
    parts = [_plain(name, part) for part in _split(text, "|")]
    if len(parts) == 1:
        return TokenValue(parts[0], None)
    if len(parts) > 2 or not any(parts):
        raise MalformedParameter(name)
    system, code = parts
    return TokenValue(code or None, system)


def reference(parameter: SearchParameter, text: str, *, base_url: str, modifier: str) -> ReferenceValue:
    """Parse an id, `Type/id`, or a URL; below our own base a URL means the resource here."""
    plain = _plain(parameter.code, text).removeprefix(f"{base_url}/")
    local = LOCAL_REFERENCE.fullmatch(plain)
    if local:
        resource_type, target = local[1], local[2]
        if (modifier and modifier != resource_type) or not parameter.may_target(resource_type):
            raise MalformedParameter(parameter.code)
        return ReferenceValue(target, resource_type)
    if _ID.fullmatch(plain):
        only = parameter.targets[0] if len(parameter.targets) == 1 and parameter.targets != ("*",) else None
        return ReferenceValue(plain, modifier or only)
    if ":" not in plain or modifier:
        raise MalformedParameter(parameter.code)
    return ReferenceValue(plain.partition("|")[0], "")


def string(name: str, text: str, mode: StringMode) -> str:
    """Parse a text; folded as the index is, unless the match is exact."""
    plain = _plain(name, text)
    return plain if mode == "exact" else folded(plain)


def uri(name: str, text: str) -> TokenValue:
    """Parse a URI, which is compared whole."""
    return TokenValue(_plain(name, text), None)


def date(name: str, text: str) -> DateValue:
    """Parse an optional prefix and a date of any precision."""
    prefix, rest = _prefixed(text)
    span = date_range(rest)
    if span is None:
        raise MalformedParameter(name)
    return DateValue(prefix, *span)


def number(name: str, text: str) -> QuantityValue:
    """Parse an optional prefix and a number; `100` means 99.5 to 100.5, `1.0` means 0.95 to 1.05."""
    prefix, rest = _prefixed(text)
    if not _NUMBER.fullmatch(rest):
        raise MalformedParameter(name)
    value = Decimal(rest)
    half = Decimal((0, (5,), int(value.as_tuple().exponent) - 1))
    # With more digits than a float has, the range would be empty.
    above = max(float(value + half), math.nextafter(float(value), math.inf))
    return QuantityValue(prefix, float(value), float(value - half), above)


def quantity(name: str, text: str) -> QuantityValue:
    """Parse `number`, `number|system|code` or `number||unit`."""
    parts = _split(text, "|")
    if len(parts) not in (1, 3):
        raise MalformedParameter(name)
    value = number(name, parts[0])
    if len(parts) == 1:
        return value
    system, unit = (_plain(name, part) for part in parts[1:])
    return QuantityValue(value.prefix, value.number, value.low, value.high, system or None, unit or None)


def composite(parameter: SearchParameter, text: str) -> tuple[TokenValue, *tuple[PartValue, ...]]:
    """Parse values joined by `$`, one for each component. Raises MalformedParameter for another number of them."""
    texts = _split(text, "$")
    if len(texts) != len(parameter.components) or not all(texts):
        raise MalformedParameter(parameter.code)
    kinds = [component.kind for component in parameter.components]
    first, *others = zip(kinds, texts, strict=True)
    return (token(parameter.code, first[1]), *(_part(parameter.code, kind, part) for kind, part in others))


def _part(name: str, kind: str, text: str) -> PartValue:
    match kind:
        case "token":
            return token(name, text)
        case "string":
            return StringValue(string(name, text, "starts"))
        case "date":
            return date(name, text)
        case "number":
            return number(name, text)
        case "quantity":
            return quantity(name, text)
    local = LOCAL_REFERENCE.fullmatch(_plain(name, text))
    return ReferenceValue(local[2], local[1]) if local else ReferenceValue(_plain(name, text), None)


def _prefixed(text: str) -> tuple[Prefix, str]:
    if text[:2] in get_args(Prefix):
        return cast(Prefix, text[:2]), text[2:]
    return "eq", text


def _split(text: str, separator: str) -> list[str]:
    """Split at each separator without a backslash before it."""
    if "\\" not in text:
        return text.split(separator)
    parts, position = [""], 0
    while position < len(text):
        width = 2 if text[position] == "\\" else 1
        character = text[position : position + width]
        if character == separator:
            parts.append("")
        else:
            parts[-1] += character
        position += width
    return parts


def _plain(name: str, text: str) -> str:
    """Return the text without its escapes. Raises MalformedParameter for an unknown escape or a long text."""
    if "\\" in text:
        if re.search(r"\\(?![\\,|$])", re.sub(r"\\\\", "", text)):
            raise MalformedParameter(name)
        text = re.sub(r"\\(.)", r"\1", text)
    if len(text) > TEXT_LIMIT:
        raise MalformedParameter(name)
    return text
