"""JSON as RFC 8259 means it, for whatever is signed or registered: one reading only, or a refusal.

The standard library's parser takes the last of two equal members, NaN, and numbers of any length; a
second reader could understand the same bytes differently, and that is how checks are bypassed.
"""

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 32
_MAX_DIGITS = 32


class MalformedJson(ValueError):
    """The bytes are not one unambiguous JSON value; the message says why, without quoting them."""


class DuplicateMember(MalformedJson):
    """An object names a member twice, so that two readers could understand two things."""


def loads(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Parse UTF-8 JSON text and return the value.

    Raises MalformedJson for duplicate members, NaN and infinities, numbers over 32 characters, lone
    surrogates, a byte order mark, encodings other than UTF-8, and nesting deeper than `max_depth`.
    """
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
        if "\\u" in text:
            _refuse_surrogates(value)
    except MalformedJson:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedJson("not well-formed JSON in UTF-8") from error
    _refuse_depth(value, max_depth)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMember("a member name appears twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise MalformedJson("a number is too long")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits) if len(digits) <= _MAX_DIGITS else math.inf
    if not math.isfinite(number):
        raise MalformedJson("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON")


def _refuse_surrogates(value: Any) -> None:
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def _refuse_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise MalformedJson("nested too deeply")
    for member in value.values() if isinstance(value, dict) else value:
        if isinstance(member, dict | list):
            _refuse_depth(member, left - 1)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
