"""Write down what the StructureDefinitions say of every element, in one line each: what validation compiles.

A line is `min..max` and the types: `0..* HumanName`, `1..1 code!observation-status` (only codes of that set),
`0..1 Reference(Patient|Group)`, `0..* @Patient.contact` (the elements below are listed under that path).
"""

from collections.abc import Iterable, Mapping
from typing import Any

Definition = Mapping[str, Any]

_SYSTEM = "http://hl7.org/fhirpath/System."
_BOUND = ("code", "Coding", "CodeableConcept")
_RESOURCES = ("Resource", "DomainResource")


class CodeSets:
    """The codes of value sets, as far as they can be listed."""

    def __init__(self, resources: Iterable[Definition]) -> None:
        self._sets: dict[str, Definition] = {}
        self._systems: dict[str, Definition] = {}
        for resource in resources:
            known = {"ValueSet": self._sets, "CodeSystem": self._systems}.get(resource["resourceType"])
            if known is not None:
                known.setdefault(resource["url"], resource)

    def codes(self, canonical: str) -> frozenset[str] | None:
        """Return the codes of the value set; None when they are not all at hand (filters, foreign systems)."""
        value_set = self._sets.get(canonical.partition("|")[0])
        compose = value_set.get("compose", {}) if value_set else {}
        included = [self._included(part) for part in compose.get("include", [])]
        excluded = [self._included(part) for part in compose.get("exclude", [])]
        listed = [codes for codes in (*included, *excluded) if codes is not None]
        if not included or len(listed) < len(included) + len(excluded):
            return None
        return frozenset().union(*listed[: len(included)]) - frozenset().union(*listed[len(included) :])

    def _included(self, part: Definition) -> frozenset[str] | None:
        if "filter" in part:
            return None
        found: list[frozenset[str] | None] = [self.codes(canonical) for canonical in part.get("valueSet", [])]
        if "concept" in part:
            found.append(frozenset(concept["code"] for concept in part["concept"]))
        elif "system" in part:
            system = self._systems.get(part["system"])
            complete = system is not None and system.get("content") == "complete"
            found.append(frozenset(_concepts(system)) if system is not None and complete else None)
        listed = [codes for codes in found if codes is not None]
        return frozenset.intersection(*listed) if listed and len(listed) == len(found) else None


def structure_table(definitions: Iterable[Definition], code_sets: CodeSets) -> dict[str, Any]:
    """Return the table.

    `types`: type or path -> [the type that it specializes, element name -> line]. An element that the specialized type
    has alike is left out. `codes`: name of a set -> its codes.
    """
    codes: dict[str, list[str]] = {}
    types: dict[str, tuple[str, dict[str, str]]] = {}
    for definition in definitions:
        base = definition.get("baseDefinition", "").rpartition("/")[2]
        for element in definition["snapshot"]["element"]:
            _add(types, element, base=base, line=_line(definition, element, code_sets, codes))
    return {
        "types": {
            name: [base, {n: line for n, line in lines.items() if not _inherited(types, base, n, line)}]
            for name, (base, lines) in sorted(types.items())
        },
        "codes": dict(sorted(codes.items())),
    }


def _add(types: dict[str, tuple[str, dict[str, str]]], element: Definition, *, base: str, line: str) -> None:
    parent, _, name = element["path"].rpartition(".")
    if not parent:
        types.setdefault(name, (base, {}))
        return
    types.setdefault(parent, ("BackboneElement", {}))[1][name] = line
    kinds = element.get("type", [])
    if kinds and kinds[0]["code"] in ("BackboneElement", "Element"):
        types[element["path"]] = (kinds[0]["code"], {})


def _inherited(types: Mapping[str, tuple[str, Mapping[str, str]]], base: str, name: str, line: str) -> bool:
    while base in types:
        base, lines = types[base]
        if name in lines:
            return lines[name] == line
    return False


def _line(definition: Definition, element: Definition, code_sets: CodeSets, codes: dict[str, list[str]]) -> str:
    if "contentReference" in element:
        kinds = ["@" + element["contentReference"].partition("#")[2]]
    else:
        bound = _binding(element, code_sets, codes)
        kinds = [_kind(definition, element, kind, bound) for kind in element.get("type", [])]
    return " ".join([f"{element['min']}..{element['max']}", *kinds])


def _kind(definition: Definition, element: Definition, kind: Definition, bound: str) -> str:
    code: str = kind["code"]
    if code.startswith(_SYSTEM):
        # The snapshot types these by FHIRPath's own types; the base specification gives FHIR's.
        is_resource_id = definition["kind"] == "resource" and element["path"] == f"{definition['type']}.id"
        return "id" if is_resource_id else ("uri" if element["path"] == "Extension.url" else "string")
    if code in ("BackboneElement", "Element"):
        return "@" + str(element["path"])
    if code == "Reference":
        targets = sorted({profile.rpartition("/")[2] for profile in kind.get("targetProfile", [])})
        return f"Reference({'|'.join(targets)})" if targets and "Resource" not in targets else code
    return f"{code}!{bound}" if bound and code in _BOUND else code


def _binding(element: Definition, code_sets: CodeSets, codes: dict[str, list[str]]) -> str:
    """Return the name of the set whose codes alone the element may have, "" when there is none."""
    binding = element.get("binding", {})
    if binding.get("strength") != "required" or "valueSet" not in binding:
        return ""
    listed = code_sets.codes(binding["valueSet"])
    if not listed:
        return ""
    name: str = binding["valueSet"].partition("|")[0].rpartition("/")[2]
    codes[name] = sorted(listed)
    return name


def _concepts(holder: Definition) -> Iterable[str]:
    for concept in holder.get("concept", []):
        yield concept["code"]
        yield from _concepts(concept)
