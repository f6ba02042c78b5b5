"""The structures of R4 as validation reads them: for each type its JSON members, compiled when first seen.

The lines of the shipped table are explained in `definitions/structure_table.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import orjson

_DEFINITIONS = "authserver.fhir.definitions"


@dataclass(frozen=True, slots=True)
class Member:
    """One JSON member: the element that it belongs to, and the type of its values.

    `codes`: the only ones allowed, or None. `targets`: the only resource types that a Reference may point at, or ().
    """

    element: str
    type_name: str
    repeats: bool
    codes: frozenset[str] | None = None
    targets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Structure:
    """One type: its members by name, and the elements that must be there with the members that can be it."""

    members: Mapping[str, Member]
    required: tuple[tuple[str, tuple[str, ...]], ...]


class Structures:
    """Every type of R4, by its name or, for an element with elements of its own, by its path."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._types: Mapping[str, tuple[str, Mapping[str, str]]] = table["types"]
        self._codes = {name: frozenset(codes) for name, codes in table["codes"].items()}
        self._compiled: dict[str, Structure] = {}

    def structure(self, type_name: str) -> Structure | None:
        """Return the structure of the type or path; None for a primitive type and for what R4 has not."""
        known = self._compiled.get(type_name)
        if known is None and type_name in self._types:
            known = self._compiled[type_name] = self._compile(type_name)
        return known

    def is_resource(self, type_name: str) -> bool:
        """Say whether R4 has a concrete resource type of this name."""
        base = self._types[type_name][0] if type_name in self._types else ""
        return base in ("Resource", "DomainResource") and type_name != "DomainResource"

    def _compile(self, type_name: str) -> Structure:
        members: dict[str, Member] = {}
        if self.is_resource(type_name):
            members["resourceType"] = Member("resourceType", "code", repeats=False)
        required = []
        for name, line in self._lines(type_name).items():
            cardinality, *kinds = line.split(" ")
            minimum, _, maximum = cardinality.partition("..")
            choice = name.endswith("[x]")
            element = name.removesuffix("[x]")
            found = {
                (element + kind[0].upper() + _bare(kind)[1:] if choice else element): self._member(
                    element, kind, repeats=maximum == "*"
                )
                for kind in kinds
            }
            members |= found
            if minimum != "0":
                required.append((element, tuple(found)))
        return Structure(members, tuple(required))

    def _lines(self, type_name: str) -> dict[str, str]:
        base, own = self._types[type_name]
        inherited = self._lines(base) if base in self._types else {}
        return {**inherited, **own}

    def _member(self, element: str, kind: str, *, repeats: bool) -> Member:
        code, _, bound = kind.partition("!")
        name, _, targets = code.rstrip(")").partition("(")
        return Member(
            element,
            name.removeprefix("@"),
            repeats,
            codes=self._codes[bound] if bound else None,
            targets=frozenset(targets.split("|")) if targets else frozenset(),
        )


def _bare(kind: str) -> str:
    return kind.partition("!")[0].partition("(")[0]


def load_structures() -> Structures:
    """Read the shipped table (some milliseconds; do it once per app object)."""
    return Structures(orjson.loads(resources.files(_DEFINITIONS).joinpath("r4-structures.json").read_bytes()))
