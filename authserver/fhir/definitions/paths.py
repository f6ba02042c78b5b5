"""Compile typed JSON paths (see structures.py) into functions that walk a resource."""

import re
from collections.abc import Callable
from typing import Any

_STEP = re.compile(r"(\w+)(?:\[(\w+)=([^\]]*)\]|\[(\d+)\])?")
_TABLE_OF = {"uri": "token", "number": "quantity"}

Walk = Callable[[list[Any]], list[Any]]


def table_of(kind: str) -> str:
    """Return the index table that holds parameters of this kind."""
    return _TABLE_OF.get(kind, kind)


def compile_path(path: str) -> tuple[str, Walk]:
    """Return the path's first member name, and the function from that member's values to the path's values."""
    matches = list(_STEP.finditer(path))
    filters = [_filter(match) for match in matches]
    names = [match[1] for match in matches]
    first, others = filters[0], list(zip(names[1:], filters[1:], strict=True))
    if not others:
        return names[0], first

    def walk(values: list[Any]) -> list[Any]:
        values = first(values)
        for name, keep in others:
            values = keep([value[name] for value in values if isinstance(value, dict) and name in value])
        return values

    return names[0], walk


def _filter(match: re.Match[str]) -> Walk:
    name, literal, position = match[2], match[3], match[4]
    if position is not None:
        return lambda values: _flat(values)[int(position) : int(position) + 1]
    if name is None:
        return _flat
    return lambda values: [v for v in _flat(values) if isinstance(v, dict) and v.get(name) == literal]


def _flat(values: list[Any]) -> list[Any]:
    for value in values:
        if isinstance(value, list):
            return [item for one in values for item in (one if isinstance(one, list) else [one])]
    return values
