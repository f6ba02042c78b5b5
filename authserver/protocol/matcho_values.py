"""Values that patterns look at: a place in a JSON document, equality as JSON means it, references. PURE."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(r"([A-Z][A-Za-z]{0,63})/([A-Za-z0-9\-.]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One place of the document that does not fit: what was `expected`, what is there (`but`), and where.

    `path` is keys and indexes from the top of the document; a missing value is None.
    """

    expected: Any
    but: Any
    path: tuple[str | int, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the mismatch as `$matcho` answers it."""
        return {"expected": self.expected, "but": self.but, "path": list(self.path)}


@dataclass(frozen=True, slots=True)
class Here:
    """The value that a node looks at, the document that it is part of, and the way to it."""

    value: Any
    document: Any
    path: tuple[str | int, ...] = ()

    def at(self, key: str | int) -> "Here":
        """Go to a member or an element; None where there is none."""
        return Here(_get(self.value, key), self.document, (*self.path, key))

    def elements(self) -> list["Here"]:
        """Return each element; none of what is no list."""
        return [self.at(index) for index in range(len(self.value))] if isinstance(self.value, list) else []

    def mismatch(self, expected: Any) -> Iterator[Mismatch]:
        """Yield that something else was expected here."""
        yield Mismatch(expected, self.value, self.path)


def same(left: Any, right: Any) -> bool:
    """Compare two JSON values: numbers by their value, and never a boolean with a number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    return type(left) is type(right) and bool(left == right)


def equal(expected: Any, value: Any, *, ignore_case: bool) -> bool:
    """Compare as same(); `ignore_case` is for two texts, in which case no letter differs from its capital."""
    if ignore_case and isinstance(expected, str) and isinstance(value, str):
        return expected.lower() == value.lower()
    return same(expected, value)


def value_at(document: Any, keys: tuple[str, ...]) -> Any:
    """Return what is at the end of the path; None where it leads nowhere. A number is an index where a list is."""
    value = document
    for key in keys:
        index = int(key) if isinstance(value, list) and re.fullmatch(r"[0-9]{1,6}", key) else None
        value = _get(value, key if index is None else index)
    return value


def target_of(value: Any) -> dict[str, str] | None:
    """Return what a reference names, in either of the two forms that references have."""
    if isinstance(value, Mapping) and "reference" not in value:
        resource_type, target = value.get("resourceType"), value.get("id")
        value = f"{resource_type}/{target}" if isinstance(resource_type, str) and isinstance(target, str) else None
    reference = value.get("reference") if isinstance(value, Mapping) else value
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    return None if found is None else {"resourceType": found[1], "id": found[2]}


def _get(value: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return value[key] if isinstance(value, list) and key < len(value) else None
    return value.get(key) if isinstance(value, Mapping) else None
