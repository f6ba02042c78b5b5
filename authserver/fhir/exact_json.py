"""JSON in and out without changing a number: `1.50` stays `1.50` (http://hl7.org/fhir/R4/json.html#primitive).

FHIR decimals carry precision, which a float would lose.
"""

import json
from decimal import Decimal
from typing import Any, Self

import orjson

_MACHINE_DIGITS = 18


class NotJson(ValueError):
    """The text is no JSON, or the value is none that JSON can hold."""


class ExactDecimal(Decimal):
    """A number that remembers how it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Read the text of a JSON number."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def loads(text: str | bytes, *, unique: bool = False) -> Any:
    """Return the JSON value; numbers with a fraction or exponent, and long ones, are ExactDecimal.

    Raises NotJson for anything else, `NaN`, `Infinity` and endless nesting among it, and with `unique` for an object
    that has a member twice.
    """
    hook = _unique if unique else None
    try:
        return json.loads(
            text, parse_float=ExactDecimal, parse_int=_integer, parse_constant=_refuse, object_pairs_hook=hook
        )
    except (ValueError, RecursionError) as error:
        raise NotJson(type(error).__name__) from error


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Return compact UTF-8 JSON. Raises NotJson for what JSON cannot hold, a lone surrogate for example."""
    try:
        return orjson.dumps(value, default=_exact, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError as error:
        raise NotJson(str(error)) from error


def embedded(body: bytes) -> orjson.Fragment:
    """Return JSON that is already text as a value for dumps(), which takes it as it is."""
    return orjson.Fragment(body)


def _integer(text: str) -> int | ExactDecimal:
    return int(text) if len(text) <= _MACHINE_DIGITS else ExactDecimal(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member comes twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, ExactDecimal):
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is not JSON")
