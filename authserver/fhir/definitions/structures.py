"""Turn a parsed search expression into typed JSON paths, with the StructureDefinitions at hand.

A typed path is text such as `component.code:CodeableConcept`, `telecom[system=phone]:ContactPoint`,
`subject:Reference(Patient)` or `entry[0].resource:Resource`: JSON member names, then the type at the end. The resource
itself is the empty path, as in `:Observation`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.fhir.definitions.expressions import (
    Cast,
    ExpressionError,
    Field,
    Index,
    Path,
    Present,
    Resolves,
    Step,
    Where,
    parse,
)

_SYSTEM = "http://hl7.org/fhirpath/System."


@dataclass(frozen=True, slots=True)
class _Node:
    text: str
    context: str
    type_name: str


class Structures:
    """The element tree of every type, as far as paths need it."""

    def __init__(self, definitions: Iterable[Mapping[str, Any]]) -> None:
        self._elements: dict[str, Mapping[str, Any]] = {}
        for definition in definitions:
            for element in definition["snapshot"]["element"]:
                self._elements[element["path"]] = element

    def typed_paths(self, expression: str, resource_type: str) -> tuple[str, ...]:
        """Return the typed paths of the branches that start at the type, or at one that it inherits from.

        Raises ExpressionError for a path that the StructureDefinitions do not know.
        """
        starts = (resource_type, "DomainResource", "Resource")
        texts: list[str] = []
        for path in parse(expression):
            first = path[0]
            if not isinstance(first, Field) or first.name in starts:
                texts.extend(self._typed(path[1:], resource_type))
            elif first.name[0].islower():  # InsurancePlan's "name | alias" leaves the type out
                texts.extend(self._typed(path, resource_type))
        return tuple(dict.fromkeys(texts))

    def component_paths(self, base: str, expression: str, resource_type: str) -> tuple[str, ...]:
        """Return the typed paths of a composite's component, relative to the elements of the base expression.

        A path from the resource itself (`%resource.`) begins with "^". Raises ExpressionError as typed_paths() does.
        """
        if expression.startswith("%resource."):
            expression = expression.replace("%resource", resource_type, 1)
            return tuple(f"^{path}" for path in self.typed_paths(expression, resource_type))
        # R4 writes the data type dateTime with a capital letter in Observation.code-value-date.
        expression = expression.replace("as(DateTime)", "as(dateTime)")
        starts = [_Node("", resource_type, resource_type)]
        paths = [path[1:] for path in parse(base) if path[0] == Field(resource_type)]
        bases = [node for path in paths for node in self._walk(starts, path)]
        texts: list[str] = []
        for node in bases:
            for path in parse(expression):
                texts.extend(_texts(self._walk([_Node("", node.context, node.type_name)], path), path))
        return tuple(dict.fromkeys(texts))

    def _typed(self, path: Path, resource_type: str) -> list[str]:
        return _texts(self._walk([_Node("", resource_type, resource_type)], path), path)

    def _walk(self, nodes: list[_Node], path: Path) -> list[_Node]:
        for step in path:
            nodes = [after for node in nodes for after in self._follow(node, step)]
        return nodes

    def _follow(self, node: _Node, step: Step) -> list[_Node]:
        match step:
            case Field(name):
                return self._children(node, name)
            case Cast(type_name):
                return [node] if node.type_name == type_name else []
            case Where(name, literal):
                return [_Node(f"{node.text}[{name}={literal}]", node.context, node.type_name)]
            case Index(position):
                return [_Node(f"{node.text}[{position}]", node.context, node.type_name)]
            case Resolves(type_name):
                return [_Node(node.text, node.context, f"Reference({type_name})")]
            case Present():
                return [_Node(node.text, node.context, "present")]

    def _children(self, node: _Node, name: str) -> list[_Node]:
        prefix = f"{node.text}." if node.text else ""
        path = f"{node.context}.{name}"
        if path in self._elements:
            return [self._node(prefix + name, path, code) for code in self._types(path)[:1]]
        choice = f"{path}[x]"
        if choice not in self._elements:
            raise ExpressionError(f"no element {path}")
        return [self._node(prefix + name + code[0].upper() + code[1:], choice, code) for code in self._types(choice)]

    def _types(self, path: str) -> list[str]:
        element = self._elements[path]
        if "contentReference" in element:
            return ["BackboneElement"]
        # Resource.id and Element.id have a FHIRPath system type in R4's own definitions.
        return ["id" if kind["code"].startswith(_SYSTEM) else kind["code"] for kind in element["type"]]

    def _node(self, text: str, path: str, code: str) -> _Node:
        inline = code in ("BackboneElement", "Element")
        reference = self._elements[path].get("contentReference", "").partition("#")[2]
        return _Node(text, (reference or path) if inline else code, code)


def _texts(nodes: list[_Node], path: Path) -> list[str]:
    if not nodes:
        raise ExpressionError(f"no element for {path}")
    return [f"{node.text}:{node.type_name}" for node in nodes]
