"""Which elements of a resource type belong to its summary, and which it must have: read from StructureDefinitions.

The shape of `elements` in the shipped table: resource type -> [summary paths, mandatory names]. A path is JSON member
names joined by dots; an element that has further paths below it is in the summary with those children only.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Element = Mapping[str, Any]


def elements(definitions: Iterable[Mapping[str, Any]]) -> dict[str, list[list[str]]]:
    """Return the table for these StructureDefinitions (http://hl7.org/fhir/R4/elementdefinition.html, isSummary)."""
    return {
        definition["type"]: [_summary(definition["snapshot"]["element"]), _mandatory(definition["snapshot"]["element"])]
        for definition in sorted(definitions, key=lambda one: str(one["type"]))
    }


def _summary(found: Iterable[Element]) -> list[str]:
    paths: list[str] = []
    for element in found:
        parent = element["path"].partition(".")[2].rpartition(".")[0]
        if element.get("isSummary") and (not parent or parent in paths):
            paths.extend(f"{parent}.{name}" if parent else name for name in _names(element))
    return paths


def _mandatory(found: Iterable[Element]) -> list[str]:
    return [name for one in found if one["path"].count(".") == 1 and one.get("min", 0) > 0 for name in _names(one)]


def _names(element: Element) -> Iterator[str]:
    """Yield the JSON member names of an element: one for each type of a choice, none for the resource itself."""
    name = element["path"].rpartition(".")[2] if "." in element["path"] else ""
    if name.endswith("[x]"):
        for kind in element["type"]:
            yield name[:-3] + kind["code"][0].upper() + kind["code"][1:]
    elif name:
        yield name
