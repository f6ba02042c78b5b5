"""Hold a resource against R4: members, cardinalities, types, formats, required codes, reference targets, invariants.

Not checked: profiles, slicing, the other invariants, and codes of value sets that cannot be listed.
"""

from collections.abc import Mapping
from typing import Any

from authserver.errors import Issue
from authserver.fhir.definitions.converters import LOCAL_REFERENCE
from authserver.fhir.validation import invariants
from authserver.fhir.validation.findings import Findings
from authserver.fhir.validation.primitives import CHECKS
from authserver.fhir.validation.structures import Member, Structure, Structures

MAX_DEPTH = 60
_ELEMENT = "Element"


class Validator:
    """Knows the structures; keeps nothing of what it has seen."""

    def __init__(self, structures: Structures) -> None:
        self._structures = structures

    def findings(self, resource: Mapping[str, Any]) -> tuple[Issue, ...]:
        """Return what is wrong with the resource, nothing if it is valid; never a value of it (threat H17)."""
        found = Findings()
        self._resource(resource, "", found, depth=0)
        if not found.count:
            # Invariants read the resource as its structure says, so they come when that is right.
            invariants.check(resource, found)
        return found.issues

    def _resource(self, value: object, path: str, found: Findings, *, depth: int) -> None:
        name = value.get("resourceType") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(name, str) or not self._structures.is_resource(name):
            found.add(f"{path}.resourceType" if path else "resourceType", "R4 has no such resource type.", "structure")
            return
        structure = self._structures.structure(name)
        assert structure is not None
        self._members(value, structure, path or name, found, depth=depth)

    def _members(
        self, value: Mapping[str, Any], structure: Structure, path: str, found: Findings, *, depth: int
    ) -> None:
        if depth > MAX_DEPTH:
            found.add(path, "The elements are nested too deeply.", "structure")
            return
        chosen: dict[str, str] = {}
        for name in value:
            plain = name[1:] if name[:1] == "_" else name
            member = structure.members.get(plain)
            if member is None or (plain is not name and member.type_name not in CHECKS):
                found.unknown(path, name)
                continue
            here = f"{path}.{member.element}"
            if chosen.setdefault(member.element, plain) != plain:
                found.add(here, "Only one of the element's types may be there.", "structure")
            self._member(value, name, member=member, path=here, found=found, depth=depth)
        for element, names in structure.required:
            if not any(name in value or f"_{name}" in value for name in names):
                found.add(f"{path}.{element}", "The element is required.", "required")

    def _member(
        self,
        parent: Mapping[str, Any],
        name: str,
        *,
        member: Member,
        path: str,
        found: Findings,
        depth: int,
    ) -> None:
        child = parent[name]
        if isinstance(child, list) is not member.repeats:
            problem = "The element repeats: it must be a list." if member.repeats else "The element is no list."
            found.add(path, problem, "structure")
            return
        if not isinstance(child, list):
            self._value(child, member, name=name, path=path, found=found, depth=depth)
            return
        if not child:
            found.add(path, "A list must not be empty.", "structure")
        other = parent.get(name[1:] if name[0] == "_" else f"_{name}")
        for position, item in enumerate(child):
            here = f"{path}[{position}]"
            if item is None and isinstance(other, list) and position < len(other) and other[position] is not None:
                continue
            self._value(item, member, name=name, path=here, found=found, depth=depth)

    def _value(self, value: object, member: Member, *, name: str, path: str, found: Findings, depth: int) -> None:
        check = CHECKS.get(member.type_name)
        if check is not None and name[0] != "_":
            if not check(value):
                found.add(path, f"The value is no {member.type_name} of R4.", "value")
            elif member.codes is not None and value not in member.codes:
                found.add(path, "The code is none of the element's required value set.", "code-invalid")
            return
        if not isinstance(value, dict) or not value:
            found.add(path, "The element must be an object with members (ele-1).", "structure")
            return
        type_name = _ELEMENT if check is not None else member.type_name
        self._object(value, member, type_name=type_name, path=path, found=found, depth=depth)

    def _object(
        self, value: Mapping[str, Any], member: Member, *, type_name: str, path: str, found: Findings, depth: int
    ) -> None:
        if type_name == "Resource":
            self._resource(value, path, found, depth=depth + 1)
            return
        structure = self._structures.structure(type_name)
        assert structure is not None, type_name
        before = found.count
        self._members(value, structure, path, found, depth=depth + 1)
        if found.count > before:
            return
        if member.targets and type_name == "Reference":
            _target(value, member.targets, path, found)
        elif member.codes is not None and not _has_code(value, member.codes):
            found.add(path, "The code is none of the element's required value set.", "code-invalid")


def _target(value: Mapping[str, Any], targets: frozenset[str], path: str, found: Findings) -> None:
    local = LOCAL_REFERENCE.fullmatch(str(value.get("reference", "")))
    if local is not None and local[1] not in targets:
        found.add(path, f"The reference must be to one of: {', '.join(sorted(targets))}.", "value")


def _has_code(value: Mapping[str, Any], codes: frozenset[str]) -> bool:
    """Say whether a Coding, or one of a CodeableConcept's, has one of the codes; one without any code passes."""
    codings = value.get("coding", [value])
    named = [coding["code"] for coding in codings if "code" in coding]
    return not named or any(code in codes for code in named)
